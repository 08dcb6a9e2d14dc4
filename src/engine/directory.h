/* directory.h - which names, uids and groups, a gateway has members of, as
 * Redis is told: a subscription to the channel of each, so that what is sent to
 * a name goes to those gateways only; and a field in the hash of each, so that
 * what is asked about it does.
 *
 *   NAME:u:UID, NAME:g:GROUP   channel, and hash of address → token
 *   NAME:alive:ADDRESS         the gateway's token, with an expiry: fields with
 *                              another are of nobody any more
 *
 * A field is written when the channel is confirmed, so where there is a field
 * messages arrive. Every time of being there has a token of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_DIRECTORY_H
#define GW_ENGINE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "upstream/redis.h"

#define DIRECTORY_WINDOW  8192 /* names that Redis has not confirmed yet */
#define DIRECTORY_BATCH   512  /* channels in one command */
#define DIRECTORY_REWRITE 1200 /* s in which all fields are written again */

struct directory;

struct directory_conf {
    struct turn *turn;      /* borrowed */
    const char *cluster;    /* borrowed; in front of keys and channels */
    const char *address;    /* of this gateway; copied */
    struct redis *commands; /* borrowed */
    /* All that was there at directory_begin() is confirmed. */
    void (*on_whole)(void *arg);
    /* Redis refuses something, or does not answer. */
    void (*on_fault)(const char *why, void *arg);
    void *arg; /* borrowed, handed to both */
};

struct directory *directory_new(const struct directory_conf *conf);

/* commands must be closed. NULL is allowed. */
void directory_free(struct directory *d);

/* Tell Redis all, subscriptions by pushes (borrowed); and from now on what
 * changes, until directory_end(). */
void directory_begin(struct directory *d, struct redis *pushes);
void directory_end(struct directory *d);

/* The first member of a name came, the last one left. At most
 * DIRECTORY_WINDOW are under way at once; the rest waits here. */
void directory_add(
    struct directory *d, enum engine_name kind, const void *name, size_t len);
void directory_remove(
    struct directory *d, enum engine_name kind, const void *name, size_t len);

/* As engine_wait_for_name(). */
int directory_wait(struct directory *d, enum engine_name kind, const void *name,
    size_t len, struct engine_wait *w);

/* Redis says that we hear (on) this channel, or do not any more. */
void directory_confirm(
    struct directory *d, const char *channel, size_t len, bool on);

/* This gateway goes: nobody is there any more. */
void directory_leave(struct directory *d);

/* To be called every ENGINE_REFRESH seconds. */
void directory_refresh(struct directory *d);

/* Grows as long as Redis answers. */
uint64_t directory_progress(const struct directory *d);

/* How many names there are. */
size_t directory_count(const struct directory *d);

/* Append the channel and key of a name as a word of a command. */
void directory_put_name(struct buf *out, const char *cluster,
    enum engine_name kind, const void *name, size_t len);

#endif /* GW_ENGINE_DIRECTORY_H */
