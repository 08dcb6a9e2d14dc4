/* Replies come in the order of the commands, so a call that was sent stays in
 * its place until its replies came, told or not; one that was not sent can go
 * at any time. A lost connection fails all of them: nothing that may have
 * reached the server is sent again. The next call connects anew. */
#include "upstream/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/connect.h"
#include "net/handle.h"
#include "net/stream.h"
#include "net/trust.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"
#include "util/list.h"
#include "util/log.h"

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

static void drop(struct redis *r, int err, const char *why);

/* ---- calls ---- */

static void free_call(struct redis_call *call)
{
    list_remove(&call->node);
    list_remove(&call->overdue);
    call->redis->ncalls--;
    call->redis->waiting_bytes -= call->commands.len;
    buf_fini(&call->commands);
    for (size_t i = 0; i < call->got; i++)
        redisvalue_clear(&call->replies[i]);
    free(call);
}

/* Tell its result and free it. */
static void finish_call(struct redis_call *call, int err)
{
    list_remove(&call->node);
    if (call->done)
        call->done(err, err < 0 ? NULL : call->replies,
            err < 0 ? 0 : call->count, call->arg);
    free_call(call);
}

static void free_calls(struct list *calls)
{
    while (!list_empty(calls))
        free_call(LIST_ENTRY(calls->next, struct redis_call, node));
}

/* Callbacks may close r. */
static void fail_calls(struct redis *r, int err)
{
    struct list failed;

    list_init(&failed);
    list_splice(&failed, &r->sent);
    list_splice(&failed, &r->waiting);
    while (!list_empty(&failed) && !r->closed)
        finish_call(LIST_ENTRY(failed.next, struct redis_call, node), err);
    free_calls(&failed);
}

/* ---- deadlines ---- */

static void set_error(struct redis *r, const char *why)
{
    if (*r->conf.host == '/' || r->conf.port == 0) /* not found yet */
        snprintf(r->error, sizeof(r->error), "redis %s: %s", r->conf.host, why);
    else
        snprintf(r->error, sizeof(r->error), "redis %s:%u: %s", r->conf.host,
            r->conf.port, why);
}

static void on_due(uv_timer_t *timer);

static void set_timer(struct redis *r, uint64_t deadline)
{
    uint64_t now = clock_now(r->timer.loop);

    if (r->due != 0 && r->due <= deadline)
        return;
    r->due = deadline;
    uv_timer_start(&r->timer, on_due, deadline > now ? deadline - now : 0, 0);
}

static bool is_overdue(const struct redis_call *call, uint64_t now)
{
    return call->deadline <= now && call->done;
}

static void expire_calls(struct redis *r, struct list *calls, uint64_t now)
{
    struct list *node, *tmp;
    struct list overdue;

    list_init(&overdue);
    LIST_FOREACH_SAFE (node, tmp, calls) {
        struct redis_call *call = LIST_ENTRY(node, struct redis_call, node);

        if (!is_overdue(call, now)) {
            if (call->done)
                set_timer(r, call->deadline);
        } else if (!call->sent) {
            list_remove(&call->node);
            list_push_back(&overdue, &call->node);
        }
    }
    if (!list_empty(&overdue))
        set_error(r, "no answer in time");
    while (!list_empty(&overdue) && !r->closed)
        finish_call(
            LIST_ENTRY(overdue.next, struct redis_call, node), -ETIMEDOUT);
    free_calls(&overdue);
}

/* Tell those sent; each stays in its place until the replies came. Returns
 * whether the server is of no use: it has said nothing since one of them was
 * sent, or does not even let us in. */
static bool expire_sent(struct redis *r, uint64_t now)
{
    bool silent = false;
    struct list overdue, *node;

    list_init(&overdue);
    LIST_FOREACH (node, &r->sent) {
        struct redis_call *call = LIST_ENTRY(node, struct redis_call, node);

        if (is_overdue(call, now))
            list_push_back(&overdue, &call->overdue);
    }
    while (!list_empty(&overdue)) {
        struct redis_call *call =
            LIST_ENTRY(overdue.next, struct redis_call, overdue);
        redis_reply_cb done = call->done;

        list_remove(&call->overdue);
        silent = silent || r->state == GREETING ||
                 stream_bytes_in(r->conn) == call->seen;
        call->done = NULL;
        set_error(r, "no answer in time");
        done(-ETIMEDOUT, NULL, 0, call->arg);
        if (r->closed || !r->conn)
            return false; /* all calls are gone, also from overdue */
    }
    return silent;
}

