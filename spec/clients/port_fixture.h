/* port_fixture.h - a port and raw sockets on one loop.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_PORT_FIXTURE_H
#define GW_SPEC_PORT_FIXTURE_H

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
#include <sys/socket.h>
#include <unistd.h>

#include "clients/port.h"
#include "net/clock.h"
#include "net/listener.h"
#include "util/alloc.h"
#include "util/buf.h"

#define PATIENCE_MS 10000 /* a test that waits longer has failed */

#define UPGRADE(extra)              \
    "GET /chat?room=1 HTTP/1.1\r\n" \
    "Host: localhost\r\n"           \
    "Connection: Upgrade\r\n"       \
    "Upgrade: websocket\r\n"        \
    "Sec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" extra "\r\n"

struct test {
    uv_loop_t loop;
    uv_timer_t tick; /* so that no turn of the loop waits for ever */
    struct turn *turn;
    struct port_conf conf;
    struct port *port;
    union addr addr;
    struct client_conn *conn;           /* the newest client's */
    void (*on_message)(struct test *t); /* extra work in on_message */
    bool (*on_open)(struct test *t);    /* false refuses */
    bool echo;
    unsigned opened, closed, messages, activity;
    size_t dropped;            /* messages of the last that closed */
    char peer[ADDR_TEXT_SIZE]; /* of the newest client */
    struct buf told;           /* what the owner heard, as text */
};

static inline void *on_open(struct client_conn *c, const union addr *peer,
    const struct client_conn_request *request, void *arg)
{
    struct test *t = arg;

    t->conn = c;
    t->opened++;
    addr_format(t->peer, peer);
    buf_printf(&t->told, "open %s\n", request != NULL ? request->uri : "-");
    for (size_t i = 0; request != NULL && i < request->nheaders; i++)
        buf_printf(&t->told, "header %s=%s\n", request->headers[i].name,
            request->headers[i].value);
    return t->on_open == NULL || t->on_open(t) ? t : NULL;
}

static inline void on_message(void *client, const void *data, size_t len,
    enum protocol_form form, void *arg)
{
    static const char *const names[] = {[PROTOCOL_AS_USUAL] = "message",
        [PROTOCOL_AS_TEXT] = "text",
        [PROTOCOL_AS_BINARY] = "binary"};
    struct test *t = arg;

    t->messages++;
    if (len <= 64)
        buf_printf(
            &t->told, "%s %.*s\n", names[form], (int)len, (const char *)data);
    else
        buf_printf(&t->told, "%s of %zu\n", names[form], len);
    if (t->echo)
        client_conn_send(t->conn, data, len, PROTOCOL_AS_USUAL);
    if (t->on_message != NULL)
        t->on_message(t);
}

static inline void on_activity(void *client, void *arg)
{
    ((struct test *)arg)->activity++;
}

/* "close 1008 overflow, saying …, 3 dropped" */
static inline void on_close(
    void *client, const struct client_conn_end *end, void *arg)
{
    static const char *const causes[] = {[CLIENT_CONN_LEFT] = "client",
        [CLIENT_CONN_KICKED] = "kicked",
        [CLIENT_CONN_DESTROYED] = "destroyed",
        [CLIENT_CONN_TIMEOUT] = "timeout",
        [CLIENT_CONN_OVERFLOW] = "overflow",
        [CLIENT_CONN_TOO_LARGE] = "too_large",
        [CLIENT_CONN_PROTOCOL_ERROR] = "protocol_error",
        [CLIENT_CONN_BUSY] = "busy",
        [CLIENT_CONN_RESTART] = "restart"};
    struct test *t = arg;

    t->closed++;
    t->dropped = end->dropped;
    buf_printf(&t->told, "close %d %s%s%s\n", end->code, causes[end->cause],
        end->reason != NULL ? ", saying " : "",
        end->reason != NULL ? end->reason : "");
}

static const struct client_conn_ops ops = {
    .on_open = on_open,
    .on_message = on_message,
    .on_activity = on_activity,
    .on_close = on_close,
};

