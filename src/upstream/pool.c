/* A connection is in one of three rings: opening, idle or lent; it changes
 * rings only here. One timer serves the earliest of what has a time: a
 * waiter's deadline, an idle connection's end, the next try after a failed
 * one. */
#include "upstream/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"

enum { OPENING, IDLE, LENT };

struct pool {
    uv_loop_t *loop; /* borrowed, outlives it */
    uv_timer_t timer;
    const struct pool_ops *ops; /* borrowed */
    void *arg;                  /* borrowed, for ops->open */
    struct pool_conf conf;
    struct list opening; /* of pool_conn */
    struct list idle;    /* of pool_conn, used last at the end */
    struct list lent;    /* of pool_conn */
    size_t nopening;
    size_t nidle;
    size_t nlent;
    struct list waits; /* of pool_wait, in order of arrival */
    size_t nwaits;
    struct tally_share shown;
    uint64_t retry_at; /* open no other before this */
    uint64_t due;      /* when the timer fires; UINT64_MAX: it is stopped */
};

static void on_timer(uv_timer_t *timer);

/* Have the timer fire at that time or before. */
static void arm(struct pool *p, uint64_t at)
{
    uint64_t now = clock_now(p->loop);

    if (at >= p->due)
        return;
    p->due = at;
    uv_timer_start(&p->timer, on_timer, at > now ? at - now : 0, 0);
}

/* After each change of what there is. */
static void show(struct pool *p)
{
    tally_show(
        &p->shown, p->nopening + p->nidle + p->nlent, p->nidle, p->nwaits);
}

/* Take conn out of its ring and its count. */
static void unlink_conn(struct pool_conn *conn)
{
    struct pool *p = conn->pool;

    list_remove(&conn->node);
    p->nopening -= conn->state == OPENING;
    p->nidle -= conn->state == IDLE;
    p->nlent -= conn->state == LENT;
    show(p);
}

static void lend(struct pool_conn *conn)
{
    unlink_conn(conn);
    conn->state = LENT;
    list_push_back(&conn->pool->lent, &conn->node);
    conn->pool->nlent++;
    show(conn->pool);
}

static void leave_queue(struct pool_wait *w)
{
    list_remove(&w->node);
    w->pool->nwaits--;
    show(w->pool);
}

/* Open as many connections as there are waiters without one on its way. */
static void open_for_waiters(struct pool *p)
{
    while (p->nopening < p->nwaits &&
           p->nopening + p->nidle + p->nlent < p->conf.size) {
        struct pool_conn *conn;

        if (clock_now(p->loop) < p->retry_at) {
            arm(p, p->retry_at);
            return;
        }
        conn = p->ops->open(p->arg);
        conn->pool = p;
        conn->state = OPENING;
        list_init(&conn->node);
        list_push_back(&p->opening, &conn->node);
        p->nopening++;
        show(p);
    }
}

/* Tell those in ring, which are off the queue but still counted. */
static void fail_waits(struct list *ring, int err)
{
    while (!list_empty(ring)) {
        struct pool_wait *w = LIST_ENTRY(ring->next, struct pool_wait, node);

        leave_queue(w);
        w->done(w, NULL, err);
    }
}

static void expire_waits(struct pool *p, uint64_t now)
{
    struct list expired;
    struct list *node, *tmp;

    list_init(&expired);
    LIST_FOREACH_SAFE (node, tmp, &p->waits) {
        struct pool_wait *w = LIST_ENTRY(node, struct pool_wait, node);

        if (w->deadline > now) {
            arm(p, w->deadline + POOL_TICK_MS);
            continue;
        }
        list_remove(node);
        list_push_back(&expired, node);
    }
    fail_waits(&expired, -ETIMEDOUT);
}

