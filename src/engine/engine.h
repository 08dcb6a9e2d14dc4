/* engine.h - what joins cells: a bus, and a store that says who is there.
 *
 * Cut as the field cuts it, so that another engine can take Redis' place; with
 * NATS in brackets. A process without `cluster` in its configuration has no
 * engine (NULL), and whoever would use one sees that before: it costs nothing.
 *
 *   bus     engine_publish()         PUBLISH            [PUB]
 *           the inbox, all, names    SUBSCRIBE          [SUB]
 *   store   a claim                  SET … EX, if       [KV create, or update
 *                                    nobody else has it  by revision, with TTL]
 *           members                  SMEMBERS, GET      [KV keys, watch]
 *           who has a name           HSET, HGETALL      [KV key]
 *           a large answer           SET … EX, GET      [object store]
 *
 * A gateway hears what is for the names, uids and groups, that it has told
 * (directory.h), and Redis' table of subscriptions says to whom a message goes.
 *
 * Away is what an engine is until its claims hold and its subscriptions are
 * confirmed, and again whenever one of its connections is lost, a claim is
 * refused, or a probe that it publishes to its own inbox does not come back. It
 * closes the old subscription before it opens another, so nothing comes twice.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_ENGINE_H
#define GW_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/turn.h"
#include "util/list.h"
#include "wire/cmdjson.h"

#define ENGINE_EXPIRY      15 /* seconds that a claim holds, refreshed each … */
#define ENGINE_REFRESH     5    /* … so many */
#define ENGINE_CALL_MS     5000 /* until a call to the engine has failed */
#define ENGINE_RETRY_MAX   5.0 /* seconds between tries to come back, at most */
#define ENGINE_NAME_MAX    64  /* bytes of a cell's name, or the cluster's */
#define ENGINE_RUN_SIZE    33  /* bytes of a run's number, with the NUL */
#define ENGINE_ERROR_SIZE  256
#define ENGINE_WORD_MAX    320  /* bytes of a uid or group with its kind */
#define ENGINE_FIND_MAX    1024 /* names in one engine_find() */
#define ENGINE_STORED      10   /* seconds that what is stored is kept */
#define ENGINE_MEMBERS_MAX 4096 /* gateways of a cluster; more are ignored */

/* What the configuration says of the cluster. Borrowed; outlives the engine. */
struct engine_conf {
    const char *url;     /* upstream/redisurl.h */
    const char *ca_file; /* PEM, with TLS; NULL: the system's authorities */
    const char *name;    /* of the cluster: in front of keys and channels */
    const char *cell;    /* this one */
    uint32_t number; /* of this cell, in 240.0.0.0/4: the address in client ids
                        of its gateways that have none but loopback */
    const char *run; /* of this cell, a number at random; the same in all its
                        processes */
};

/* What a gateway allows its clients; 0: it does not say. */
struct engine_limits {
    uint32_t groups;  /* that one may be in */
    uint32_t session; /* bytes of one's */
};

/* A gateway of some cell. */
struct engine_member {
    uint32_t ip; /* host order */
    uint16_t port;
    struct engine_limits limits;
    char cell[ENGINE_NAME_MAX + 1];
    char run[ENGINE_RUN_SIZE]; /* of its cell */
};

/* Where a gateway is. */
struct engine_place {
    uint32_t ip; /* host order */
    uint16_t port;
};

/* err 0: the places, borrowed. Else -errno. */
typedef void (*engine_found_cb)(
    int err, const struct engine_place *places, size_t count, void *arg);

/* What has members. */
enum engine_name { ENGINE_UID = 'u', ENGINE_GROUP = 'g' };

/* What a script may want to know. No callback may close the engine. */
struct engine_tidings {
    bool (*wants_gone)(void *arg);
    bool (*wants_gap)(void *arg);
    /* Of all processes of the cluster this one is told: a cell is gone without
     * having left, and was heard of last at that time (seconds of 1970). */
    void (*on_gone)(const char *cell, double since, void *arg);
    /* Of all processes of this cell this one is told: its processes are there
     * again; the longest was away for so long. */
    void (*on_gap)(double seconds, void *arg);
};

