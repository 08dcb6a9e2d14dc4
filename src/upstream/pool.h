/* pool.h - connections that are lent to one user at a time, and the queue of
 * those who wait for one.
 *
 * What a connection is and how it is opened and closed its owner tells with
 * pool_ops; here is only how many there are, who gets the next one and when an
 * idle one has to go. A waiter is served in the order of arrival or not at all
 * once its deadline has passed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_POOL_H
#define GW_UPSTREAM_POOL_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "util/list.h"
#include "util/tallies.h"

#define POOL_SIZE      8     /* default: connections at most */
#define POOL_SIZE_MAX  1024  /* more is a mistake in the configuration */
#define POOL_QUEUE_MAX 10000 /* default: waiters; one more is -ENOBUFS */
#define POOL_IDLE_MS   60000 /* default: idle for longer is closed */
#define POOL_RETRY_MS  500   /* after a failed open, while others still work */
#define POOL_TICK_MS   5     /* deadlines of waiters are this exact */

struct pool;

/* Embedded in each connection. Its owner does not touch the fields. */
struct pool_conn {
    struct list node; /* in one of the pool's rings */
    struct pool *pool;
    int state;
    uint64_t since; /* clock_now() when its last user was done */
};

/* Embedded by whoever waits; set done before pool_take(). */
struct pool_wait {
    struct list node;
    struct pool *pool;
    uint64_t deadline; /* in clock_now()'s time */
    /* conn is lent now, or NULL and err: -ETIMEDOUT, or what pool_lost() said
     * when there is no connection at all. */
    void (*done)(struct pool_wait *w, struct pool_conn *conn, int err);
};

struct pool_ops {
    /* Begin to open a connection. It says pool_ready() or pool_lost() later,
     * never inside this call. */
    struct pool_conn *(*open)(void *arg);
    /* End one; the pool has forgotten it. */
    void (*close)(struct pool_conn *conn);
};

struct pool_conf {
    size_t size;         /* 0: POOL_SIZE */
    size_t queue_max;    /* 0: POOL_QUEUE_MAX */
    uint64_t idle_ms;    /* 0: POOL_IDLE_MS */
    struct tally *tally; /* borrowed, outlives the pool; NULL: nobody looks */
};

/* ops and arg (for ops->open) are borrowed. Does not keep the loop alive.
 * Opens nothing yet. */
struct pool *pool_new(uv_loop_t *loop, const struct pool_conf *conf,
    const struct pool_ops *ops, void *arg);

/* Close all connections, what is lent too. Nobody may wait any more.
 * Asynchronous: freed when libuv has closed its timer. */
void pool_close(struct pool *p);

/* 0 and *out: an idle connection, lent now (the one used last). 0 and *out
 * NULL: w waits, w->done() tells. -ENOBUFS: the queue is full. */
int pool_take(struct pool *p, struct pool_conn **out, struct pool_wait *w,
    uint64_t timeout_ms);

/* Stop waiting: w->done() will not run. Harmless when it does not wait. */
void pool_cancel(struct pool_wait *w);

/* It is open, or its user is done with it: lend it to the first waiter, else it
 * is idle. May run that waiter's done(). */
void pool_ready(struct pool_conn *conn);

/* It could not be opened or is broken, whatever its state; the pool forgets it
 * and its owner ends it. Opens another one if somebody waits; all waiters get
 * err (-errno) if this one could not be opened and there is no other. */
void pool_lost(struct pool_conn *conn, int err);

/* How many milliseconds ago its last user was done with it. */
uint64_t pool_idle_ms(const struct pool_conn *conn);

/* What a connection was taken for did not end in time, or got none. */
void pool_note_timeout(struct pool *p);

/* For status and specs. */
struct pool_counts {
    size_t open; /* idle, lent or being opened */
    size_t idle;
    size_t waiting;
};
struct pool_counts pool_counts(const struct pool *p);

#endif /* GW_UPSTREAM_POOL_H */