static void on_due(uv_timer_t *timer)
{
    struct redis *r = timer->data;
    uint64_t now = clock_now(timer->loop);

    r->due = 0;
    expire_calls(r, &r->waiting, now);
    if (r->closed)
        return;
    if (r->conn && expire_sent(r, now)) {
        drop(r, -ECONNRESET, "the server is silent, connecting anew");
        return;
    }
    if (!r->closed)
        expire_calls(r, &r->sent, now); /* sets the timer again */
}

/* ---- the connection ---- */

/* Put the call's commands into the send queue. */
static void transmit(struct redis *r, struct redis_call *call)
{
    struct buf *out = stream_out(r->conn);

    if (call->commands.len > 0) {
        buf_append(out, call->commands.data, call->commands.len);
        r->waiting_bytes -= call->commands.len;
        buf_fini(&call->commands);
        memset(&call->commands, 0, sizeof(call->commands));
    }
    call->sent = true;
    call->seen = stream_bytes_in(r->conn);
    list_remove(&call->node);
    list_push_back(&r->sent, &call->node);
}

static void transmit_all(struct redis *r)
{
    struct list told;

    list_init(&told);
    while (!list_empty(&r->waiting)) {
        struct redis_call *call =
            LIST_ENTRY(r->waiting.next, struct redis_call, node);

        transmit(r, call);
        if (call->count == 0) {
            list_remove(&call->node);
            list_push_back(&told, &call->node);
        }
    }
    while (!list_empty(&told) && !r->closed)
        finish_call(LIST_ENTRY(told.next, struct redis_call, node), 0);
    free_calls(&told);
}

static void end_connection(struct redis *r)
{
    if (r->conn)
        stream_close(r->conn);
    redisvalue_reader_free(r->reader);
    r->conn = NULL;
    r->reader = NULL;
    r->state = DOWN;
    r->losses++;
}

/* Whoever waits is told; the next call connects anew. */
static void drop(struct redis *r, int err, const char *why)
{
    r->err = err;
    set_error(r, why); /* which the reader may own */
    if (r->sentinel)
        sentinel_cancel(r->sentinel);
    if (r->connect)
        connect_cancel(r->connect);
    r->connect = NULL;
    if (r->state < UP)
        r->retry_at = clock_now(r->timer.loop) + REDIS_RETRY_MS;
    end_connection(r);
    fail_calls(r, err);
    if (!r->closed && r->conf.on_down)
        r->conf.on_down(err, r->conf.arg);
}

/* What the server says to one of our first commands: why it is of no use, else
 * NULL. A user who may not use PING or ROLE, the last one, is let in. */
static const char *objection(
    const struct redis *r, const struct redisvalue *v, bool last)
{
    bool probed = last && (r->sentinel || r->conf.db == 0);

    if (v->type == REDIS_ERROR)
        return probed && strncmp(v->text, "NOPERM", 6) == 0 ? NULL : v->text;
    if (v->type == REDIS_ARRAY && v->len > 0 &&
        v->items[0].type == REDIS_STRING && /* of ROLE */
        strcmp(v->items[0].text, "master") != 0)
        return "it is not the master (any more)";
    return NULL;
}

static void on_greeted(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct redis *r = arg;

    if (err < 0)
        return; /* the connection was dropped, all are told */
    for (size_t i = 0; i < count; i++) {
        const char *why = objection(r, &replies[i], i + 1 == count);

        if (why) {
            r->err = replies[i].type == REDIS_ERROR ? -EACCES : -EROFS;
            snprintf(r->error, sizeof(r->error), "%s", why);
            return; /* take_reply() drops it: not inside its own call */
        }
    }
    r->state = UP;
    transmit_all(r);
}

static void begin_deadline(
    struct redis *r, struct redis_call *call, uint64_t timeout_ms)
{
    uv_update_time(r->timer.loop); /* a handler may have computed for long */
    call->deadline = clock_now(r->timer.loop) + timeout_ms;
    set_timer(r, call->deadline);
}

static struct redis_call *new_call(
    struct redis *r, const struct redis_request *request)
{
    struct redis_call *call =
        xcalloc(1, sizeof(*call) + request->count * sizeof(call->replies[0]));

    list_init(&call->node);
    list_init(&call->overdue);
    call->redis = r;
    call->count = request->count;
    call->done = request->done;
    call->arg = request->arg;
    r->ncalls++;
    begin_deadline(r, call, request->timeout_ms);
    return call;
}

/* AUTH and SELECT, before anything else. With TLS the server must have said
 * something before calls are let out, and a sentinel may not know yet that its
 * master is none any more. */