/* What one process wants of it. */
struct engine_part {
    uint32_t ip; /* of a gateway, claimed for this cell; 0: it is none */
    uint16_t port;
    struct engine_limits limits; /* of a gateway */
    const char *kind;  /* "register"; NULL: a gateway, if ip, else a worker */
    const char *inbox; /* what comes for this process alone; copied */
    bool hears_all;    /* … and what comes for all gateways, and for names */
    bool watches;      /* it wants to know the members */
    /* Bytes came; borrowed. May not close the engine. */
    void (*on_message)(
        const uint8_t *data, size_t len, bool for_all, void *arg);
    /* The members are these; borrowed. May be NULL. */
    void (*on_members)(
        const struct engine_member *list, size_t count, void *arg);
    /* It is there again: what came meanwhile is lost. */
    void (*on_up)(void *arg);
    /* How many clients it has, for the cell's record. May be NULL. */
    uint64_t (*clients)(void *arg);
    const struct engine_tidings *tidings; /* borrowed; NULL: wants none */
    void *tidings_arg;                    /* borrowed, handed to these */
    void *arg;                            /* borrowed, handed to all others */
};

struct engine_counts {
    bool up;
    bool left;        /* for good: another system has the cell's name */
    uint64_t gaps;    /* times that it was away after it was there */
    uint64_t away_ms; /* how long, and this time so far */
    uint64_t published;
    uint64_t lost; /* of those: refused, heard by nobody, or not known */
};

struct engine;

/* NULL, or why url can be none, in err. */
const char *engine_check(const char *url, char err[ENGINE_ERROR_SIZE]);

/* Asynchronous: it is there when on_up() says so, and comes back by itself.
 * NULL and a line in err: ca_file is of no use. */
struct engine *engine_open(struct turn *turn, const struct engine_conf *conf,
    const struct engine_part *part, char err[ENGINE_ERROR_SIZE]);

/* Give up the claims and close, at once for the caller; the loop has the rest,
 * for 2 seconds at most. */
void engine_close(struct engine *e);

/* The cell takes no more clients and will end: others are told so. */
void engine_tell_leaving(struct engine *e);

/* Is it there? */
bool engine_is_up(const struct engine *e);

/* To the inbox of that name, or to all gateways (NULL). Leaves at the end of
 * this turn. 0; -ENOTCONN it is away, or -ENOBUFS. */
int engine_publish(
    struct engine *e, const char *inbox, const void *data, size_t len);

/* The same, to the gateways that have the name. */
int engine_publish_to_name(struct engine *e, enum engine_name kind,
    const void *name, size_t name_len, const void *data, size_t len);

/* A gateway has members of that name from now on, or none any more. It is away
 * until all are confirmed that it had when it came back. */
void engine_add_name(
    struct engine *e, enum engine_name kind, const void *name, size_t len);
void engine_remove_name(
    struct engine *e, enum engine_name kind, const void *name, size_t len);

/* Which gateways, our own cell's too, have one of the names, as the store knows
 * them: those whose subscriptions are confirmed. 0: found runs later, unless
 * the engine is closed; -ENOTCONN, -ENOBUFS, or -E2BIG. */
int engine_find(struct engine *e, enum engine_name kind,
    const struct cmdjson_names *names, engine_found_cb found, void *arg);

/* Keep bytes that are too large to publish, for whoever takes them in the next
 * ENGINE_STORED seconds; no other has that word. They are there before what is
 * published next. 0; -ENOTCONN it is away, or -ENOBUFS. */
int engine_store(
    struct engine *e, const char *word, const void *data, size_t len);

/* err 0: the bytes, borrowed; -ENOENT: there are none any more. Else -errno. */
typedef void (*engine_taken_cb)(
    int err, const void *data, size_t len, void *arg);

/* Fetch them, after which they are gone. 0: taken runs later, unless the engine
 * is closed; -ENOTCONN or -ENOBUFS. */
int engine_take(
    struct engine *e, const char *word, engine_taken_cb taken, void *arg);

/* Embedded by whoever waits until sends of all cells reach a name. */
struct engine_wait {
    struct list node;
    /* True: they do. False: the name has no member here any more. */
    void (*done)(struct engine_wait *w, bool held);
};

/* 1: they do already. 0: w->done() tells, unless the engine is closed or w is
 * taken out of its list; it may wait until the engine is there. -ENOENT: this
 * gateway has no member of that name. */
int engine_wait_for_name(struct engine *e, enum engine_name kind,
    const void *name, size_t len, struct engine_wait *w);

void engine_count(const struct engine *e, struct engine_counts *out);

#endif /* GW_ENGINE_ENGINE_H */