static inline void on_tick(uv_timer_t *timer)
{
}

static inline struct test *prepare(const struct client_protocol *protocol)
{
    struct test *t = xcalloc(1, sizeof(*t));

    signal(SIGPIPE, SIG_IGN);
    t->conf.protocol = protocol;
    t->conf.message_timeout = PORT_MESSAGE_TIMEOUT;
    t->conf.unfinished_total_max = PORT_UNFINISHED_MAX;
    t->conf.head_max = PORT_HEAD_MAX;
    t->conf.headers_max = PORT_HEADERS_MAX;
    t->conf.cache_control = PORT_CACHE_CONTROL;
    t->conf.message_max = PORT_MESSAGE_MAX;
    t->conf.queue_max = PORT_QUEUE_MAX;
    t->conf.handshake_timeout = PORT_HANDSHAKE_TIMEOUT;
    t->conf.max_connections = PORT_MAX_CONNECTIONS;
    t->conf.max_connections_per_ip = PORT_MAX_PER_IP;
    assert_int_equal(clock_loop_init(&t->loop), 0);
    t->turn = turn_new(&t->loop);
    uv_timer_init(&t->loop, &t->tick);
    uv_timer_start(&t->tick, on_tick, 5, 5);
    return t;
}

static inline void start(struct test *t)
{
    char err[256] = "";
    union addr any;
    socklen_t len = sizeof(t->addr);
    int fd;

    addr_parse(&any, "127.0.0.1:0");
    fd = listener_bind(&any, false);
    assert_true(fd >= 0);
    if (port_new(&t->port, t->turn, fd, &t->conf, &ops, t, err) != 0)
        fail_msg("%s", err);
    getsockname(fd, &t->addr.sa, &len);
    assert_int_equal(port_listen(t->port), 0);
}

static inline struct test *serve(const struct client_protocol *protocol)
{
    struct test *t = prepare(protocol);

    start(t);
    return t;
}

