/* phpser.h - PHP's serialize() format: sessions and replies.
 *
 * Data only: null, bool, int, float, string, array. Objects, references and
 * custom classes are refused. No claimed length is trusted: reading allocates
 * nothing and never passes the end. Format: PHP ext/standard/var.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PHPSER_H
#define GW_WIRE_PHPSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define PHPSER_DEPTH_MAX 64      /* nested arrays; more is -E2BIG */
#define PHPSER_COUNT_MAX 4194304 /* elements in one value; more is -E2BIG */

enum phpser_type {
    PHPSER_NULL,
    PHPSER_BOOL,
    PHPSER_INT,
    PHPSER_FLOAT,
    PHPSER_STRING,
    PHPSER_ARRAY, /* count elements follow: key, value, key, value, … */
    PHPSER_END,   /* of an array */
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
        } string;
    };
};

struct phpser_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool begun; /* the outermost value was announced */
    size_t depth;
    size_t total;                     /* elements announced so far */
    size_t left[PHPSER_DEPTH_MAX];    /* elements to come, per open array */
    bool after_key[PHPSER_DEPTH_MAX]; /* the next token is a value */
};

/* Read data, which must outlive the reader. */
void phpser_read(struct phpser_reader *r, const void *data, size_t len);

/* The next token. 1, 0 when the value is complete (and nothing is behind it),
 * -EPROTO malformed or cut off, -E2BIG over a limit, -ENOTSUP an object or
 * reference. After an error the reader must not be used again. */
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
 * one ("7" but not "07", "+7" or "-0"). */
void phpser_put_key(struct buf *out, const void *data, size_t len);

/* Append to out what array_replace_recursive(base, over) gives: keys of over
 * replace those of base, arrays in both are merged, order is base's then
 * over's. An empty base counts as an empty array. 0, -EINVAL when one of them
 * is not an array, or as phpser_next(); on failure out is untouched. */
int phpser_merge(struct buf *out, const void *base, size_t base_len,
    const void *over, size_t over_len);

#endif /* GW_WIRE_PHPSER_H */
