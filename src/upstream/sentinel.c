/* A question goes through the sentinels, at most once around. Its connection
 * and its timer exist as long as one of them is asked. */
#include "upstream/sentinel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/connect.h"
#include "net/handle.h"
#include "net/stream.h"
#include "net/trust.h"
#include "upstream/rediscommand.h"
#include "upstream/redisvalue.h"
#include "util/alloc.h"
#include "util/buf.h"

#define QUEUE_MAX 65536 /* bytes; a question has some hundred */

struct sentinel {
    struct turn *turn; /* borrowed */
    char *hosts[SENTINEL_MAX];
    uint16_t ports[SENTINEL_MAX];
    size_t count;
    char *master, *user, *password, *tls_name; /* owned */
    struct ssl_ctx_st *tls;                    /* shared */
    uint64_t try_ms;
    size_t first; /* the one that answered last */
    size_t tries; /* of this question so far */
    uv_timer_t timer;
    struct connect *connect;          /* owned; while connecting */
    struct stream *stream;            /* owned; then */
    struct redisvalue_reader *reader; /* owned; as stream */
    bool logged_in;                   /* or no AUTH is needed */
    sentinel_found_cb found;          /* NULL: nobody asks */
    void *arg;                        /* borrowed, handed to found */
    char why[256];
};

static void ask_next(struct sentinel *s);

static size_t current(const struct sentinel *s)
{
    return (s->first + s->tries) % s->count;
}

static void end_try(struct sentinel *s)
{
    uv_timer_stop(&s->timer);
    if (s->connect)
        connect_cancel(s->connect);
    if (s->stream)
        stream_close(s->stream);
    redisvalue_reader_free(s->reader);
    s->connect = NULL;
    s->stream = NULL;
    s->reader = NULL;
}

static void tell(struct sentinel *s, int err, const char *host, uint16_t port)
{
    sentinel_found_cb found = s->found;

    s->found = NULL;
    found(err, host, port, s->why, s->arg);
}

/* This one is of no use; the next one, or nobody is left. */
static void pass_over(struct sentinel *s, int err, const char *why)
{
    size_t i = current(s);

    snprintf(s->why, sizeof(s->why), "sentinel %s:%u: %s", s->hosts[i],
        s->ports[i], why);
    end_try(s);
    if (++s->tries < s->count)
        ask_next(s);
    else
        tell(s, err, NULL, 0);
}

/* "host" and "port" of the master; false: the reply is something else. */
static bool is_address(const struct redisvalue *v)
{
    return v->type == REDIS_ARRAY && v->len == 2 &&
           v->items[0].type == REDIS_STRING &&
           v->items[1].type == REDIS_STRING && v->items[0].len > 0 &&
           strlen(v->items[0].text) == v->items[0].len;
}

static void take_answer(struct sentinel *s, const struct redisvalue *v)
{
    unsigned long port =
        is_address(v) ? strtoul(v->items[1].text, NULL, 10) : 0;

    if (v->type == REDIS_ERROR) {
        pass_over(s, -EACCES, v->text);
    } else if (v->type == REDIS_NIL) {
        char why[128];

        snprintf(why, sizeof(why), "it knows no master '%s'", s->master);
        pass_over(s, -ENOENT, why);
    } else if (port == 0 || port > UINT16_MAX) {
        pass_over(s, -EPROTO, "its answer has no address");
    } else {
        s->first = current(s);
        end_try(s);
        tell(s, 0, v->items[0].text, (uint16_t)port);
    }
}

static void on_bytes(
    struct stream *stream, const uint8_t *data, size_t len, void *arg)
{
    struct sentinel *s = arg;
    struct redisvalue *v;
    const char *why;
    int n;

    redisvalue_reader_feed(s->reader, data, len);
    n = redisvalue_reader_next(s->reader, &v, &why);
    if (n > 0 && !s->logged_in && v->type != REDIS_ERROR) {
        s->logged_in = true;
        redisvalue_free(v);
        n = redisvalue_reader_next(s->reader, &v, &why);
    }
    if (n > 0) {
        take_answer(s, v);
        redisvalue_free(v);
    } else if (n < 0) {
        pass_over(s, n, "it is no Redis sentinel");
    }
}

static void on_lost(struct stream *stream, int err, const char *why, void *arg)
{
    struct sentinel *s = arg;

    s->stream = NULL;
    if (err == 0)
        err = -ECONNRESET;
    pass_over(s, err, why ? why : uv_strerror(err));
}

static void put_question(struct sentinel *s)
{
    const char *words[] = {
        "SENTINEL", "get-master-addr-by-name", s->master, NULL};
    struct buf *out = stream_out(s->stream);

    if (s->password)
        rediscommand_auth(out, s->user, s->password);
    rediscommand_put(out, words);
}

static void on_secured(struct stream *stream, void *arg)
{
}

static void on_connected(int err, int fd, void *arg)
{
    static const struct stream_ops ops = {
        .on_secured = on_secured, .on_bytes = on_bytes, .on_close = on_lost};
    struct sentinel *s = arg;
    struct stream_conf conf = {.tls = s->tls,
        .host = s->tls_name ? s->tls_name : s->hosts[current(s)],
        .high_water = QUEUE_MAX};

    s->connect = NULL;
    if (err < 0) {
        pass_over(s, err, uv_strerror(err));
        return;
    }
    s->stream = stream_open(s->turn, fd, &conf, &ops, s);
    s->reader = redisvalue_reader_new();
    s->logged_in = !s->password;
    if (!s->stream || !s->reader) {
        pass_over(s, -ENOMEM, "not enough memory");
        return;
    }
    put_question(s);
}

static void on_timeout(uv_timer_t *timer)
{
    pass_over(timer->data, -ETIMEDOUT, "no answer in time");
}

static void ask_next(struct sentinel *s)
{
    size_t i = current(s);

    uv_timer_start(&s->timer, on_timeout, s->try_ms, 0);
    s->connect = connect_start(turn_loop(s->turn), s->hosts[i], s->ports[i],
        (struct connect_limit){.ms = s->try_ms}, on_connected, s);
}

void sentinel_ask(struct sentinel *s, sentinel_found_cb found, void *arg)
{
    s->found = found;
    s->arg = arg;
    s->tries = 0;
    ask_next(s);
}

void sentinel_cancel(struct sentinel *s)
{
    end_try(s);
    s->found = NULL;
}

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

struct sentinel *sentinel_open(
    struct turn *turn, const struct sentinel_conf *conf)
{
    struct sentinel *s = xcalloc(1, sizeof(*s));

    s->turn = turn;
    s->count = conf->count < SENTINEL_MAX ? conf->count : SENTINEL_MAX;
    for (size_t i = 0; i < s->count; i++) {
        s->hosts[i] = xstrdup(conf->hosts[i]);
        s->ports[i] = conf->ports[i];
    }
    s->master = xstrdup(conf->master);
    s->user = copy(conf->user);
    s->password = copy(conf->password);
    s->tls_name = copy(conf->tls_name);
    s->tls = trust_share(conf->tls);
    s->try_ms = conf->try_ms ? conf->try_ms : SENTINEL_TRY_MS;
    uv_timer_init(turn_loop(turn), &s->timer);
    s->timer.data = s;
    return s;
}

void sentinel_close(struct sentinel *s)
{
    if (!s)
        return;
    sentinel_cancel(s);
    for (size_t i = 0; i < s->count; i++)
        free(s->hosts[i]);
    free(s->master);
    free(s->user);
    free(s->password);
    free(s->tls_name);
    trust_free(s->tls);
    handle_close(&s->timer, s);
}
