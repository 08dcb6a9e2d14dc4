/* gateway_fixture.h - a whole gateway on one loop, with raw sockets as its
 * workers and clients.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_GATEWAY_FIXTURE_H
#define GW_SPEC_GATEWAY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/gateway.h"
#include "net/addr.h"
#include "net/clock.h"
#include "net/listener.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/frame.h"
#include "wire/framing.h"

#define PATIENCE_MS 20000 /* a test that waits longer has failed */
#define TICK_MS     2     /* no turn of the loop waits longer */

struct test {
    uv_loop_t loop;
    uv_timer_t tick;
    struct gateway_conf conf;
    struct gateway *gateway;
    union addr outer, inner;
    int ids_fd;
    int held_fd; /* the clients' socket, as the master holds it */
    unsigned ready, stopped;
};

/* One end of a connection to the gateway. */
struct peer {
    struct test *t;
    int fd;
    bool ended; /* the gateway closed it */
    struct buf in;
};

static inline void on_tick(uv_timer_t *timer)
{
}

static inline void on_ready(void *arg)
{
    ((struct test *)arg)->ready++;
}

static inline void on_stopped(void *arg)
{
    ((struct test *)arg)->stopped++;
}

static const struct gateway_events events = {
    .on_ready = on_ready, .on_stopped = on_stopped};

/* A socket that is bound to a number, and so keeps it. */
static inline int bind_any(union addr *out)
{
    socklen_t len = sizeof(*out);
    union addr any;
    int first, fd;

    assert_int_equal(addr_parse(&any, "127.0.0.1:0"), 0);
    first = listener_bind(&any, false);
    assert_true(first >= 0);
    assert_int_equal(getsockname(first, &out->sa, &len), 0);
    fd = listener_bind(out, false);
    assert_true(fd >= 0);
    close(first);
    return fd;
}

static inline struct test *prepare(const struct client_protocol *protocol)
{
    struct test *t = xcalloc(1, sizeof(*t));

    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_ERROR);
    assert_int_equal(clock_loop_init(&t->loop), 0);
    uv_timer_init(&t->loop, &t->tick);
    uv_timer_start(&t->tick, on_tick, TICK_MS, TICK_MS);
    t->ids_fd = -1;
    t->conf = (struct gateway_conf){
        .name = "Test",
        .clients = {.protocol = protocol,
            .message_timeout = PORT_MESSAGE_TIMEOUT,
            .unfinished_total_max = PORT_UNFINISHED_MAX,
            .head_max = PORT_HEAD_MAX,
            .headers_max = PORT_HEADERS_MAX,
            .cache_control = PORT_CACHE_CONTROL,
            .message_max = PORT_MESSAGE_MAX,
            .queue_max = PORT_QUEUE_MAX,
            .handshake_timeout = PORT_HANDSHAKE_TIMEOUT,
            .max_connections = PORT_MAX_CONNECTIONS,
            .max_connections_per_ip = PORT_MAX_PER_IP},
        .lan_ip = "127.0.0.1",
        .secret_key = "",
        .ping_interval = GATEWAY_PING_INTERVAL,
        .idle_timeout = -1,
        .worker_high_water = GATEWAY_WORKER_HIGH_WATER,
    };
    return t;
}

static inline void start(struct test *t)
{
    struct gateway_slot slot = {
        .client_fd = bind_any(&t->outer),
        .inner_fd = bind_any(&t->inner),
        .ids_fd = t->ids_fd >= 0 ? dup(t->ids_fd) : -1,
    };
    char err[256] = "";

    t->held_fd = dup(slot.client_fd);
    t->conf.start_port = addr_port(&t->inner);
    if (gateway_new(&t->gateway, &t->loop, &t->conf, &slot, &events, t, err) <
        0)
        fail_msg("%s", err);
}

/* End the gateway; what its handles still do is waited for. */
static inline void end(struct test *t)
{
    gateway_free(t->gateway);
    t->gateway = NULL;
    t->ready = t->stopped = 0;
    close(t->held_fd);
}

static inline void finish(struct test *t)
{
    if (t->gateway)
        end(t);
    uv_close((uv_handle_t *)&t->tick, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    if (t->ids_fd >= 0)
        close(t->ids_fd);
    free(t);
}

static inline void turn_once(struct test *t, uint64_t begun)
{
    uv_run(&t->loop, UV_RUN_ONCE);
    if (uv_hrtime() - begun > PATIENCE_MS * 1000000ULL)
        fail_msg("waited too long");
}

/* Turn the loop until condition holds; the body runs before each turn. */
#define UNTIL(t, condition) \
    for (uint64_t begun_ = uv_hrtime(); !(condition); turn_once((t), begun_))

static inline struct gateway_status status(const struct test *t)
{
    struct gateway_status s;

    gateway_status(t->gateway, &s);
    return s;
}

static inline struct peer *dial(struct test *t, const union addr *to)
{
    struct peer *p = xcalloc(1, sizeof(*p));

    p->t = t;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p->fd, &to->sa, addr_len(to)), 0);
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    return p;
}