static void expire_idle(struct pool *p, uint64_t now)
{
    while (!list_empty(&p->idle)) {
        struct pool_conn *conn =
            LIST_ENTRY(p->idle.next, struct pool_conn, node);

        if (conn->since + p->conf.idle_ms > now) {
            arm(p, conn->since + p->conf.idle_ms);
            return;
        }
        unlink_conn(conn);
        p->ops->close(conn);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct pool *p = timer->data;
    uint64_t now = clock_now(p->loop);

    p->due = UINT64_MAX;
    expire_idle(p, now);
    open_for_waiters(p);
    expire_waits(p, now);
}

struct pool *pool_new(uv_loop_t *loop, const struct pool_conf *conf,
    const struct pool_ops *ops, void *arg)
{
    struct pool *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->ops = ops;
    p->arg = arg;
    p->conf.size = conf->size ? conf->size : POOL_SIZE;
    p->conf.queue_max = conf->queue_max ? conf->queue_max : POOL_QUEUE_MAX;
    p->conf.idle_ms = conf->idle_ms ? conf->idle_ms : POOL_IDLE_MS;
    p->shown.tally = conf->tally;
    p->due = UINT64_MAX;
    list_init(&p->opening);
    list_init(&p->idle);
    list_init(&p->lent);
    list_init(&p->waits);
    uv_timer_init(loop, &p->timer);
    uv_unref((uv_handle_t *)&p->timer);
    p->timer.data = p;
    return p;
}

static void close_all(struct pool *p, struct list *ring)
{
    while (!list_empty(ring)) {
        struct pool_conn *conn = LIST_ENTRY(ring->next, struct pool_conn, node);

        unlink_conn(conn);
        p->ops->close(conn);
    }
}

void pool_close(struct pool *p)
{
    assert(list_empty(&p->waits));
    close_all(p, &p->opening);
    close_all(p, &p->lent);
    close_all(p, &p->idle);
    handle_close(&p->timer, p);
}

int pool_take(struct pool *p, struct pool_conn **out, struct pool_wait *w,
    uint64_t timeout_ms)
{
    *out = NULL;
    /* An idle one is nobody's: waiters are always served first. */
    if (!list_empty(&p->idle)) {
        *out = LIST_ENTRY(p->idle.prev, struct pool_conn, node);
        lend(*out);
        return 0;
    }
    if (p->nwaits >= p->conf.queue_max)
        return -ENOBUFS;
    w->pool = p;
    w->deadline = clock_now(p->loop) + timeout_ms;
    list_init(&w->node);
    list_push_back(&p->waits, &w->node);
    p->nwaits++;
    tally_wait(&p->shown);
    show(p);
    arm(p, w->deadline);
    open_for_waiters(p);
    return 0;
}

void pool_cancel(struct pool_wait *w)
{
    if (w->pool && !list_empty(&w->node))
        leave_queue(w);
}

void pool_ready(struct pool_conn *conn)
{
    struct pool *p = conn->pool;
    struct pool_wait *w;

    conn->since = clock_now(p->loop);
    if (!list_empty(&p->waits)) {
        w = LIST_ENTRY(p->waits.next, struct pool_wait, node);
        leave_queue(w);
        lend(conn);
        w->done(w, conn, 0);
        return;
    }
    unlink_conn(conn);
    conn->state = IDLE;
    list_push_back(&p->idle, &conn->node);
    p->nidle++;
    show(p);
    arm(p, conn->since + p->conf.idle_ms);
}

void pool_lost(struct pool_conn *conn, int err)
{
    struct pool *p = conn->pool;
    bool opening = conn->state == OPENING;
    struct list failed;

    unlink_conn(conn);
    if (!opening || p->nopening + p->nidle + p->nlent > 0) {
        if (opening)
            p->retry_at = clock_now(p->loop) + POOL_RETRY_MS;
        open_for_waiters(p);
        return;
    }
    p->retry_at = 0;
    /* Those who wait now, not those who begin to while they are told. */
    list_init(&failed);
    list_splice(&failed, &p->waits);
    fail_waits(&failed, err);
}

uint64_t pool_idle_ms(const struct pool_conn *conn)
{
    return clock_now(conn->pool->loop) - conn->since;
}

void pool_note_timeout(struct pool *p)
{
    tally_timeout(&p->shown);
}

struct pool_counts pool_counts(const struct pool *p)
{
    return (struct pool_counts){
        .open = p->nopening + p->nidle + p->nlent,
        .idle = p->nidle,
        .waiting = p->nwaits,
    };
}
