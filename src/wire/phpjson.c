#include "wire/phpjson.h"

#include "util/utf8.h"

#define REPLACEMENT 0xfffd

static void put_u(struct buf *out, uint32_t unit)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t *p = buf_extend(out, 6);

    p[0] = '\\';
    p[1] = 'u';
    p[2] = (uint8_t)hex[unit >> 12 & 15];
    p[3] = (uint8_t)hex[unit >> 8 & 15];
    p[4] = (uint8_t)hex[unit >> 4 & 15];
    p[5] = (uint8_t)hex[unit & 15];
}

static void put_code_point(struct buf *out, uint32_t c)
{
    if (c < 0x10000) {
        put_u(out, c);
        return;
    }
    c -= 0x10000;
    put_u(out, 0xd800 | c >> 10);
    put_u(out, 0xdc00 | (c & 0x3ff));
}

/* Decode the sequence at s, which begins with a byte >= 0x80: its length, or
 * 1 and the replacement character when it is malformed. */
static size_t decode_utf8(uint32_t *out, const uint8_t *s, size_t len)
{
    size_t n = utf8_len(s, len);

    *out = REPLACEMENT;
    if (n == 0)
        return 1;
    *out = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        *out = *out << 6 | (s[i] & 0x3f);
    return n;
}

/* The letter behind the backslash, or 0 when c needs no short escape. */
static uint8_t short_escape(uint8_t c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static void put_ascii(struct buf *out, uint8_t c)
{
    uint8_t letter = short_escape(c);

    if (letter) {
        buf_append_byte(out, '\\');
        buf_append_byte(out, letter);
    } else if (c < 0x20) {
        put_u(out, c);
    } else {
        buf_append_byte(out, c);
    }
}

void phpjson_put_string(struct buf *out, const void *text, size_t len)
{
    const uint8_t *s = text;

    buf_append_byte(out, '"');
    for (size_t i = 0; i < len;) {
        uint32_t c;

        if (s[i] < 0x80) {
            put_ascii(out, s[i++]);
            continue;
        }
        i += decode_utf8(&c, s + i, len - i);
        put_code_point(out, c);
    }
    buf_append_byte(out, '"');
}

void phpjson_put_uint(struct buf *out, uint32_t value)
{
    uint8_t digits[10];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(out, digits + at, sizeof(digits) - at);
}
