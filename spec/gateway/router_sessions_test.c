/* Which events carry a session, and what a worker is told to forget. */
#include "fakes.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/commands.h"
#include "gateway/router.h"
#include "wire/ack.h"
#include "wire/bigendian.h"

#define CLIENTS 3
#define WORKERS 2
#define CACHE   2000 /* bytes; room for three small ones */

struct test {
    struct commands commands;
    struct client_conn sockets[CLIENTS];
    struct client *client[CLIENTS];
    struct conn links[WORKERS];
    struct router_worker *workers[WORKERS];
    struct buf answer;
};

static const struct router_features features = {
    .close_info = true, .acks = true, .session = true};

/* "SESSION 0 max=900 changes=0", "ON_MESSAGE 1 changes=0 a:0:{}", "" at the
 * end. */
static const char *next(struct test *t, int i)
{
    static char text[512];
    struct buf *out = &t->links[i].out;
    struct frame f;
    ssize_t n = frame_measure(out->data, out->len, FRAME_MAX_LEN);
    int len;

    if (n == 0)
        return "";
    assert_int_equal(frame_decode(&f, out->data, (size_t)n), 0);
    len = snprintf(
        text, sizeof(text), "%s %u", frame_cmd_name(f.cmd), f.connection_id);
    if (f.cmd == FRAME_SESSION && f.body_len == 8)
        snprintf(text + len, sizeof(text) - (size_t)len, " max=%u changes=%u",
            get32(f.body), get32(f.body + 4));
    else if (f.flag & FRAME_FLAG_SESSION)
        snprintf(text + len, sizeof(text) - (size_t)len, " changes=%u %.*s",
            f.changes, (int)f.ext_len, (const char *)f.ext);
    else
        assert_int_equal(f.ext_len, 0);
    buf_consume(out, (size_t)n);
    return text;
}

static void join(struct test *t, int i)
{
    char key[32];
    struct conn *replaced;

    snprintf(key, sizeof(key), "127.0.0.1:w:%d", i);
    t->workers[i] = router_add_worker(
        t->commands.router, &t->links[i], key, features, &replaced);
    assert_string_equal(next(t, i), "ACK 0");
    assert_string_equal(next(t, i), "SESSION 0 max=900 changes=0");
}

static struct test *start(enum gateway_router mode)
{
    struct router_conf conf = {.mode = mode,
        .local_ip = 0x7f000001,
        .high_water = 1 << 20,
        .session_max = 900,
        .session_cache = CACHE};
    struct test *t = xcalloc(1, sizeof(*t));

    log_set_level(LOG_ERROR);
    assert_int_equal(roster_new(&t->commands.roster, -1), 0);
    roster_limit_sessions(t->commands.roster, 900);
    t->commands.router = router_new(&conf);
    for (int i = 0; i < CLIENTS; i++) {
        union addr peer;

        assert_int_equal(addr_parse(&peer, "10.0.0.1:4000"), 0);
        t->client[i] = roster_add(t->commands.roster, &t->sockets[i], &peer, 0);
    }
    join(t, 0);
    return t;
}

static void finish(struct test *t)
{
    router_free(t->commands.router);
    roster_free(t->commands.roster);
    commands_fini(&t->commands);
    for (int i = 0; i < CLIENTS; i++)
        fake_fini(&t->sockets[i]);
    for (int i = 0; i < WORKERS; i++)
        buf_fini(&t->links[i].out);
    buf_fini(&t->answer);
    free(t);
}

static void say(struct test *t, int i)
{
    assert_int_equal(router_forward(t->commands.router, t->client[i],
                         FRAME_ON_MESSAGE, 0, "x", 1),
        0);
}

/* A command of worker w; -1: of anybody else. */
static void run(struct test *t, int w, uint8_t cmd, uint32_t id,
    const char *ext, const char *body)
{
    struct frame f = {
        .cmd = cmd,
        .connection_id = id,
        .ext = (const uint8_t *)ext,
        .ext_len = strlen(ext),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };

    t->commands.from = w < 0 ? NULL : t->workers[w];
    commands_run(&t->commands, &f, &t->answer);
}

static void leave(struct test *t, int i)
{
    static const struct client_conn_end end = {CLIENT_CONN_LEFT, 1006, NULL, 0};
    struct client *c = t->client[i];

    router_close(t->commands.router, c, &end);
    roster_remove(t->commands.roster, c);
    c->conn = NULL;
    roster_release(c);
}