static void greet(struct redis *r)
{
    char db[16];
    const char *select[] = {"SELECT", db, NULL};
    const char *role[] = {"ROLE", NULL};
    const char *ping[] = {"PING", NULL};
    struct buf *out = stream_out(r->conn);
    struct redis_request request = {
        .timeout_ms = r->conf.connect_ms, .done = on_greeted, .arg = r};

    snprintf(db, sizeof(db), "%d", r->conf.db);
    if (r->conf.password) {
        rediscommand_auth(out, r->conf.user, r->conf.password);
        request.count++;
    }
    if (r->conf.db != 0) {
        rediscommand_put(out, select);
        request.count++;
    }
    if (r->sentinel) {
        rediscommand_put(out, role);
        request.count++;
    } else if (r->conf.tls && request.count == 0) {
        rediscommand_put(out, ping);
        request.count++;
    }
    if (request.count > 0)
        transmit(r, new_call(r, &request));
    else
        on_greeted(0, NULL, 0, r);
}

/* "-READONLY You can't write against a read only replica." */
static bool is_from_replica(const struct redisvalue *v)
{
    static const char code[] = "READONLY ";

    return v->type == REDIS_ERROR && v->len >= sizeof(code) - 1 &&
           memcmp(v->text, code, sizeof(code) - 1) == 0;
}

/* A whole reply; takes ownership of v. False when the connection is gone. */
static bool take_reply(struct redis *r, struct redisvalue *v)
{
    struct redis_call *call;

    if (r->state == UP && r->conf.on_push) {
        r->conf.on_push(v, r->conf.arg);
        return !r->closed && r->conn;
    }
    if (list_empty(&r->sent)) {
        redisvalue_free(v);
        drop(r, -EPROTO, "a reply that nobody asked for");
        return false;
    }
    if (r->state == UP && is_from_replica(v))
        r->state = LEAVING;
    call = LIST_ENTRY(r->sent.next, struct redis_call, node);
    call->replies[call->got++] = *v;
    free(v);
    if (call->got < call->count)
        return true;
    r->err = 0;
    finish_call(call, 0);
    if (!r->closed && r->state == GREETING) {
        char why[sizeof(r->error)];

        memcpy(why, r->error, sizeof(why));
        drop(r, r->err, why);
    } else if (!r->closed && r->state == LEAVING && list_empty(&r->sent)) {
        end_connection(r);
        turn_schedule(r->turn, &r->begin_task);
    }
    return !r->closed && r->conn;
}

static void on_bytes(
    struct stream *s, const uint8_t *data, size_t len, void *arg)
{
    struct redis *r = arg;
    struct redisvalue *reply;
    const char *why;
    int n;

    redisvalue_reader_feed(r->reader, data, len);
    while ((n = redisvalue_reader_next(r->reader, &reply, &why)) > 0)
        if (!take_reply(r, reply))
            return;
    if (n < 0)
        drop(r, n, why);
}

static void on_lost(struct stream *s, int err, const char *why, void *arg)
{
    struct redis *r = arg;

    r->conn = NULL;
    if (err == 0)
        err = -ECONNRESET;
    if (!why)
        why = err == -ECONNRESET ? "the connection was lost" : uv_strerror(err);
    drop(r, err == -EKEYREJECTED ? -EACCES : err, why);
}

/* Nothing to do: what is in the send queue leaves now. */
static void on_secured(struct stream *s, void *arg)
{
}

static void on_connected(int err, int fd, void *arg)
{
    static const struct stream_ops ops = {
        .on_secured = on_secured, .on_bytes = on_bytes, .on_close = on_lost};
    struct redis *r = arg;
    struct stream_conf conf = {.tls = r->conf.tls,
        .host = r->conf.tls_name ? r->conf.tls_name : r->conf.host,
        .high_water = REDIS_QUEUE_MAX};

    r->connect = NULL;
    if (err == 0) {
        r->conn = stream_open(r->turn, fd, &conf, &ops, r);
        err = r->conn ? 0 : -EIO;
    }
    if (err < 0) {
        drop(r, err, uv_strerror(err));
        return;
    }
    r->reader = redisvalue_reader_new();
    if (!r->reader) {
        drop(r, -ENOMEM, "not enough memory");
        return;
    }
    r->state = GREETING;
    greet(r);
}

static void connect_to_host(struct redis *r)
{
    r->connect = connect_start(r->timer.loop, r->conf.host, r->conf.port,
        (struct connect_limit){.ms = r->conf.connect_ms}, on_connected, r);
}

/* A sentinel said where the master is, or none did. */
static void on_found(
    int err, const char *host, uint16_t port, const char *why, void *arg)
{
    struct redis *r = arg;

    if (err < 0) {
        drop(r, err, why);
        return;
    }
    free((char *)r->conf.host);
    r->conf.host = xstrdup(host);
    r->conf.port = port;
    connect_to_host(r);
}

