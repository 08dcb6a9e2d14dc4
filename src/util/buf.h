/* buf.h - a growable byte buffer: append at the end, consume from the front.
 *
 * The readable bytes are data[0 .. len). Embedded in its owner; all zeros is
 * a valid empty buffer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_BUF_H
#define GW_UTIL_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    uint8_t *data; /* first readable byte; inside the allocation */
    size_t len;    /* readable bytes */
    uint8_t *base; /* owned; the allocation, NULL while empty */
    size_t cap;    /* bytes at base */
};

void buf_fini(struct buf *b);

/* Bytes that may be written behind the readable ones. */
static inline size_t buf_room(const struct buf *b)
{
    return b->cap - (size_t)(b->data - b->base) - b->len;
}

/* Move or grow it until there is room for n > 0 more bytes. */
void buf_grow(struct buf *b, size_t n);

/* Make room for at least n more bytes behind the readable ones and return
 * where they go. Pointers into the buffer become invalid. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (buf_room(b) < n)
        buf_grow(b, n);
    return b->data + b->len;
}

/* n bytes were written behind the readable ones. */
static inline void buf_commit(struct buf *b, size_t n)
{
    b->len += n;
}

/* Reserve and commit: n bytes for the caller to fill. */
static inline uint8_t *buf_extend(struct buf *b, size_t n)
{
    uint8_t *p = buf_reserve(b, n);

    b->len += n;
    return p;
}

static inline void buf_append(struct buf *b, const void *data, size_t n)
{
    if (n > 0)
        memcpy(buf_extend(b, n), data, n);
}

static inline void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

static inline void buf_append_byte(struct buf *b, uint8_t byte)
{
    *buf_extend(b, 1) = byte;
}

/* printf behind the readable bytes; the NUL is not counted. */
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Drop n bytes from the front; n <= len. */
static inline void buf_consume(struct buf *b, size_t n)
{
    b->data += n;
    b->len -= n;
    if (b->len == 0)
        b->data = b->base;
}

/* Forget the content, keep the memory. */
static inline void buf_clear(struct buf *b)
{
    b->data = b->base;
    b->len = 0;
}

/* Give the memory back when more than keep bytes are held and none are used:
 * a connection that once sent a large message does not pay for it for ever. */
void buf_shrink(struct buf *b, size_t keep);

/* Exchange the content of two buffers. */
static inline void buf_swap(struct buf *a, struct buf *b)
{
    struct buf t = *a;

    *a = *b;
    *b = t;
}

#endif /* GW_UTIL_BUF_H */