/* Worker 0 is through with so many events. */
static void handled(struct test *t, uint32_t count)
{
    struct buf none = {0}, body = {0};

    ack_put(&body, count, count, &none, &none);
    assert_int_equal(router_acknowledge(t->commands.router, t->workers[0],
                         t->commands.roster, body.data, body.len),
        0);
    buf_fini(&body);
}

static const char a1[] = "a:1:{s:1:\"a\";i:1;}";

static void an_untouched_session_travels_once(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    say(t, 0);
    assert_string_equal(next(t, 0), "ON_MESSAGE 1"); /* it has none */
    handled(t, 1);
    run(t, -1, FRAME_SET_SESSION, 1, a1, "");
    say(t, 0);
    say(t, 0);
    assert_string_equal(
        next(t, 0), "ON_MESSAGE 1 changes=0 a:1:{s:1:\"a\";i:1;}");
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    handled(t, 2);
    run(t, -1, FRAME_UPDATE_SESSION, 1, "a:1:{s:1:\"b\";i:1;}", "");
    run(t, -1, FRAME_UPDATE_SESSION, 1, "a:1:{s:1:\"b\";i:1;}", "");
    say(t, 0);
    assert_string_equal(next(t, 0), "SESSION 1"); /* once */
    assert_string_equal(next(t, 0),
        "ON_MESSAGE 1 changes=0 a:2:{s:1:\"a\";i:1;s:1:\"b\";i:1;}");
    handled(t, 1);
    run(t, -1, FRAME_SET_SESSION, 1, "", "");
    say(t, 0);
    say(t, 0);
    assert_string_equal(next(t, 0), "SESSION 1");
    assert_string_equal(next(t, 0), "ON_MESSAGE 1 changes=0 ");
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    finish(t);
}

static void what_the_worker_saved_does_not_come_back(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    say(t, 0);
    run(t, 0, FRAME_PATCH_SESSION, 1, a1, "");
    say(t, 0);
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    handled(t, 2);
    /* Somebody else's change brings both, and says that the patch is there. */
    run(t, -1, FRAME_UPDATE_SESSION, 1, "a:1:{s:1:\"b\";i:1;}", "");
    run(t, 0, FRAME_PATCH_SESSION, 1, "a:1:{s:1:\"c\";i:1;}",
        "a:1:{i:0;s:1:\"a\";}");
    say(t, 0);
    assert_string_equal(next(t, 0), "SESSION 1");
    assert_string_equal(next(t, 0),
        "ON_MESSAGE 1 changes=2 a:2:{s:1:\"b\";i:1;s:1:\"c\";i:1;}");
    finish(t);
}

static void events_that_wait_hear_of_changes(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    for (int i = 0; i < 2; i++) {
        say(t, 0);
        next(t, 0);
    }
    run(t, -1, FRAME_SET_SESSION, 1, a1, "");
    assert_string_equal(next(t, 0), "SESSION 1 changes=0 a:1:{s:1:\"a\";i:1;}");
    handled(t, 2);
    run(t, -1, FRAME_UPDATE_SESSION, 1, "a:1:{s:1:\"b\";i:1;}", "");
    assert_string_equal(next(t, 0), "");
    finish(t);
}

static void a_refused_change_is_taken_back_with_the_next_event(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    char large[1100];

    snprintf(large, sizeof(large), "a:1:{i:0;s:1000:\"%01000d\";}", 0);
    say(t, 0);
    run(t, 0, FRAME_PATCH_SESSION, 1, a1, "");
    run(t, 0, FRAME_PATCH_SESSION, 1, large, "");
    assert_int_equal(t->commands.sessions_refused, 1);
    say(t, 0);
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    assert_string_equal(
        next(t, 0), "ON_MESSAGE 1 changes=2 a:1:{s:1:\"a\";i:1;}");
    finish(t);
}

static void tells_the_worker_that_its_changes_came(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    say(t, 0);
    next(t, 0);
    for (int i = 0; i < 32; i++) {
        assert_string_equal(next(t, 0), "");
        run(t, 0, FRAME_PATCH_SESSION, 1, a1, "");
    }
    assert_string_equal(next(t, 0), "SESSION 0 max=900 changes=32");
    finish(t);
}

