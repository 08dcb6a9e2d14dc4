/* The bytes lie somewhere in one allocation: consuming moves the front, and
 * growing moves the bytes down before it asks for more memory. */
#include "util/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/alloc.h"

#define BUF_MIN 256 /* bytes of the first allocation */

void buf_fini(struct buf *b)
{
    free(b->base);
    memset(b, 0, sizeof(*b));
}

void buf_grow(struct buf *b, size_t n)
{
    size_t need = b->len + n;
    size_t cap = b->cap ? b->cap : BUF_MIN;

    assert(need >= n);
    /* Moving down is cheap only while it frees at least half. */
    if (b->base && need <= b->cap / 2) {
        memmove(b->base, b->data, b->len);
        b->data = b->base;
        return;
    }
    while (cap < need)
        cap *= 2;
    if (b->data == b->base) {
        b->base = xrealloc(b->base, cap);
    } else {
        uint8_t *base = xmalloc(cap);

        memcpy(base, b->data, b->len);
        free(b->base);
        b->base = base;
    }
    b->data = b->base;
    b->cap = cap;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buf_shrink(struct buf *b, size_t keep)
{
    if (b->len == 0 && b->cap > keep)
        buf_fini(b);
}