static inline void hang_up(struct peer *p)
{
    close(p->fd);
    buf_fini(&p->in);
    free(p);
}

static inline void put(struct peer *p, const void *data, size_t len)
{
    uint64_t begun = uv_hrtime();
    const char *at = data;

    while (len > 0) {
        ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return; /* closed: what it said is looked at */
        } else {
            turn_once(p->t, begun);
        }
    }
}

static inline void put_str(struct peer *p, const char *text)
{
    put(p, text, strlen(text));
}

/* Read what is there. */
static inline void take(struct peer *p)
{
    ssize_t n = recv(p->fd, buf_reserve(&p->in, 65536), 65536, 0);

    if (n > 0)
        buf_commit(&p->in, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        p->ended = true;
}

static inline bool has(struct peer *p, size_t len)
{
    if (p->in.len < len)
        take(p);
    return p->in.len >= len;
}

static inline bool has_ended(struct peer *p)
{
    take(p);
    return p->ended;
}

/* The next bytes must be these. */
static inline void expect_bytes(struct peer *p, const void *want, size_t len)
{
    UNTIL(p->t, has(p, len))
    assert_false(p->ended);
    assert_memory_equal(p->in.data, want, len);
    buf_consume(&p->in, len);
}

static inline void expect_str(struct peer *p, const char *want)
{
    expect_bytes(p, want, strlen(want));
}

static inline void command(
    struct peer *p, uint8_t cmd, uint32_t id, const char *ext, const char *body)
{
    struct frame f = {
        .cmd = cmd,
        .flag = FRAME_FLAG_STRING,
        .connection_id = id,
        .ext = (const uint8_t *)ext,
        .ext_len = strlen(ext),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };
    struct buf out = {0};

    frame_encode(&out, &f);
    put(p, out.data, out.len);
    buf_fini(&out);
}

static inline void expect_answer(struct peer *p, const char *want)
{
    struct buf packet = {0};

    framing_reply_encode(&packet, want, strlen(want));
    expect_bytes(p, packet.data, packet.len);
    buf_fini(&packet);
}

static inline size_t packet_len(struct peer *p)
{
    ssize_t n;

    take(p);
    n = frame_measure(p->in.data, p->in.len, FRAME_MAX_LEN);
    return n > 0 && (size_t)n <= p->in.len ? (size_t)n : 0;
}

/* The next event must read "NAME id body"; the body of ON_WEBSOCKET_CONNECT
 * and of a close is only looked into. */
static inline void expect_event(struct peer *worker, const char *want)
{
    size_t len;
    struct frame f;
    char text[256];

    UNTIL(worker->t, (len = packet_len(worker)) > 0)
    assert_false(worker->ended);
    assert_int_equal(frame_decode(&f, worker->in.data, len), 0);
    assert_int_equal(f.local_ip, 0x7f000001);
    assert_int_equal(f.local_port, addr_port(&worker->t->inner));
    assert_int_equal(f.gateway_port, addr_port(&worker->t->outer));
    assert_int_equal(f.client_ip, 0x7f000001);
    snprintf(text, sizeof(text), "%s %u %.*s", frame_cmd_name(f.cmd),
        f.connection_id, (int)f.body_len, (const char *)f.body);
    text[strlen(want) < sizeof(text) ? strlen(want) : 0] = '\0';
    assert_string_equal(text, want);
    buf_consume(&worker->in, len);
}

static const char *const close_info[] = {"close_info", NULL};

static inline struct peer *join_as(
    struct test *t, const char *key, const char *const *features)
{
    struct peer *p = dial(t, &t->inner);
    size_t before = status(t).workers;
    struct buf json = {0};

    cmdjson_put_auth(&json, key, t->conf.secret_key, features, NULL);
    buf_append_byte(&json, 0);
    command(p, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
    UNTIL(t, status(t).workers > before);
    UNTIL(t, t->ready);
    return p;
}

static inline struct peer *join(struct test *t)
{
    return join_as(t, "w:0", NULL);
}

static inline struct test *serve(const struct client_protocol *protocol)
{
    struct test *t = prepare(protocol);

    start(t);
    return t;
}

#endif /* GW_SPEC_GATEWAY_FIXTURE_H */
