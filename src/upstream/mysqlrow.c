/* Rows lie behind each other in one buffer, a byte of kind and then the value,
 * read back in the same order: a result of many rows is two allocations. */
#include "upstream/mysqlrow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS_MAX 24 /* bytes; a 64-bit integer in a wide ZEROFILL column */

void mysqlrow_fini(struct mysqlrow_result *r)
{
    struct mysqlrow_result *next = r->next;

    buf_fini(&r->names);
    buf_fini(&r->rows);
    r->next = NULL;
    while (next) {
        struct mysqlrow_result *set = next;

        next = set->next;
        buf_fini(&set->names);
        buf_fini(&set->rows);
        free(set);
    }
}

uint8_t *mysqlrow_put_text(struct mysqlrow_result *r, size_t len)
{
    buf_append_byte(&r->rows, MYSQLROW_TEXT);
    buf_append(&r->rows, &len, sizeof(len));
    return buf_extend(&r->rows, len);
}

void mysqlrow_put(struct mysqlrow_result *r, const struct mysqlrow_value *v)
{
    uint8_t *p;

    switch (v->kind) {
    case MYSQLROW_NULL:
        buf_append_byte(&r->rows, MYSQLROW_NULL);
        break;
    case MYSQLROW_INT:
        buf_append_byte(&r->rows, MYSQLROW_INT);
        buf_append(&r->rows, &v->integer, sizeof(v->integer));
        break;
    case MYSQLROW_DOUBLE:
        buf_append_byte(&r->rows, MYSQLROW_DOUBLE);
        buf_append(&r->rows, &v->number, sizeof(v->number));
        break;
    case MYSQLROW_TEXT:
        p = mysqlrow_put_text(r, v->len);
        if (v->len > 0)
            memcpy(p, v->text, v->len);
        break;
    }
}

void mysqlrow_put_digits(
    struct mysqlrow_result *r, const char *text, size_t len)
{
    struct mysqlrow_value v = {.kind = MYSQLROW_TEXT, .text = text, .len = len};
    char digits[DIGITS_MAX + 1];
    char *end;

    if (len > 0 && len <= DIGITS_MAX) {
        memcpy(digits, text, len);
        digits[len] = '\0';
        errno = 0;
        v.integer = strtoll(digits, &end, 10);
        if (errno == 0 && *end == '\0')
            v.kind = MYSQLROW_INT;
    }
    mysqlrow_put(r, &v);
}

void mysqlrow_put_bits(
    struct mysqlrow_result *r, const uint8_t *bytes, size_t len)
{
    uint64_t bits = 0;
    char digits[DIGITS_MAX + 1];
    int n;

    for (size_t i = 0; i < len && i < sizeof(bits); i++)
        bits = bits << 8 | bytes[i];
    n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)bits);
    mysqlrow_put_digits(r, digits, (size_t)n);
}

void mysqlrow_next(
    const struct mysqlrow_result *r, size_t *offset, struct mysqlrow_value *out)
{
    const uint8_t *p = r->rows.data + *offset;

    out->kind = (enum mysqlrow_kind) * p++;
    switch (out->kind) {
    case MYSQLROW_NULL:
        break;
    case MYSQLROW_INT:
        memcpy(&out->integer, p, sizeof(out->integer));
        p += sizeof(out->integer);
        break;
    case MYSQLROW_DOUBLE:
        memcpy(&out->number, p, sizeof(out->number));
        p += sizeof(out->number);
        break;
    case MYSQLROW_TEXT:
        memcpy(&out->len, p, sizeof(out->len));
        out->text = (const char *)p + sizeof(out->len);
        p += sizeof(out->len) + out->len;
        break;
    }
    *offset = (size_t)(p - r->rows.data);
}
