/* redis_impl.h - a connection to a Redis server, for the files that make it:
 * how it is opened, heard and lost (redis.c), and the calls on it
 * (redis_calls.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_REDIS_IMPL_H
#define GW_UPSTREAM_REDIS_IMPL_H

#include <uv.h>

#include "net/turn.h"
#include "upstream/redis.h"
#include "util/buf.h"
#include "util/list.h"

struct redis_call {
    struct list node;    /* in redis->waiting or redis->sent */
    struct list overdue; /* for expire_sent() */
    struct redis *redis;
    struct buf commands; /* until they are sent */
    bool sent;
    uint64_t seen;       /* bytes that had come when it was sent */
    uint64_t deadline;   /* ms */
    redis_reply_cb done; /* NULL: nobody waits for it any more */
    void *arg;           /* borrowed, handed to done */
    size_t count;
    size_t got;
    struct redisvalue replies[];
};

/* LEAVING: the server said that it is a replica (after a fail-over). What was
 * sent gets its replies; everything else waits for a new connection. */
enum state { DOWN, CONNECTING, GREETING, UP, LEAVING };

struct redis {
    struct turn *turn;      /* borrowed */
    struct redis_conf conf; /* its strings are owned, its tls is shared */
    enum state state;
    struct sentinel *sentinel;        /* owned; NULL without */
    struct connect *connect;          /* owned; while connecting */
    struct stream *conn;              /* owned; from GREETING on */
    struct redisvalue_reader *reader; /* owned; as conn */
    struct list waiting;              /* calls, until UP */
    struct list sent;                 /* calls, in the order of their replies */
    size_t ncalls;
    struct tally_share shown;
    size_t waiting_bytes;
    uv_timer_t timer;            /* the earliest deadline, or an earlier time */
    uint64_t due;                /* what it is set to; 0 when it rests */
    uint64_t retry_at;           /* no connect before, ms */
    struct turn_task begin_task; /* for calls that wait */
    struct turn_task end_task;
    bool closed;
    uint64_t losses; /* connections that ended */
    int err;         /* why it is down */
    char error[256];
};

/* ---- redis.c ---- */

/* Whoever waits is told; the next call connects anew. */
void redis_end_link(struct redis *r, int err, const char *why);

/* What redis_error() says. */
void redis_set_error(struct redis *r, const char *why);

/* ---- redis_calls.c ---- */

/* A call with its deadline, in no list yet. */
struct redis_call *redis_new_call(
    struct redis *r, const struct redis_request *request);

/* Put the call's commands into the send queue; or those of all that wait. */
void redis_transmit(struct redis *r, struct redis_call *call);
void redis_transmit_all(struct redis *r);

/* After each change of the state and of calls: show the tally. */
void redis_show(struct redis *r);

/* Tell its result and free it. */
void redis_finish_call(struct redis_call *call, int err);

/* Tell all. Callbacks may close r. */
void redis_fail_calls(struct redis *r, int err);

/* Free those of a list, untold. */
void redis_free_calls(struct list *calls);

#endif /* GW_UPSTREAM_REDIS_IMPL_H */
