#include "util/utf8.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080u /* of eight bytes */

size_t utf8_len(const uint8_t *p, size_t len)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;

    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* The number of ASCII bytes at the start, rounded down to eight. */
static size_t skip_ascii(const uint8_t *p, size_t len)
{
    size_t done = 0;
    uint64_t eight;

    for (; len - done >= sizeof(eight); done += sizeof(eight)) {
        memcpy(&eight, p + done, sizeof(eight));
        if (eight & HIGH_BITS)
            break;
    }
    return done;
}

bool utf8_valid(const uint8_t *p, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t n = p[i] < 0x80 ? skip_ascii(p + i, len - i) : 0;

        if (n == 0)
            n = utf8_len(p + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
