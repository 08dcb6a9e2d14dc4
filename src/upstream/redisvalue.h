/* redisvalue.h - what a Redis server says: its bytes made to values, within
 * limits. hiredis parses.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_REDISVALUE_H
#define GW_UPSTREAM_REDISVALUE_H

#include <stddef.h>
#include <stdint.h>

#define REDISVALUE_BYTES_MAX (64 * 1024 * 1024) /* of a reply; -EMSGSIZE */
#define REDISVALUE_ITEMS_MAX (1024 * 1024)      /* values in one, likewise */

enum redisvalue_type {
    REDIS_NIL,
    REDIS_INTEGER,
    REDIS_STRING,
    REDIS_STATUS, /* such as OK */
    REDIS_ERROR,  /* such as "WRONGTYPE Operation against …" */
    REDIS_ARRAY,
};

struct redisvalue {
    enum redisvalue_type type;
    int64_t integer;
    size_t len;               /* bytes of text, or number of items */
    char *text;               /* owned; NUL behind it */
    struct redisvalue *items; /* owned */
};

/* A value that was handed over. */
void redisvalue_free(struct redisvalue *v);

/* What v owns. */
void redisvalue_clear(struct redisvalue *v);

struct redisvalue_reader;

/* NULL when memory is out. */
struct redisvalue_reader *redisvalue_reader_new(void);

/* NULL is allowed. */
void redisvalue_reader_free(struct redisvalue_reader *r);

/* Bytes came; they are copied. */
void redisvalue_reader_feed(
    struct redisvalue_reader *r, const void *data, size_t len);

/* The next whole value: 1, *out is the caller's. 0: more bytes are needed.
 * -EPROTO or -EMSGSIZE: nothing more will come; *why is valid as long as r. */
int redisvalue_reader_next(
    struct redisvalue_reader *r, struct redisvalue **out, const char **why);

#endif /* GW_UPSTREAM_REDISVALUE_H */
