/* The rules of RFC 3629's table of well-formed sequences, eight bytes at a time
 * as long as all are ASCII. Nothing is read behind the given length. */
#include "util/utf8.h"

#include <endian.h>
#include <string.h>

#define HIGH_BITS 0x8080808080808080u /* of eight bytes */

/* Bytes of the character that begins with this one; 0: none does. */
static size_t len_by_lead(uint8_t lead)
{
    return lead < 0x80                   ? 1
           : lead >= 0xc2 && lead < 0xe0 ? 2
           : lead >= 0xe0 && lead < 0xf0 ? 3
           : lead >= 0xf0 && lead < 0xf5 ? 4
                                         : 0;
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

static bool is_second(uint8_t byte, uint8_t lead)
{
    return is_continuation(byte) && !(lead == 0xe0 && byte < 0xa0) &&
           !(lead == 0xed && byte > 0x9f) && !(lead == 0xf0 && byte < 0x90) &&
           !(lead == 0xf4 && byte > 0x8f);
}

/* How many of the n bytes of a character are at p, its first one included. */
static size_t count_fitting(const uint8_t *p, size_t len, size_t n)
{
    size_t i = 1;

    if (n > len)
        n = len;
    if (n > 1 && is_second(p[1], p[0]))
        for (i = 2; i < n && is_continuation(p[i]);)
            i++;
    return i;
}

size_t utf8_len(const uint8_t *p, size_t len)
{
    size_t n = len_by_lead(p[0]);

    return n > 0 && count_fitting(p, len, n) == n ? n : 0;
}

static uint64_t get_eight(const uint8_t *p)
{
    uint64_t eight;

    memcpy(&eight, p, sizeof(eight));
    return eight;
}

uint32_t utf8_decode(const uint8_t *p, size_t n)
{
    uint32_t c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3fu);
    return c;
}

static bool is_ascii_block(const uint8_t *p)
{
    uint64_t all =
        get_eight(p) | get_eight(p + 8) | get_eight(p + 16) | get_eight(p + 24);

    return !(all & HIGH_BITS);
}

/* How many of eight bytes are ASCII before the first that is not. */
static size_t ascii_of_eight(const uint8_t *p)
{
    uint64_t high = le64toh(get_eight(p)) & HIGH_BITS;

    return high ? (size_t)__builtin_ctzll(high) / 8 : 8;
}

/* The number of ASCII bytes at the start. */
static size_t count_ascii(const uint8_t *p, size_t len)
{
    size_t i = 0;

    for (size_t blocks = len / 32; blocks > 0; blocks--) {
        if (!is_ascii_block(p + i))
            break;
        i += 32;
    }
    if (i == len)
        return len;
    for (; len - i >= 8; i += 8) {
        size_t n = ascii_of_eight(p + i);

        if (n < 8)
            return i + n;
    }
    if (i < len && len >= 8) /* eight once more, with some from before i */
        return len - 8 + ascii_of_eight(p + len - 8);
    while (i < len && p[i] < 0x80)
        i++;
    return i;
}

size_t utf8_valid_len(const uint8_t *p, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t n = p[i] < 0x80 ? count_ascii(p + i, len - i)
                               : utf8_len(p + i, len - i);

        if (n == 0)
            break;
        i += n;
    }
    return i;
}

bool utf8_valid(const uint8_t *p, size_t len)
{
    return utf8_valid_len(p, len) == len;
}

size_t utf8_repair(struct buf *out, const uint8_t *p, size_t len)
{
    size_t replaced = 0;

    for (;;) {
        size_t n = utf8_valid_len(p, len);

        buf_append(out, p, n);
        if (n == len)
            return replaced;
        p += n;
        len -= n;
        buf_append_str(out, UTF8_REPLACEMENT);
        replaced++;
        n = count_fitting(p, len, len_by_lead(p[0]));
        p += n;
        len -= n;
    }
}

/* Control characters, marks of direction, separators, the byte order mark. */
static bool is_command(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e ||
           c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x206f) || c == 0xfeff;
}

size_t utf8_plain_len(const uint8_t *p, size_t len)
{
    size_t n = utf8_len(p, len);

    return n > 0 && is_command(utf8_decode(p, n)) ? 0 : n;
}

void utf8_make_plain(char *text, const char *keep)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len;) {
        size_t n = utf8_plain_len((const uint8_t *)text + i, len - i);

        if (n == 0 && !strchr(keep, text[i]))
            text[i] = '?';
        i += n ? n : 1;
    }
}
