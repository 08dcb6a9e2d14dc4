/* router_fixture.h - a router with clients and links that only take notes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_GATEWAY_ROUTER_FIXTURE_H
#define GW_SPEC_GATEWAY_ROUTER_FIXTURE_H

#include "fakes.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/router.h"
#include "wire/ack.h"
#include "wire/frame.h"

#define CLIENTS 8
#define WORKERS 4

struct test {
    struct roster *roster;
    struct router *router;
    struct client_conn sockets[CLIENTS];
    struct client *client[CLIENTS];
    struct conn links[WORKERS];
    struct router_worker *workers[WORKERS];
};

static const struct router_conf router_defaults = {
    .mode = GATEWAY_ROUTER_LEAST,
    .local_ip = 0x7f000001,
    .local_port = 2900,
    .gateway_port = 8282,
    .high_water = 16 * 1000,
    .client_share = 400,
};

static inline struct test *start_with(struct router_conf conf)
{
    struct test *t = xcalloc(1, sizeof(*t));

    log_set_level(LOG_ERROR);
    assert_int_equal(roster_new(&t->roster, -1), 0);
    t->router = router_new(&conf);
    for (int i = 0; i < CLIENTS; i++) {
        union addr peer;
        char text[ADDR_TEXT_SIZE];

        snprintf(text, sizeof(text), "10.0.0.%d:%d", i + 1, 4000 + i);
        assert_int_equal(addr_parse(&peer, text), 0);
        t->client[i] = roster_add(t->roster, &t->sockets[i], &peer, 0);
    }
    return t;
}

static inline struct test *start(enum gateway_router mode)
{
    struct router_conf conf = router_defaults;

    conf.mode = mode;
    return start_with(conf);
}

static inline void finish(struct test *t)
{
    router_free(t->router);
    roster_free(t->roster);
    for (int i = 0; i < CLIENTS; i++)
        fake_fini(&t->sockets[i]);
    for (int i = 0; i < WORKERS; i++)
        buf_fini(&t->links[i].out);
    free(t);
}

static inline struct conn *add_worker_with(
    struct test *t, int i, struct router_features features)
{
    char key[32];
    struct conn *replaced;

    snprintf(key, sizeof(key), "127.0.0.1:w:%d", i);
    t->workers[i] =
        router_add_worker(t->router, &t->links[i], key, features, &replaced);
    assert_non_null(t->workers[i]);
    return replaced;
}

static inline struct conn *add_worker(struct test *t, int i, bool gwrun)
{
    struct router_features features = {
        .close_info = gwrun, .client_addr = gwrun};

    return add_worker_with(t, i, features);
}

static inline void say_typed(
    struct test *t, int i, uint8_t type, const char *text)
{
    assert_int_equal(router_forward(t->router, t->client[i], FRAME_ON_MESSAGE,
                         type, text, strlen(text)),
        0);
}

static inline void say(struct test *t, int i, const char *text)
{
    say_typed(t, i, 0, text);
}

/* The flag of the next event in a link. */
static inline uint8_t next_flag(const struct conn *link)
{
    struct frame f;
    ssize_t n = frame_measure(link->out.data, link->out.len, FRAME_MAX_LEN);

    assert_true(n > 0 && (size_t)n <= link->out.len);
    assert_int_equal(frame_decode(&f, link->out.data, (size_t)n), 0);
    return f.flag;
}

/* The next event in a link as "cmd id body", or "" when there is none. */
static inline const char *next_event(struct conn *link)
{
    static char text[512];
    struct frame f;
    ssize_t n = frame_measure(link->out.data, link->out.len, FRAME_MAX_LEN);

    if (n == 0)
        return "";
    assert_true(n > 0 && (size_t)n <= link->out.len);
    assert_int_equal(frame_decode(&f, link->out.data, (size_t)n), 0);
    snprintf(text, sizeof(text), "%s %u %.*s", frame_cmd_name(f.cmd),
        f.connection_id, (int)f.body_len, (const char *)f.body);
    buf_consume(&link->out, (size_t)n);
    return text;
}

static const struct client_conn_end left = {
    CLIENT_CONN_LEFT, 1006, "gateway_lost", 3};

/* As gateway.c does when a socket is gone. */
static inline void leave(struct test *t, int i)
{
    struct client *c = t->client[i];

    router_close(t->router, c, &left);
    roster_remove(t->roster, c);
    c->conn = NULL;
    roster_release(c);
    t->client[i] = NULL;
}

static inline void add_acking(struct test *t, int i)
{
    struct router_features features = {
        .close_info = true, .client_addr = true, .acks = true};

    add_worker_with(t, i, features);
    assert_true(router_acknowledges(t->workers[i]));
    assert_string_equal(next_event(&t->links[i]), "ACK 0 ");
}

/* It took so many, and so many handlers are through. */
static inline int acknowledge(
    struct test *t, int i, uint32_t taken, uint32_t ended)
{
    struct buf none = {0}, body = {0};
    int err;

    ack_put(&body, taken, ended, &none, &none);
    err = router_acknowledge(
        t->router, t->workers[i], t->roster, body.data, body.len);
    buf_fini(&body);
    return err;
}

/* It took so many, and they wait for handlers of their clients. */
static inline int acknowledge_waits(struct test *t, int i, uint32_t taken)
{
    struct buf waits = {0}, none = {0}, body = {0};
    int err;

    for (uint32_t n = 0; n < taken; n++)
        ack_put_number(&waits, n);
    ack_put(&body, taken, 0, &waits, &none);
    err = router_acknowledge(
        t->router, t->workers[i], t->roster, body.data, body.len);
    buf_fini(&waits);
    buf_fini(&body);
    return err;
}

/* Both links of worker i are gone. */
static inline void lose(struct test *t, int i, bool certain)
{
    router_remove_worker(t->router, t->workers[i]);
    router_settle(t->router, t->workers[i], t->roster, certain);
    buf_clear(&t->links[i].out);
}

#endif /* GW_SPEC_GATEWAY_ROUTER_FIXTURE_H */
