/* A lost connection fails all calls: nothing that may have reached the server
 * is sent again. The next call connects anew. */
#include "upstream/redis_impl.h"

#include <errno.h>
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

/* ---- the connection ---- */

static void end_connection(struct redis *r)
{
    if (r->conn)
        stream_close(r->conn);
    redisvalue_reader_free(r->reader);
    r->conn = NULL;
    r->reader = NULL;
    r->state = DOWN;
    redis_show(r);
    r->losses++;
}

void redis_set_error(struct redis *r, const char *why)
{
    if (*r->conf.host == '/' || r->conf.port == 0) /* not found yet */
        snprintf(r->error, sizeof(r->error), "redis %s: %s", r->conf.host, why);
    else
        snprintf(r->error, sizeof(r->error), "redis %s:%u: %s", r->conf.host,
            r->conf.port, why);
}

void redis_end_link(struct redis *r, int err, const char *why)
{
    r->err = err;
    redis_set_error(r, why); /* which the reader may own */
    if (r->sentinel)
        sentinel_cancel(r->sentinel);
    if (r->connect)
        connect_cancel(r->connect);
    r->connect = NULL;
    if (r->state < UP)
        r->retry_at = clock_now(r->timer.loop) + REDIS_RETRY_MS;
    end_connection(r);
    redis_fail_calls(r, err);
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
    redis_show(r);
    redis_transmit_all(r);
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
        redis_transmit(r, redis_new_call(r, &request));
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
        redis_end_link(r, -EPROTO, "a reply that nobody asked for");
        return false;
    }
    if (r->state == UP && is_from_replica(v))
        r->state = LEAVING;
    redis_show(r);
    call = LIST_ENTRY(r->sent.next, struct redis_call, node);
    call->replies[call->got++] = *v;
    free(v);
    if (call->got < call->count)
        return true;
    r->err = 0;
    redis_finish_call(call, 0);
    if (!r->closed && r->state == GREETING) {
        char why[sizeof(r->error)];

        memcpy(why, r->error, sizeof(why));
        redis_end_link(r, r->err, why);
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
        redis_end_link(r, n, why);
}

static void on_lost(struct stream *s, int err, const char *why, void *arg)
{
    struct redis *r = arg;

    r->conn = NULL;
    if (err == 0)
        err = -ECONNRESET;
    if (!why)
        why = err == -ECONNRESET ? "the connection was lost" : uv_strerror(err);
    redis_end_link(r, err == -EKEYREJECTED ? -EACCES : err, why);
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
        redis_end_link(r, err, uv_strerror(err));
        return;
    }
    r->reader = redisvalue_reader_new();
    if (!r->reader) {
        redis_end_link(r, -ENOMEM, "not enough memory");
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
        redis_end_link(r, err, why);
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
        redis_transmit_all(r);
    if (r->closed || r->state != DOWN || list_empty(&r->waiting))
        return;
    if (clock_now(r->timer.loop) < r->retry_at) {
        redis_fail_calls(r, r->err);
        return;
    }
    r->state = CONNECTING;
    if (r->sentinel)
        sentinel_ask(r->sentinel, on_found, r);
    else
        connect_to_host(r);
}

/* ---- the public side ---- */

uint64_t redis_losses(const struct redis *r)
{
    return r->losses;
}

void redis_drop(struct redis *r, const char *why)
{
    redis_end_link(r, -ECONNRESET, why);
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
    r->shown.tally = conf->tally;
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
    redis_free_calls(&r->sent);
    redis_free_calls(&r->waiting);
    redis_show(r);
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

    redis_end_link(r, -ECANCELED, "the connection was closed");
    if (!r->closed)
        redis_close(r);
}

void redis_end(struct redis *r)
{
    r->end_task.run = on_end;
    turn_schedule(r->turn, &r->end_task);
}
