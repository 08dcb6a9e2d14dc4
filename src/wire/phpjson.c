/* Strings first, byte for byte as PHP escapes them; then serialized values, in
 * two walks: one notes which arrays are lists, the other writes. */
#include "wire/phpjson.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "util/utf8.h"
#include "wire/phpfloat.h"
#include "wire/phpser.h"

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

/* ---- a serialized value ---- */

/* As JSON_UNESCAPED_UNICODE has it: escaped is what JavaScript once took for
 * the end of a line. What is not UTF-8 stays. */
static void put_unescaped(struct buf *out, const uint8_t *s, size_t len)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (s[i] < 0x80) {
            put_ascii(out, s[i]);
        } else if (len - i >= 3 && memcmp(s + i, "\xe2\x80", 2) == 0 &&
                   (s[i + 2] & 0xfe) == 0xa8) {
            put_u(out, 0x2000u | (s[i + 2] & 0x3f));
            i += 2;
        } else {
            buf_append_byte(out, s[i]);
        }
    }
    buf_append_byte(out, '"');
}

/* "1.0E+25" is 1.0e+25 in JSON. */
static int put_float(struct buf *out, double value)
{
    size_t at = out->len;

    if (!isfinite(value))
        return -ENOTSUP;
    phpfloat_put(out, value);
    for (; at < out->len; at++)
        if (out->data[at] == 'E')
            out->data[at] = 'e';
    return 0;
}

/* An open array. */
struct level {
    size_t number; /* of all arrays, in order of their beginning */
    int64_t next;  /* the key that a list would have now */
};

struct writer {
    struct buf *out;
    struct buf lists; /* for each array: 1 a list, 0 an object */
    size_t begun;     /* arrays so far */
    size_t depth;
    struct level open[PHPSER_DEPTH_MAX];
};

static uint8_t *is_list(const struct writer *w)
{
    return w->lists.data + w->open[w->depth - 1].number;
}

static void note_token(struct writer *w, const struct phpser_token *t)
{
    if (t->is_key) {
        if (t->type != PHPSER_INT || t->integer != w->open[w->depth - 1].next++)
            *is_list(w) = 0;
    } else if (t->type == PHPSER_ARRAY) {
        buf_append_byte(&w->lists, 1);
    }
}

static void put_key(struct writer *w, const struct phpser_token *t)
{
    if (w->open[w->depth - 1].next++ > 0)
        buf_append_byte(w->out, ',');
    if (*is_list(w))
        return;
    if (t->type == PHPSER_INT)
        buf_printf(w->out, "\"%lld\"", (long long)t->integer);
    else
        put_unescaped(w->out, t->string.data, t->string.len);
    buf_append_byte(w->out, ':');
}

static int put_value(struct writer *w, const struct phpser_token *t)
{
    switch (t->type) {
    case PHPSER_NULL:
        buf_append_str(w->out, "null");
        return 0;
    case PHPSER_BOOL:
        buf_append_str(w->out, t->boolean ? "true" : "false");
        return 0;
    case PHPSER_INT:
        buf_printf(w->out, "%lld", (long long)t->integer);
        return 0;
    case PHPSER_FLOAT:
        return put_float(w->out, t->number);
    case PHPSER_STRING:
        put_unescaped(w->out, t->string.data, t->string.len);
        return 0;
    case PHPSER_ARRAY:
        assert(w->lists.data); /* an element for each array that there is */
        buf_append_byte(w->out, w->lists.data[w->begun] ? '[' : '{');
        return 0;
    case PHPSER_END:
        buf_append_byte(w->out, *is_list(w) ? ']' : '}');
        return 0;
    default:
        return -ENOTSUP;
    }
}

/* Go through the value, to note which arrays are lists or to write it. */
static int walk(struct writer *w, const void *data, size_t len, bool write)
{
    struct phpser_reader r;
    struct phpser_token t;
    int n;

    w->begun = w->depth = 0;
    phpser_read(&r, data, len);
    while ((n = phpser_next(&r, &t)) == 1) {
        if (!write)
            note_token(w, &t);
        else if (t.is_key)
            put_key(w, &t);
        else
            n = put_value(w, &t);
        if (n < 0 || (write && w->out->len > PHPJSON_MAX_LEN))
            return n < 0 ? n : -E2BIG;
        if (t.type == PHPSER_ARRAY)
            w->open[w->depth++] = (struct level){.number = w->begun++};
        else if (t.type == PHPSER_END)
            w->depth--;
    }
    return n;
}

int phpjson_put_value(struct buf *out, const void *serialized, size_t len)
{
    struct writer w = {.out = out};
    size_t begin = out->len;
    int err = walk(&w, serialized, len, false);

    if (err == 0)
        err = walk(&w, serialized, len, true);
    if (err < 0)
        out->len = begin;
    buf_fini(&w.lists);
    return err;
}
