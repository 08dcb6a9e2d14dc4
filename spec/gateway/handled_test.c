/* What workers are told about the commands that they sent. */
#include "gateway_fixture.h"

#include "gateway/inner.h"
#include "wire/receipt.h"

static struct buf last; /* packet that next() has returned */

/* A worker with both links. */
struct worker {
    struct peer *commands, *events;
};

static void say(struct peer *p, const char *key, const char *pair,
    const char *const *features)
{
    const struct cmdjson_tokens tokens = {.pair = pair};
    struct buf json = {0};

    cmdjson_put_auth(&json, key, p->t->conf.secret_key, features, &tokens);
    buf_append_byte(&json, 0);
    command(p, key ? FRAME_WORKER_CONNECT : FRAME_GATEWAY_CLIENT_CONNECT, 0, "",
        (char *)json.data);
    buf_fini(&json);
}

static const char *const nothing[] = {NULL};
static const char *const ack[] = {"ack", NULL};
static const char *const receipts[] = {"ack", "receipts", NULL};

static struct worker join_with(struct test *t, const char *const *features)
{
    struct worker w = {dial(t, &t->inner), dial(t, &t->inner)};

    say(w.commands, NULL, "p", nothing);
    say(w.events, "w:0", "p", features);
    UNTIL(t, status(t).workers == 1);
    return w;
}

static void leave(struct test *t, struct worker *w)
{
    hang_up(w->events);
    hang_up(w->commands);
    buf_fini(&last);
    finish(t);
}

/* The next packet on the link; what it points to stays until the next call. */
static struct frame next(struct peer *p)
{
    struct frame f;
    size_t len;

    UNTIL(p->t, (len = packet_len(p)) > 0);
    buf_clear(&last);
    buf_append(&last, p->in.data, len);
    buf_consume(&p->in, len);
    assert_int_equal(frame_decode(&f, last.data, len), 0);
    return f;
}

/* Packets of other kinds are passed over, and receipts in between: a tick may
 * come at any time. */
static void expect_handled(struct peer *p, uint32_t sends, uint32_t closes,
    uint32_t members, uint32_t sessions)
{
    const struct receipt want = {{0, sends, closes, members, sessions}};
    struct receipt r = {0};
    struct frame f;

    do {
        f = next(p);
        if (f.cmd == FRAME_HANDLED)
            assert_int_equal(receipt_parse(&r, f.body, f.body_len), 0);
        for (int i = 0; i < RECEIPT_KINDS; i++)
            assert_true(r.orders[i] <= want.orders[i]);
    } while (f.cmd != FRAME_HANDLED || memcmp(&r, &want, sizeof(r)) != 0);
}

static void send_all(struct peer *p, unsigned times)
{
    while (times-- > 0)
        command(p, FRAME_SEND_TO_ALL, 0, "", "x");
}

static void tells_before_anything_else_what_it_has_run(void **state)
{
    struct test *t = serve(&proto_text);
    struct worker w = {dial(t, &t->inner), dial(t, &t->inner)};

    say(w.commands, NULL, "p", nothing);
    send_all(w.commands, 2); /* may have come before the introduction */
    UNTIL(t, status(t).commands_in == 2);
    say(w.events, "w:0", "p", receipts);
    UNTIL(t, packet_len(w.events) > 0);
    assert_int_equal(w.events->in.data[4], FRAME_HANDLED);
    expect_handled(w.events, 2, 0, 0, 0);
    leave(t, &w);
}

static void tells_many_at_a_time(void **state)
{
    struct test *t = serve(&proto_text);
    struct worker w = join_with(t, receipts);

    expect_handled(w.events, 0, 0, 0, 0);
    send_all(w.commands, INNER_RECEIPT_ORDERS - 3);
    command(w.commands, FRAME_KICK, 9, "", "");
    command(w.commands, FRAME_JOIN_GROUP, 9, "g", "");
    command(w.commands, FRAME_IS_ONLINE, 9, "", ""); /* has its answer */
    command(w.commands, FRAME_PING, 0, "", "");
    command(w.commands, FRAME_SET_SESSION, 9, "a:0:{}", "");
    expect_handled(w.events, INNER_RECEIPT_ORDERS - 3, 1, 1, 1);
    leave(t, &w);
}

static void tells_of_few_at_the_next_tick(void **state)
{
    struct test *t = serve(&proto_text);
    struct worker w = join_with(t, receipts);

    expect_handled(w.events, 0, 0, 0, 0);
    send_all(w.commands, 3);
    expect_handled(w.events, 3, 0, 0, 0);
    leave(t, &w);
}

static void tells_all_before_it_ends(void **state)
{
    struct test *t = serve(&proto_text);
    struct worker w = join_with(t, receipts);

    expect_handled(w.events, 0, 0, 0, 0);
    send_all(w.commands, 5);
    UNTIL(t, status(t).commands_in == 5);
    gateway_stop(t->gateway, 0);
    expect_handled(w.events, 5, 0, 0, 0);
    UNTIL(t, t->stopped);
    leave(t, &w);
}

static void tells_nobody_who_does_not_want_it(void **state)
{
    struct test *t = serve(&proto_text);
    struct worker w = join_with(t, ack);
    struct peer *client;
    struct frame f;

    send_all(w.commands, 2 * INNER_RECEIPT_ORDERS);
    UNTIL(t, status(t).commands_in == 2 * INNER_RECEIPT_ORDERS);
    client = dial(t, &t->outer);
    do {
        f = next(w.events);
        assert_int_not_equal(f.cmd, FRAME_HANDLED);
    } while (f.cmd != FRAME_ON_CONNECT);
    hang_up(client);
    leave(t, &w);
}

static void select_mine(struct peer *p)
{
    command(
        p, FRAME_SELECT, 0, "{\"fields\":[],\"where\":{\"mine\":true}}", "");
}

static void knows_the_clients_of_a_worker(void **state)
{
    struct test *t = serve(&proto_text);
    struct worker w = join_with(t, receipts);
    struct peer *stranger = dial(t, &t->inner);
    struct peer *client;

    select_mine(w.commands);
    expect_answer(w.commands, "a:0:{}");
    UNTIL(t, t->ready);
    client = dial(t, &t->outer);
    while (next(w.events).cmd != FRAME_ON_CONNECT)
        ;
    select_mine(w.commands);
    expect_answer(w.commands, "a:1:{i:1;a:0:{}}");
    select_mine(stranger);
    expect_answer(stranger, "a:0:{}");
    hang_up(client);
    hang_up(stranger);
    leave(t, &w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_before_anything_else_what_it_has_run),
        cmocka_unit_test(tells_many_at_a_time),
        cmocka_unit_test(tells_of_few_at_the_next_tick),
        cmocka_unit_test(tells_all_before_it_ends),
        cmocka_unit_test(tells_nobody_who_does_not_want_it),
        cmocka_unit_test(knows_the_clients_of_a_worker),
    };

    return cmocka_run_group_tests_name("gateway.handled", tests, NULL, NULL);
}