static void the_worker_forgets_what_was_used_least_lately(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    char large[1100];

    snprintf(large, sizeof(large), "a:1:{i:0;s:800:\"%0800d\";}", 0);
    for (uint32_t i = 0; i < 3; i++) {
        run(t, -1, FRAME_SET_SESSION, i + 1, i < 2 ? a1 : large, "");
        say(t, (int)i);
        if (i == 1)
            say(t, 0); /* … was used after the second */
    }
    next(t, 0);
    next(t, 0);
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    assert_string_equal(next(t, 0), "SESSION 2");
    assert_int_equal(strncmp(next(t, 0), "ON_MESSAGE 3 changes=0 a:1:", 27), 0);
    say(t, 0);
    say(t, 1);
    assert_string_equal(next(t, 0), "ON_MESSAGE 1");
    assert_string_equal(next(t, 0), "SESSION 3");
    assert_string_equal(
        next(t, 0), "ON_MESSAGE 2 changes=0 a:1:{s:1:\"a\";i:1;}");
    finish(t);
}

static void a_client_that_moves_takes_its_session_along(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_HASH_UID);
    int from, to;

    join(t, 1);
    run(t, -1, FRAME_SET_SESSION, 1, a1, "");
    say(t, 0);
    from = t->links[0].out.len > 0 ? 0 : 1;
    to = 1 - from;
    next(t, from);
    for (char uid = 'a'; t->links[to].out.len == 0; uid++) {
        buf_clear(&t->links[from].out);
        run(t, -1, FRAME_BIND_UID, 1, (char[]){uid, 0}, "");
        say(t, 0);
    }
    assert_string_equal(next(t, from), "SESSION 1");
    assert_string_equal(
        next(t, to), "ON_MESSAGE 1 changes=0 a:1:{s:1:\"a\";i:1;}");
    /* What the first one still saves counts, and it keeps nothing. */
    run(t, from, FRAME_PATCH_SESSION, 1, "a:1:{s:1:\"a\";i:2;}", "");
    assert_string_equal(next(t, from), "SESSION 1");
    say(t, 0);
    assert_string_equal(
        next(t, to), "ON_MESSAGE 1 changes=0 a:1:{s:1:\"a\";i:2;}");
    finish(t);
}

/* Both links of worker 0 are gone, it began nothing. */
static void lose(struct test *t)
{
    router_remove_worker(t->commands.router, t->workers[0]);
    router_settle(t->commands.router, t->workers[0], t->commands.roster, true);
    buf_clear(&t->links[0].out);
}

static void events_given_again_bring_the_session(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    run(t, -1, FRAME_SET_SESSION, 1, a1, "");
    run(t, -1, FRAME_SET_SESSION, 2, a1, "");
    for (int i = 0; i < 2; i++) {
        say(t, i);
        say(t, i);
    }
    run(t, 0, FRAME_PATCH_SESSION, 1, "a:1:{s:1:\"a\";i:2;}", "");
    run(t, 0, FRAME_PATCH_SESSION, 2, "a:1:{s:1:\"a\";i:3;}", "");
    leave(t, 1);
    join(t, 1);
    lose(t);
    assert_string_equal(
        next(t, 1), "ON_MESSAGE 1 changes=0 a:1:{s:1:\"a\";i:2;}");
    assert_string_equal(next(t, 1), "ON_MESSAGE 1");
    assert_string_equal(
        next(t, 1), "ON_MESSAGE 2 changes=0 a:1:{s:1:\"a\";i:3;}");
    assert_string_equal(next(t, 1), "ON_MESSAGE 2");
    assert_string_equal(
        next(t, 1), "ON_CLOSE 2 changes=0 a:1:{s:1:\"a\";i:3;}");
    assert_string_equal(next(t, 1), "");
    finish(t);
}

static void refuses_changes_of_who_keeps_no_sessions(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    run(t, -1, FRAME_PATCH_SESSION, 1, a1, "");
    assert_int_equal(t->client[0]->session_len, 0);
    assert_int_equal(t->commands.sessions_refused, 1);
    run(t, 0, FRAME_PATCH_SESSION, 9, a1, ""); /* nobody's */
    assert_string_equal(next(t, 0), "SESSION 9");
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_session_travels_once),
        cmocka_unit_test(what_the_worker_saved_does_not_come_back),
        cmocka_unit_test(events_that_wait_hear_of_changes),
        cmocka_unit_test(a_refused_change_is_taken_back_with_the_next_event),
        cmocka_unit_test(tells_the_worker_that_its_changes_came),
        cmocka_unit_test(the_worker_forgets_what_was_used_least_lately),
        cmocka_unit_test(a_client_that_moves_takes_its_session_along),
        cmocka_unit_test(events_given_again_bring_the_session),
        cmocka_unit_test(refuses_changes_of_who_keeps_no_sessions),
    };

    return cmocka_run_group_tests_name(
        "gateway.router_sessions", tests, NULL, NULL);
}
