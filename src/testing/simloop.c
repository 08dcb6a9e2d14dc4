/* A loop whose clock stands still. Timers of such a loop are started with a
 * time that never comes; which of them are due is known here alone, and
 * simloop_step() starts those anew, with 0. A timer has an entry from its start
 * until it has run out, was stopped or is closed, so that no entry outlives its
 * handle. Connections and requests are only watched.
 *
 * The functions named __wrap_x are what the program's calls of x become, and
 * __real_x is libuv's. */
#include "testing/simloop.h"

#include <stdlib.h>
#include <string.h>

#include "net/conn.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/list.h"

#define FIRST_NOW (1000 * 1000) /* ms on a new clock; 0 means never to some */
#define NEVER     (1ULL << 48)  /* ms; nobody waits so long for real */

struct timer {
    uv_timer_t *handle; /* borrowed; the key */
    uv_timer_cb callback;
    uint64_t due;   /* ms, on the clock */
    uint64_t start; /* how many were started before it: order of equals */
    bool parked;    /* false: it runs in the next turn */
    UT_hash_handle hh;
};

struct connection {
    uv_tcp_t *handle; /* borrowed; its data is the struct conn */
    struct list node;
};

/* A thread's work. It may end after its loop was given back. */
struct request {
    const void *handed;   /* borrowed; the key: what libuv was handed */
    struct simloop *loop; /* borrowed; NULL: given back */
    union {
        uv_after_work_cb after_work;
        uv_getaddrinfo_cb after_lookup;
    };
    struct list node;
};

struct simloop {
    struct clock clock;    /* must be first: the loop's data points to it */
    uv_loop_t *loop;       /* borrowed */
    struct timer *timers;  /* owned; uthash by handle */
    struct timer **parked; /* owned; the one that is due next comes last */
    size_t nparked, room;
    uint64_t starts;
    struct list connections; /* owned */
    size_t nrequests;
};

static struct list requests = {&requests, &requests}; /* owned; of all loops */

/* The linker makes these names. NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_uv_timer_start(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t);
int __wrap_uv_timer_start(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t);
int __real_uv_timer_stop(uv_timer_t *);
int __wrap_uv_timer_stop(uv_timer_t *);
int __real_uv_tcp_init(uv_loop_t *, uv_tcp_t *);
int __wrap_uv_tcp_init(uv_loop_t *, uv_tcp_t *);
void __real_uv_close(uv_handle_t *, uv_close_cb);
void __wrap_uv_close(uv_handle_t *, uv_close_cb);
int __real_uv_queue_work(
    uv_loop_t *, uv_work_t *, uv_work_cb, uv_after_work_cb);
int __wrap_uv_queue_work(
    uv_loop_t *, uv_work_t *, uv_work_cb, uv_after_work_cb);
int __real_uv_getaddrinfo(uv_loop_t *, uv_getaddrinfo_t *, uv_getaddrinfo_cb,
    const char *, const char *, const struct addrinfo *);
int __wrap_uv_getaddrinfo(uv_loop_t *, uv_getaddrinfo_t *, uv_getaddrinfo_cb,
    const char *, const char *, const struct addrinfo *);
/* NOLINTEND(bugprone-reserved-identifier) */

/* NULL: an ordinary loop. */
static struct simloop *of(const uv_loop_t *loop)
{
    return loop->data;
}

/* ---- timers ---- */

static bool is_later(const struct timer *a, const struct timer *b)
{
    return a->due != b->due ? a->due > b->due : a->start > b->start;
}

