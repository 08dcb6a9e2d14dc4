/* A reader moves over bytes that it does not own and never past their end;
 * depth and number of values are bounded. Writers append to a buffer. Values
 * that are passed over are phpser_skip.c's, references phpser_refs.c's, arrays
 * that are changed phpser_merge.c's and phpser_patch.c's. */
#include "wire/phpser.h"

#include <errno.h>
#include <stdio.h>

#include "wire/phpfloat.h"
#include "wire/phpser_impl.h"

#define INT_MAX_LEN 20 /* bytes of "-9223372036854775808" */

void phpser_read(struct phpser_reader *r, const void *data, size_t len)
{
    r->at = data;
    r->end = len > 0 ? r->at + len : r->at;
    r->begun = false;
    r->depth = 0;
    r->total = 0;
    r->references = 0;
}

int phpser_expect(struct phpser_reader *r, const char *text)
{
    size_t n = strlen(text);

    if (phpser_bytes_left(r) < n || memcmp(r->at, text, n) != 0)
        return -EPROTO;
    r->at += n;
    return 0;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

int phpser_digits(struct phpser_reader *r, uint64_t *out, uint64_t limit)
{
    const uint8_t *p = r->at, *end = r->end;
    uint64_t value = 0;

    if (p == end || !is_digit(*p))
        return -EPROTO;
    for (; p < end && is_digit(*p); p++) {
        if (value > UINT64_MAX / 10 - 1)
            return -EPROTO;
        value = value * 10 + (uint8_t)(*p - '0');
    }
    r->at = p;
    *out = value;
    return value > limit ? -EPROTO : 0;
}

/* i:-5; */
static int read_int(struct phpser_reader *r, struct phpser_token *t)
{
    bool negative = r->at < r->end && *r->at == '-';
    uint64_t value;

    if (r->at < r->end && (negative || *r->at == '+'))
        r->at++;
    if (phpser_digits(r, &value, (uint64_t)INT64_MAX + negative) < 0)
        return -EPROTO;
    t->type = PHPSER_INT;
    t->integer = (int64_t)(negative ? 0 - value : value);
    return phpser_expect(r, ";");
}

/* d:0.5; */
static int read_float(struct phpser_reader *r, struct phpser_token *t)
{
    size_t len = phpser_bytes_left(r);
    const uint8_t *end;

    if (len > PHPFLOAT_TEXT_MAX + 1)
        len = PHPFLOAT_TEXT_MAX + 1;
    end = len > 0 ? memchr(r->at, ';', len) : NULL;
    if (!end)
        return -EPROTO;
    len = (size_t)(end - r->at);
    if (phpfloat_parse(&t->number, r->at, len) < 0)
        return -EPROTO;
    t->type = PHPSER_FLOAT;
    r->at = end + 1;
    return 0;
}

/* s:2:"ab"; */
static int read_string(struct phpser_reader *r, struct phpser_token *t)
{
    uint64_t len;

    if (phpser_digits(r, &len, phpser_bytes_left(r)) < 0 ||
        phpser_expect(r, ":\"") < 0 || len > phpser_bytes_left(r))
        return -EPROTO;
    t->type = PHPSER_STRING;
    t->string.data = r->at;
    t->string.len = (size_t)len;
    r->at += len;
    return phpser_expect(r, "\";");
}

/* b:1; */
static int read_bool(struct phpser_reader *r, struct phpser_token *t)
{
    uint64_t value;

    if (phpser_digits(r, &value, 1) < 0)
        return -EPROTO;
    t->type = PHPSER_BOOL;
    t->boolean = value == 1;
    return phpser_expect(r, ";");
}

/* a:2:{ */
static int read_array(struct phpser_reader *r, struct phpser_token *t)
{
    uint64_t count;

    if (phpser_digits(r, &count, INT64_MAX) < 0 || phpser_expect(r, ":{") < 0)
        return -EPROTO;
    if (count > PHPSER_COUNT_MAX - r->total)
        return -E2BIG;
    if (count > phpser_bytes_left(r) / PHPSER_ELEMENT_MIN)
        return -EPROTO;
    r->total += (size_t)count;
    r->left[r->depth] = (size_t)count;
    r->after_key[r->depth] = false;
    r->depth++;
    t->type = PHPSER_ARRAY;
    t->count = (size_t)count;
    return 0;
}

static int read_opaque(struct phpser_reader *r, struct phpser_token *t)
{
    int err;

    t->type = PHPSER_OPAQUE;
    t->string.data = r->at;
    err = phpser_skip(r);
    t->string.len = (size_t)(r->at - t->string.data);
    return err;
}

int phpser_token(struct phpser_reader *r, struct phpser_token *t)
{
    uint8_t tag;

    if (phpser_bytes_left(r) < 2)
        return -EPROTO;
    tag = r->at[0];
    if (r->at[1] != (tag == 'N' ? ';' : ':'))
        return -EPROTO;
    r->at += 2;
    switch (tag) {
    case 'N':
        t->type = PHPSER_NULL;
        return 0;
    case 'b':
        return read_bool(r, t);
    case 'i':
        return read_int(r, t);
    case 'd':
        return read_float(r, t);
    case 's':
        return read_string(r, t);
    case 'a':
        if (r->depth < PHPSER_DEPTH_MAX)
            return read_array(r, t);
        r->at -= 2;
        return read_opaque(r, t);
    case 'O':
    case 'C':
    case 'E':
    case 'R':
    case 'r':
        r->at -= 2;
        return read_opaque(r, t);
    default:
        return -EPROTO;
    }
}

/* A key of the innermost open array, or its end. */
static int read_key(struct phpser_reader *r, struct phpser_token *t)
{
    size_t top = r->depth - 1;

    if (r->left[top] == 0) {
        t->type = PHPSER_END;
        r->depth--;
        return phpser_expect(r, "}");
    }
    if (r->at == r->end || (*r->at != 'i' && *r->at != 's'))
        return -EPROTO;
    t->is_key = true;
    r->left[top]--;
    r->after_key[top] = true;
    return phpser_token(r, t);
}

int phpser_next(struct phpser_reader *r, struct phpser_token *t)
{
    int err;

    t->is_key = false;
    if (r->depth == 0) {
        if (r->begun)
            return r->at == r->end ? 0 : -EPROTO;
        r->begun = true;
        err = phpser_token(r, t);
    } else if (r->after_key[r->depth - 1]) {
        r->after_key[r->depth - 1] = false;
        err = phpser_token(r, t);
    } else {
        err = read_key(r, t);
    }
    return err < 0 ? err : 1;
}

int phpser_check(const void *data, size_t len)
{
    struct phpser_reader r;
    struct phpser_token t;
    int err;

    phpser_read(&r, data, len);
    do
        err = phpser_next(&r, &t);
    while (err > 0);
    return err;
}

/* Decimal text of value; returns where it begins, behind it is end. */
static char *format_int(char *end, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        *--end = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--end = '-';
    return end;
}

/* "a:5" and the like. */
static void put_number(struct buf *out, char tag, int64_t value)
{
    char text[2 + INT_MAX_LEN];
    char *end = text + sizeof(text);
    char *p = format_int(end, value);

    *--p = ':';
    *--p = tag;
    buf_append(out, p, (size_t)(end - p));
}

void phpser_put_null(struct buf *out)
{
    buf_append_str(out, "N;");
}

void phpser_put_bool(struct buf *out, bool value)
{
    buf_append_str(out, value ? "b:1;" : "b:0;");
}

void phpser_put_int(struct buf *out, int64_t value)
{
    put_number(out, 'i', value);
    buf_append_byte(out, ';');
}

void phpser_put_float(struct buf *out, double value)
{
    buf_append_str(out, "d:");
    phpfloat_put(out, value);
    buf_append_byte(out, ';');
}

void phpser_put_string(struct buf *out, const void *data, size_t len)
{
    put_number(out, 's', (int64_t)len);
    buf_append_str(out, ":\"");
    buf_append(out, data, len);
    buf_append_str(out, "\";");
}

void phpser_put_array(struct buf *out, size_t count)
{
    put_number(out, 'a', (int64_t)count);
    buf_append_str(out, ":{");
}

void phpser_put_end(struct buf *out)
{
    buf_append_byte(out, '}');
}

bool phpser_int_key(int64_t *out, const void *data, size_t len)
{
    const uint8_t *text = data;
    bool negative = len > 0 && text[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + negative;
    uint64_t value = 0;
    size_t first = negative;

    if (len == first || text[first] > '9' || len > INT_MAX_LEN ||
        (text[first] == '0' && len > 1))
        return false;
    for (size_t i = first; i < len; i++) {
        uint8_t digit = (uint8_t)(text[i] - '0');

        if (digit > 9 || value > (limit - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = (int64_t)(negative ? 0 - value : value);
    return true;
}

void phpser_put_key(struct buf *out, const void *data, size_t len)
{
    int64_t integer;

    if (phpser_int_key(&integer, data, len))
        phpser_put_int(out, integer);
    else
        phpser_put_string(out, data, len);
}
