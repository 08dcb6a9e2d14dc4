/* SipHash-2-4, and the one key of this process, drawn at its first use. */
#include "util/hash.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static uint64_t read_le64(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static void rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[0] = rotl(v[0], 32);
        v[2] += v[3];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[2] = rotl(v[2], 32);
    }
}

uint64_t hash_siphash(const void *data, size_t len, const uint8_t key[16])
{
    const uint8_t *p = data;
    uint64_t k0 = read_le64(key, 8);
    uint64_t k1 = read_le64(key + 8, 8);
    uint64_t v[4] = {
        k0 ^ 0x736f6d6570736575ULL,
        k1 ^ 0x646f72616e646f6dULL,
        k0 ^ 0x6c7967656e657261ULL,
        k1 ^ 0x7465646279746573ULL,
    };
    uint64_t last = (uint64_t)len << 56;
    size_t rest = len;

    for (; rest >= 8; rest -= 8, p += 8) {
        uint64_t m = read_le64(p, 8);

        v[3] ^= m;
        rounds(v, 2);
        v[0] ^= m;
    }
    last |= read_le64(p, rest);
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t hash_bytes(const void *data, size_t len)
{
    static uint8_t key[16];
    static int seeded;

    if (!seeded) {
        if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key)) {
            fprintf(stderr, "gwrun: cannot read random bytes for hashing\n");
            abort();
        }
        seeded = 1;
    }
    return (uint32_t)hash_siphash(data, len, key);
}