/* Calls wait. */
static void on_begin(struct turn_task *task)
{
    struct redis *r = LIST_ENTRY(task, struct redis, begin_task);

    if (r->state == UP)
        transmit_all(r);
    if (r->closed || r->state != DOWN || list_empty(&r->waiting))
        return;
    if (clock_now(r->timer.loop) < r->retry_at) {
        fail_calls(r, r->err);
        return;
    }
    r->state = CONNECTING;
    if (r->sentinel)
        sentinel_ask(r->sentinel, on_found, r);
    else
        connect_to_host(r);
}

/* ---- the public side ---- */

int redis_send(struct redis *r, const struct redis_request *request,
    struct redis_call **out)
{
    size_t queued = r->waiting_bytes + (r->conn ? stream_queued(r->conn) : 0);
    struct redis_call *call;

    if (r->closed || r->ncalls >= REDIS_CALLS_MAX ||
        queued + request->commands->len > REDIS_QUEUE_MAX)
        return -ENOBUFS;
    call = new_call(r, request);
    *out = call;
    if (r->state == UP && request->count > 0) {
        buf_append(stream_out(r->conn), request->commands->data,
            request->commands->len);
        transmit(r, call);
        return 0;
    }
    buf_append(
        &call->commands, request->commands->data, request->commands->len);
    r->waiting_bytes += call->commands.len;
    list_push_back(&r->waiting, &call->node);
    turn_schedule(r->turn, &r->begin_task);
    return 0;
}

bool redis_was_sent(const struct redis_call *call)
{
    return call->sent;
}

static void on_cancelled(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

void redis_cancel(struct redis_call *call)
{
    if (!call->sent)
        free_call(call);
    else /* its replies are still to come, or the server is found silent */
        call->done = on_cancelled;
}

uint64_t redis_losses(const struct redis *r)
{
    return r->losses;
}

void redis_drop(struct redis *r, const char *why)
{
    drop(r, -ECONNRESET, why);
}

bool redis_is_at(const struct redis *r, const char *host, uint16_t port)
{
    return r->conf.port == port && strcmp(r->conf.host, host) == 0;
}

const char *redis_error(const struct redis *r)
{
    return r->error;
}

struct redis *redis_open(struct turn *turn, const struct redis_conf *conf)
{
    struct redis *r = xcalloc(1, sizeof(*r));

    r->turn = turn;
    r->conf = *conf;
    if (conf->sentinels) {
        r->sentinel = sentinel_open(turn, conf->sentinels);
        r->conf.sentinels = NULL;
        r->conf.host = xstrdup(conf->sentinels->master);
        r->conf.port = 0;
    } else {
        r->conf.host = xstrdup(conf->host);
    }
    r->conf.tls = trust_share(conf->tls);
    r->conf.tls_name = conf->tls_name ? xstrdup(conf->tls_name) : NULL;
    r->conf.user = conf->user ? xstrdup(conf->user) : NULL;
    r->conf.password = conf->password ? xstrdup(conf->password) : NULL;
    if (conf->connect_ms == 0)
        r->conf.connect_ms = REDIS_CONNECT_MS;
    list_init(&r->waiting);
    list_init(&r->sent);
    list_init(&r->begin_task.node);
    list_init(&r->end_task.node);
    r->begin_task.run = on_begin;
    uv_timer_init(turn_loop(turn), &r->timer);
    r->timer.data = r;
    return r;
}

void redis_close_flushed(struct redis *r)
{
    if (r->conn)
        stream_close_flushed(r->conn);
    r->conn = NULL;
    redis_close(r);
}

void redis_close(struct redis *r)
{
    r->closed = true;
    turn_cancel(&r->begin_task);
    turn_cancel(&r->end_task);
    if (r->connect)
        connect_cancel(r->connect);
    if (r->conn)
        stream_close(r->conn);
    redisvalue_reader_free(r->reader);
    free_calls(&r->sent);
    free_calls(&r->waiting);
    sentinel_close(r->sentinel);
    trust_free(r->conf.tls);
    free((char *)r->conf.host);
    free((char *)r->conf.tls_name);
    free((char *)r->conf.user);
    free((char *)r->conf.password);
    handle_close(&r->timer, r);
}

static void on_end(struct turn_task *task)
{
    struct redis *r = LIST_ENTRY(task, struct redis, end_task);

    drop(r, -ECANCELED, "the connection was closed");
    if (!r->closed)
        redis_close(r);
}

void redis_end(struct redis *r)
{
    r->end_task.run = on_end;
    turn_schedule(r->turn, &r->end_task);
}
