/* SipHash against the vectors of its authors (reference implementation,
 * vectors.h: key 00..0f, message 00 01 02 …). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/hash.h"

static void matches_the_published_vectors(void **state)
{
    static const struct {
        size_t len;
        uint64_t want;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31ULL},
        {1, 0x74f839c593dc67fdULL},
        {7, 0xab0200f58b01d137ULL},
        {8, 0x93f5f5799a932462ULL},
        {15, 0xa129ca6149be45e5ULL},
    };
    uint8_t key[16];
    uint8_t message[16];

    for (uint8_t i = 0; i < 16; i++) {
        key[i] = i;
        message[i] = i;
    }
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_true(
            hash_siphash(message, vectors[i].len, key) == vectors[i].want);
}

static void is_the_same_for_the_same_bytes(void **state)
{
    assert_int_equal(hash_bytes("room", 4), hash_bytes("room", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_vectors),
        cmocka_unit_test(is_the_same_for_the_same_bytes),
    };

    return cmocka_run_group_tests_name("util.hash", tests, NULL, NULL);
}
