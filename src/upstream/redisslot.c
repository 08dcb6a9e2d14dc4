/* Four bits at a time: a table of 16 remainders stays in the cache, and keys
 * are short. */
#include "upstream/redisslot.h"

#include <stdint.h>
#include <string.h>

/* CRC-16/XMODEM: polynomial 0x1021, from 0, no bits turned around. */
static uint16_t crc16(const char *data, size_t len)
{
    static const uint16_t of_nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063,
        0x4084, 0x50a5, 0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c,
        0xd1ad, 0xe1ce, 0xf1ef};
    unsigned crc = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned byte = (uint8_t)data[i];

        crc = of_nibble[(crc >> 12 ^ byte >> 4) & 15] ^ crc << 4;
        crc = of_nibble[(crc >> 12 ^ byte) & 15] ^ crc << 4;
    }
    return (uint16_t)crc;
}

unsigned redisslot_of(const char *key, size_t len)
{
    const char *open = memchr(key, '{', len);
    const char *close =
        open ? memchr(open + 1, '}', len - (size_t)(open + 1 - key)) : NULL;

    if (close && close > open + 1) {
        key = open + 1;
        len = (size_t)(close - key);
    }
    return crc16(key, len) % REDISSLOT_COUNT;
}
