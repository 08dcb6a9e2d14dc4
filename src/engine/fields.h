/* fields.h - what Redis stores of a directory's names: a field in the hash of
 * each, and the token by which the gateway lives (directory.h says where).
 *
 * Every time of being there has a token of its own. Commands collect in batches
 * of FIELDS_BATCH names; what was under way when the engine went away is of no
 * interest, its batches are stale.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_FIELDS_H
#define GW_ENGINE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "upstream/redis.h"

#define FIELDS_BATCH 512  /* names in one call */
#define FIELDS_KEEP  3600 /* seconds that a hash is kept that nobody writes */

struct fields;

/* Whose field it is. */
struct fields_name {
    void *entry;     /* borrowed until it is told, or fields_end() */
    const char *key; /* of the hash; copied */
    size_t len;
};

struct fields_conf {
    const char *cluster;    /* borrowed; in front of keys */
    const char *address;    /* of this gateway; copied */
    struct redis *commands; /* borrowed */
    /* The field of the name of that entry is there, or is not any more. */
    void (*on_stored)(void *entry, bool there, void *arg);
    /* A batch is done, after all of its names; the first has the token. */
    void (*on_batch)(void *arg);
    /* Redis refuses something, or does not answer. */
    void (*on_fault)(const char *why, void *arg);
    /* A batch could not be sent, which is lost with what was under way. No
     * other callback runs inside a call. */
    void (*on_full)(void *arg);
    void *arg; /* borrowed, handed to all */
};

struct fields *fields_new(const struct fields_conf *conf);

/* commands must be closed. NULL is allowed. */
void fields_free(struct fields *f);

/* Write a new token, before any field: who reads may erase a field that is of
 * no token. */
void fields_begin(struct fields *f);
void fields_end(struct fields *f);

/* Is the token there? */
bool fields_are_alive(const struct fields *f);

/* Collected; the last ones leave with fields_flush(). */
void fields_write(struct fields *f, const struct fields_name *name);
void fields_erase(struct fields *f, const struct fields_name *name);
void fields_flush(struct fields *f);

/* Keep the token for ENGINE_EXPIRY more; it is a fault if it is gone. */
void fields_refresh(struct fields *f);

/* Take the token away, whatever becomes of it. */
void fields_leave(struct fields *f);

#endif /* GW_ENGINE_FIELDS_H */