/* How many parked timers are due later than t. */
static size_t count_later(const struct simloop *s, const struct timer *t)
{
    size_t low = 0, high = s->nparked;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (is_later(s->parked[middle], t))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void park(struct simloop *s, struct timer *t)
{
    size_t at = count_later(s, t);

    if (s->nparked == s->room) {
        s->room = 2 * s->room + 16;
        s->parked = xrealloc(s->parked, s->room * sizeof(struct timer *));
    }
    memmove(&s->parked[at + 1], &s->parked[at],
        (s->nparked - at) * sizeof(struct timer *));
    s->parked[at] = t;
    s->nparked++;
    t->parked = true;
}

static void unpark(struct simloop *s, struct timer *t)
{
    size_t at = count_later(s, t);

    s->nparked--;
    memmove(&s->parked[at], &s->parked[at + 1],
        (s->nparked - at) * sizeof(struct timer *));
    t->parked = false;
}

static struct timer *find(const struct simloop *s, uv_timer_t *handle)
{
    struct timer *t;

    HASH_FIND_PTR(s->timers, &handle, t);
    return t;
}

static void forget(struct simloop *s, uv_timer_t *handle)
{
    struct timer *t = find(s, handle);

    if (!t)
        return;
    if (t->parked)
        unpark(s, t);
    HASH_DEL(s->timers, t);
    free(t);
}

static void on_due(uv_timer_t *handle)
{
    struct simloop *s = of(handle->loop);
    uv_timer_cb callback = find(s, handle)->callback;
    uint64_t repeat = uv_timer_get_repeat(handle);

    if (repeat > 0)
        __wrap_uv_timer_start(handle, callback, repeat, repeat);
    else
        forget(s, handle);
    callback(handle);
}

int __wrap_uv_timer_start(
    uv_timer_t *handle, uv_timer_cb callback, uint64_t ms, uint64_t repeat)
{
    struct simloop *s = of(handle->loop);
    struct timer *t;
    int err;

    if (!s)
        return __real_uv_timer_start(handle, callback, ms, repeat);
    err = __real_uv_timer_start(handle, on_due, ms > 0 ? NEVER : 0, repeat);
    if (err < 0)
        return err;
    forget(s, handle);
    t = xcalloc(1, sizeof(*t));
    t->handle = handle;
    t->callback = callback;
    t->due = s->clock.now + ms;
    t->start = s->starts++;
    HASH_ADD_PTR(s->timers, handle, t);
    if (ms > 0)
        park(s, t);
    return 0;
}

int __wrap_uv_timer_stop(uv_timer_t *handle)
{
    struct simloop *s = of(handle->loop);

    if (s)
        forget(s, handle);
    return __real_uv_timer_stop(handle);
}

uint64_t simloop_step(struct simloop *s, uint64_t max_ms)
{
    uint64_t before = s->clock.now, now = before + max_ms;

    if (s->nparked > 0 && s->parked[s->nparked - 1]->due < now)
        now = s->parked[s->nparked - 1]->due;
    s->clock.now = now;
    while (s->nparked > 0 && s->parked[s->nparked - 1]->due <= now) {
        struct timer *t = s->parked[s->nparked - 1];

        unpark(s, t);
        __real_uv_timer_start(
            t->handle, on_due, 0, uv_timer_get_repeat(t->handle));
    }
    return now - before;
}

/* ---- connections ---- */

int __wrap_uv_tcp_init(uv_loop_t *loop, uv_tcp_t *handle)
{
    struct simloop *s = of(loop);
    int err = __real_uv_tcp_init(loop, handle);
    struct connection *c;

    if (!s || err < 0)
        return err;
    c = xcalloc(1, sizeof(*c));
    c->handle = handle;
    list_push_back(&s->connections, &c->node);
    return 0;
}

static void release_connection(struct connection *c)
{
    list_remove(&c->node);
    free(c);
}

static void lose(struct simloop *s, const uv_tcp_t *handle)
{
    struct list *node;

    LIST_FOREACH (node, &s->connections) {
        struct connection *c = LIST_ENTRY(node, struct connection, node);

        if (c->handle == handle) {
            release_connection(c);
            return;
        }
    }
}

int64_t simloop_in_flight(const struct simloop *s)
{
    struct list *node;
    int64_t bytes = 0;

    LIST_FOREACH (node, &s->connections) {
        const struct conn *c =
            LIST_ENTRY(node, struct connection, node)->handle->data;

        bytes += (int64_t)(conn_queued(c) + conn_bytes_out(c));
        bytes -= (int64_t)conn_bytes_in(c);
    }
    return bytes;
}

void __wrap_uv_close(uv_handle_t *handle, uv_close_cb callback)
{
    struct simloop *s = of(handle->loop);

    if (s && handle->type == UV_TIMER)
        forget(s, (uv_timer_t *)handle);
    if (s && handle->type == UV_TCP)
        lose(s, (uv_tcp_t *)handle);
    __real_uv_close(handle, callback);
}

/* ---- requests ---- */

static struct request *begin(struct simloop *s, const void *handed)
{
    struct request *r = xcalloc(1, sizeof(*r));

    r->handed = handed;
    r->loop = s;
    s->nrequests++;
    list_push_back(&requests, &r->node);
    return r;
}

static void release_request(struct request *r)
{
    if (r->loop)
        r->loop->nrequests--;
    list_remove(&r->node);
    free(r);
}

static struct request *find_request(const void *handed)
{
    struct list *node;

    LIST_FOREACH (node, &requests) {
        struct request *r = LIST_ENTRY(node, struct request, node);

        if (r->handed == handed)
            return r;
    }
    return NULL;
}

static void on_worked(uv_work_t *work, int status)
{
    struct request *r = find_request(work);
    uv_after_work_cb after = r->after_work;

    release_request(r);
    after(work, status);
}

static void on_looked_up(
    uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct request *r = find_request(lookup);
    uv_getaddrinfo_cb after = r->after_lookup;

    release_request(r);
    after(lookup, status, found);
}

int __wrap_uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb callback,
    uv_after_work_cb after)
{
    struct request *r;
    int err;

    if (!of(loop))
        return __real_uv_queue_work(loop, work, callback, after);
    r = begin(of(loop), work);
    r->after_work = after;
    err = __real_uv_queue_work(loop, work, callback, on_worked);
    if (err < 0)
        release_request(r);
    return err;
}

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *lookup,
    uv_getaddrinfo_cb after, const char *host, const char *service,
    const struct addrinfo *hints)
{
    struct request *r;
    int err;

    if (!of(loop))
        return __real_uv_getaddrinfo(loop, lookup, after, host, service, hints);
    r = begin(of(loop), lookup);
    r->after_lookup = after;
    err =
        __real_uv_getaddrinfo(loop, lookup, on_looked_up, host, service, hints);
    if (err < 0)
        release_request(r);
    return err;
}

