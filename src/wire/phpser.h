/* phpser.h - PHP's serialize() format: sessions and replies.
 *
 * Data only: null, bool, int, float, string, array. What else PHP has (objects,
 * enums, references, arrays in arrays beyond PHPSER_DEPTH_MAX) is opaque:
 * passed over with bounds, handed on as the bytes that it is and never built.
 * No claimed length is trusted: reading allocates nothing and never passes the
 * end. Format: PHP ext/standard/var.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PHPSER_H
#define GW_WIRE_PHPSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define PHPSER_DEPTH_MAX 64 /* nested arrays; what is deeper is opaque */
/* Levels inside an opaque value, as many as PHP reads; more is -E2BIG. */
#define PHPSER_SKIP_MAX  4096
#define PHPSER_COUNT_MAX 4194304 /* elements in one value; more is -E2BIG */

enum phpser_type {
    PHPSER_NULL,
    PHPSER_BOOL,
    PHPSER_INT,
    PHPSER_FLOAT,
    PHPSER_STRING,
    PHPSER_ARRAY, /* count elements follow: key, value, key, value, … */
    PHPSER_END,   /* of an array */
    PHPSER_OPAQUE,
};

struct phpser_token {
    enum phpser_type type;
    bool is_key; /* an int or string that is the key of the next value */
    union {
        bool boolean;
        int64_t integer;
        double number;
        size_t count;
        struct {
            const uint8_t *data; /* borrowed from the input */
            size_t len;
        } string; /* of PHPSER_OPAQUE all its bytes */
    };
};

struct phpser_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool begun; /* the outermost value was announced */
    size_t depth;
    size_t total;                     /* elements announced so far */
    size_t references;                /* passed over so far */
    size_t left[PHPSER_DEPTH_MAX];    /* elements to come, per open array */
    bool after_key[PHPSER_DEPTH_MAX]; /* the next token is a value */
};

/* Read data, which must outlive the reader. */
void phpser_read(struct phpser_reader *r, const void *data, size_t len);

/* The next token. 1, 0 when the value is complete (and nothing is behind it),
 * -EPROTO malformed or cut off, -E2BIG over a limit. After an error the reader
 * must not be used again. */
int phpser_next(struct phpser_reader *r, struct phpser_token *t);

/* 0 if data is exactly one valid value, else as phpser_next(). */
int phpser_check(const void *data, size_t len);

void phpser_put_null(struct buf *out);
void phpser_put_bool(struct buf *out, bool value);
void phpser_put_int(struct buf *out, int64_t value);
/* As PHP with serialize_precision -1: the shortest text that reads back. */
void phpser_put_float(struct buf *out, double value);
void phpser_put_string(struct buf *out, const void *data, size_t len);
/* count key/value pairs and one phpser_put_end() must follow. */
void phpser_put_array(struct buf *out, size_t count);
void phpser_put_end(struct buf *out);
/* A key as PHP's arrays have it: what looks like a decimal integer becomes
 * one ("7" but not "07", "+7" or "-0"). Its text is the same key to PHP. With
 * the text "0" lualib tells tables that have that key from lists: merges and
 * changes leave it so. */
void phpser_put_key(struct buf *out, const void *data, size_t len);

/* Whether a key is to PHP the integer that *out gets. */
bool phpser_int_key(int64_t *out, const void *data, size_t len);

/* Append to out what array_replace_recursive(base, over) gives: keys of over
 * replace those of base, arrays in both are merged, order is base's then
 * over's. An empty base counts as an empty array. References, which are numbers
 * of values, get new ones. 0, -EINVAL when one of them is not an array,
 * -ENOTSUP when what a reference means is replaced or goes, is or may be an
 * array that is merged, or comes behind it now, or when some class's own bytes
 * (C:) make the numbers unknown; or as phpser_next(). On failure out is
 * untouched. */
int phpser_merge(struct buf *out, const void *base, size_t base_len,
    const void *over, size_t over_len);

/* Append to out the value now, and what is opaque in the arrays of was and has
 * no successor in now: who made now out of was has not seen it. Errors as
 * phpser_merge() has them, and -ENOTSUP for each reference: was and now may be
 * parts, and the numbers are those of the whole. out is untouched then. */
int phpser_keep_opaque(struct buf *out, const void *was, size_t was_len,
    const void *now, size_t now_len);

/* What changes in an array: keys get new values or go. */
struct phpser_patch {
    const void *over; /* an array: its elements replace those of the base */
    size_t over_len;
    const void *gone; /* a list of keys; b:1; is all that over does not have */
    size_t gone_len;  /* 0: none */
};

/* Append to out base, an array, with the changes; in base's order, then over's.
 * An empty base counts as an empty array, so does one of which all goes. Errors
 * as phpser_merge() has them, and -ENOTSUP for each reference in over; out is
 * untouched then. */
int phpser_apply(struct buf *out, const void *base, size_t base_len,
    const struct phpser_patch *patch);

/* Find the value of a key (serialized, in any spelling) in an array that
 * phpser_check() accepts. NULL: it is not there. Points into data. */
const uint8_t *phpser_find(const void *data, size_t len, const void *key,
    size_t key_len, size_t *value_len);

#endif /* GW_WIRE_PHPSER_H */