/* End everything; whatever is left open or allocated fails the test. */
static inline void finish(struct test *t)
{
    if (t->port != NULL)
        port_free(t->port);
    assert_int_equal(t->closed, t->opened);
    turn_close(t->turn);
    uv_close((uv_handle_t *)&t->tick, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    buf_fini(&t->told);
    free(t);
}

static inline int dial(struct test *t)
{
    int fd = socket(t->addr.sa.sa_family, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &t->addr.sa, addr_len(&t->addr)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* One turn of the loop; fails the test once its time is over. */
static inline void turn_once(struct test *t, uint64_t begun)
{
    uv_run(&t->loop, UV_RUN_ONCE);
    if (uv_hrtime() - begun > PATIENCE_MS * 1000000ULL)
        fail_msg("waited too long; heard so far:\n%.*s", (int)t->told.len,
            (const char *)t->told.data);
}

#define UNTIL(t, condition)                            \
    for (uint64_t begun_ = uv_hrtime(); !(condition);) \
    turn_once((t), begun_)

/* Turns of the loop until ms have gone by. */
static inline void pass(struct test *t, uint64_t ms)
{
    uint64_t begun = uv_hrtime();

    while (uv_hrtime() - begun < ms * 1000000)
        turn_once(t, begun);
}

static inline void put(struct test *t, int fd, const void *data, size_t len)
{
    uint64_t begun = uv_hrtime();
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return; /* the peer has closed: what it said is looked at */
        } else {
            turn_once(t, begun);
        }
    }
}

static inline void put_str(struct test *t, int fd, const char *s)
{
    put(t, fd, s, strlen(s));
}

/* Read what is there. false: the other side has closed. */
static inline bool get_some(int fd, struct buf *in)
{
    ssize_t n;

    do {
        buf_reserve(in, 65536);
        n = recv(fd, in->data + in->len, 65536, 0);
        if (n > 0)
            buf_commit(in, (size_t)n);
    } while (n > 0);
    return n < 0 && errno == EAGAIN;
}

/* Read until len bytes are there. */
static inline void get(struct test *t, int fd, struct buf *in, size_t len)
{
    uint64_t begun = uv_hrtime();

    while (get_some(fd, in) && in->len < len)
        turn_once(t, begun);
    assert_true(in->len >= len);
}

/* Read until the other side closes. */
static inline void get_all(struct test *t, int fd, struct buf *in)
{
    uint64_t begun = uv_hrtime();

    while (get_some(fd, in))
        turn_once(t, begun);
    buf_append_byte(in, '\0');
}

static inline bool heard(const struct test *t, const char *text)
{
    return memmem(t->told.data, t->told.len, text, strlen(text)) != NULL;
}

/* A client's frame, masked; head_len may claim another length than there is. */
static inline void put_frame(
    struct test *t, int fd, uint8_t first, const void *data, size_t len)
{
    static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
    struct buf f = {0};

    buf_append_byte(&f, first);
    if (len < 126) {
        buf_append_byte(&f, (uint8_t)(0x80 | len));
    } else if (len < 65536) {
        buf_append_byte(&f, 0x80 | 126);
        buf_append_byte(&f, (uint8_t)(len >> 8));
        buf_append_byte(&f, (uint8_t)len);
    } else {
        buf_append_byte(&f, 0x80 | 127);
        for (int i = 56; i >= 0; i -= 8)
            buf_append_byte(&f, (uint8_t)((uint64_t)len >> i));
    }
    buf_append(&f, mask, 4);
    for (size_t i = 0; i < len; i++)
        buf_append_byte(&f, ((const uint8_t *)data)[i] ^ mask[i % 4]);
    put(t, fd, f.data, f.len);
    buf_fini(&f);
}

static inline void put_text(struct test *t, int fd, const char *s)
{
    put_frame(t, fd, 0x81, s, strlen(s));
}

/* Upgrade and take the 101 off in; extra are further header lines. */
static inline void upgrade(struct test *t, int fd, struct buf *in)
{
    void *end;

    put_str(t, fd, UPGRADE(""));
    for (uint64_t begun = uv_hrtime();;) {
        assert_true(get_some(fd, in));
        end = in->len > 0 ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;
        if (end != NULL)
            break;
        turn_once(t, begun);
    }
    assert_memory_equal(in->data, "HTTP/1.1 101 ", 13);
    buf_consume(in, (size_t)((uint8_t *)end - in->data) + 4);
}

static inline int dial_upgraded(struct test *t, struct buf *in)
{
    int fd = dial(t);

    upgrade(t, fd, in);
    return fd;
}

/* The next frame from the server: its first byte; payload is taken off in
 * into out. */
static inline uint8_t get_frame(
    struct test *t, int fd, struct buf *in, struct buf *out)
{
    size_t head = 2, len;
    uint8_t first;

    get(t, fd, in, 2);
    len = in->data[1];
    if (len == 126) {
        get(t, fd, in, head = 4);
        len = (size_t)in->data[2] << 8 | in->data[3];
    } else if (len == 127) {
        get(t, fd, in, head = 10);
        len = 0;
        for (int i = 2; i < 10; i++)
            len = len << 8 | in->data[i];
    }
    get(t, fd, in, head + len);
    first = in->data[0];
    buf_clear(out);
    buf_append(out, in->data + head, len);
    buf_consume(in, head + len);
    return first;
}

static inline void expect_frame(struct test *t, int fd, struct buf *in,
    uint8_t first, const char *payload, size_t len)
{
    struct buf out = {0};

    assert_int_equal(get_frame(t, fd, in, &out), first);
    assert_int_equal(out.len, len);
    if (len > 0)
        assert_memory_equal(out.data, payload, len);
    buf_fini(&out);
}

/* port_frame() of the port's own protocol. */
__attribute__((unused)) static struct blob *frame(
    struct test *t, const void *data, size_t len, enum protocol_form form)
{
    const struct protocol_message what = {data, len, form, NULL};

    return port_frame(t->port, port_protocol(t->port), &what);
}

#endif /* GW_SPEC_PORT_FIXTURE_H */