bool simloop_is_computing(const struct simloop *s)
{
    return s->nrequests > 0;
}

/* ---- the loop ---- */

struct simloop *simloop_open(uv_loop_t *loop, double wall)
{
    struct simloop *s = xcalloc(1, sizeof(*s));

    s->clock =
        (struct clock){.now = FIRST_NOW, .wall = wall - FIRST_NOW / 1000.0};
    s->loop = loop;
    list_init(&s->connections);
    loop->data = &s->clock;
    return s;
}

const struct clock *simloop_clock(const struct simloop *s)
{
    return &s->clock;
}

/* Let libuv wait for what is left of a timer's time. */
static void resume(struct simloop *s, const struct timer *t)
{
    uint64_t ms = t->due > s->clock.now ? t->due - s->clock.now : 0;

    __real_uv_timer_start(
        t->handle, t->callback, ms, uv_timer_get_repeat(t->handle));
    forget(s, t->handle);
}

void simloop_close(struct simloop *s)
{
    struct list *node, *next;
    struct timer *t, *tmp;

    if (!s)
        return;
    MAP_FOREACH (hh, s->timers, t, tmp)
        resume(s, t);
    LIST_FOREACH_SAFE (node, next, &s->connections)
        release_connection(LIST_ENTRY(node, struct connection, node));
    LIST_FOREACH (node, &requests) {
        struct request *r = LIST_ENTRY(node, struct request, node);

        if (r->loop == s)
            r->loop = NULL;
    }
    s->loop->data = NULL;
    free(s->parked);
    free(s);
}
