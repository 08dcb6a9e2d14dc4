/* transcode.h - reads a serialized value and writes it again, for the specs
 * and the fuzzer of phpser.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SPEC_WIRE_TRANSCODE_H
#define SPEC_WIRE_TRANSCODE_H

#include "wire/phpser.h"

static inline void put_token(struct buf *out, const struct phpser_token *t)
{
    switch (t->type) {
    case PHPSER_NULL:
        phpser_put_null(out);
        break;
    case PHPSER_BOOL:
        phpser_put_bool(out, t->boolean);
        break;
    case PHPSER_INT:
        phpser_put_int(out, t->integer);
        break;
    case PHPSER_FLOAT:
        phpser_put_float(out, t->number);
        break;
    case PHPSER_STRING:
        if (t->is_key)
            phpser_put_key(out, t->string.data, t->string.len);
        else
            phpser_put_string(out, t->string.data, t->string.len);
        break;
    case PHPSER_ARRAY:
        phpser_put_array(out, t->count);
        break;
    case PHPSER_END:
        phpser_put_end(out);
        break;
    case PHPSER_OPAQUE:
        buf_append(out, t->string.data, t->string.len);
        break;
    }
}

/* 0, or as phpser_next(). */
static inline int transcode(struct buf *out, const void *data, size_t len)
{
    struct phpser_reader r;
    struct phpser_token t;
    int err;

    phpser_read(&r, data, len);
    while ((err = phpser_next(&r, &t)) > 0)
        put_token(out, &t);
    return err;
}

#endif /* SPEC_WIRE_TRANSCODE_H */
