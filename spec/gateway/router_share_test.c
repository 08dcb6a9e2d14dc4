/* A client's share of what a worker may have and not have begun. */
#include "router_fixture.h"
#include "shares.h"

/* Messages of 100 bytes until client i is paused: how many. */
static unsigned flood(struct test *t, int i)
{
    char text[100 - FRAME_HEAD_LEN + 1];
    unsigned n = 0;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (; !t->sockets[i].paused; n++)
        say(t, i, text);
    assert_true(shares_are_exact(t->router, t->roster));
    return n;
}

/* Worker i took so many, and those of numbers (as "1 2") wait. */
static void take(struct test *t, int i, uint32_t taken, const char *numbers)
{
    struct buf waits = {0}, begins = {0}, body = {0};

    for (char *end; *numbers; numbers = end)
        ack_put_number(&waits, (uint32_t)strtoul(numbers, &end, 10));
    ack_put(&body, taken, 0, &waits, &begins);
    assert_int_equal(router_acknowledge(t->router, t->workers[i], t->roster,
                         body.data, body.len),
        0);
    assert_true(shares_are_exact(t->router, t->roster));
    buf_fini(&waits);
    buf_fini(&body);
}

/* One event of client c that waited begins. */
static void begin(struct test *t, int i, uint32_t c)
{
    struct buf waits = {0}, begins = {0}, body = {0};

    ack_put_number(&begins, c);
    ack_put(&body, 0, 0, &waits, &begins);
    assert_int_equal(router_acknowledge(t->router, t->workers[i], t->roster,
                         body.data, body.len),
        0);
    assert_true(shares_are_exact(t->router, t->roster));
    buf_fini(&begins);
    buf_fini(&body);
}

static size_t over(const struct test *t)
{
    return router_over_count(t->router);
}

/* Its share is 400 bytes; one message is on top of it. */
static void pauses_the_client_that_is_over_its_share_and_nobody_else(
    void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    assert_int_equal(flood(t, 0), 5);
    assert_int_equal(router_counters(t->router)->over, 1);
    say(t, 1, "x");
    assert_false(t->sockets[1].paused);
    assert_int_equal(over(t), 1);
    assert_int_equal(router_paused_count(t->router), 1);
    assert_int_equal(router_held_count(t->router), 0);
    take(t, 0, 6, "1 2 3 4"); /* the first one runs */
    begin(t, 0, 1);
    assert_true(t->sockets[0].paused);
    begin(t, 0, 1);
    assert_false(t->sockets[0].paused); /* half is through */
    assert_int_equal(over(t), 0);
    assert_int_equal(router_paused_count(t->router), 0);
    assert_int_equal(flood(t, 0), 3);
    finish(t);
}

static void lets_one_message_pass_that_is_larger_than_a_share(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    char text[3000];

    add_acking(t, 0);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (uint64_t n = 1; n <= 3; n++) {
        say(t, 0, text);
        assert_int_equal(router_counters(t->router)->events, n);
        assert_true(t->sockets[0].paused);
        take(t, 0, 1, "");
        assert_false(t->sockets[0].paused);
    }
    finish(t);
}

/* Much that waits for its clients' handlers holds up nobody who says little,
 * and there is no more of it than the mark. */
static void takes_little_from_others_when_those_who_flood_fill_the_mark(
    void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    char *big = xcalloc(1, 10000);

    add_acking(t, 0);
    memset(big, 'x', 9999);
    for (int i = 0; i < 7; i++) {
        say(t, i, big);
        assert_true(t->sockets[i].paused);
    }
    take(t, 0, 1, "0");
    assert_int_equal(router_unbegun_count(t->router), 1);
    assert_int_equal(router_held_count(t->router), 6);
    for (int n = 0; n < 10; n++) {
        say(t, 7, "x");
        take(t, 0, 1, "");
        assert_false(t->sockets[7].paused);
    }
    for (uint32_t c = 1; c <= 7; c++) {
        begin(t, 0, c);
        if (c < 7)
            take(t, 0, 1, "0");
        assert_false(t->sockets[c - 1].paused);
    }
    assert_int_equal(router_held_count(t->router), 0);
    free(big);
    finish(t);
}

static void gives_less_to_each_the_more_of_them_wait(void **state)
{
    struct router_conf conf = router_defaults;
    struct test *t;
    unsigned first, last = 0;

    conf.client_share = 1 << 20;
    t = start_with(conf);
    add_acking(t, 0);
    first = flood(t, 0);
    assert_in_range(first, 5, 16); /* a sixteenth of the mark */
    for (int i = 1; i < CLIENTS; i++)
        last = flood(t, i);
    assert_in_range(last, 2, first - 2);
    assert_int_equal(router_held_count(t->router), 0);
    finish(t);
}

/* Also of one that is lost for good, and one of which nobody knows. */
static void gives_shares_back_when_a_worker_is_lost(void **state)
{
    for (int certain = 0; certain < 2; certain++) {
        struct test *t = start(GATEWAY_ROUTER_LEAST);

        add_acking(t, 0);
        flood(t, 0);
        flood(t, 1);
        take(t, 0, 10, "1 2 3 6 7 8");
        router_remove_worker(t->router, t->workers[0]);
        assert_true(shares_are_exact(t->router, t->roster));
        assert_int_equal(over(t), 2);
        router_settle(t->router, t->workers[0], t->roster, certain);
        assert_true(shares_are_exact(t->router, t->roster));
        assert_int_equal(over(t), 0);
        assert_int_equal(router_paused_count(t->router), certain ? 2 : 0);
        add_acking(t, 1);
        assert_true(shares_are_exact(t->router, t->roster));
        assert_int_equal(over(t), 0);
        assert_int_equal(router_paused_count(t->router), 0);
        assert_int_equal(router_unbegun_count(t->router), certain ? 6 : 0);
        take(t, 1, certain ? 6 : 0, "");
        assert_int_equal(t->client[0]->unbegun, 0);
        assert_int_equal(t->client[1]->unbegun, 0);
        flood(t, 0);
        finish(t);
    }
}

static void does_not_let_those_who_left_hold_up_anybody(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    uint32_t taken = 0;

    add_acking(t, 0);
    for (int i = 0; i < 4; i++) {
        taken += flood(t, i);
        leave(t, i);
        taken++;
    }
    assert_int_equal(router_held_count(t->router), 0);
    assert_int_equal(router_paused_count(t->router), 0);
    assert_int_equal(over(t), 0);
    say(t, 4, "x");
    assert_false(t->sockets[4].paused);
    take(t, 0, taken + 1, "");
    assert_int_equal(router_unbegun_count(t->router), 0);
    finish(t);
}

/* A client comes, says what always passes, and leaves. Its id. */
static uint32_t pass_by(struct test *t, const char *text, size_t len)
{
    struct client_conn socket = {0};
    struct client *c = roster_add(t->roster, &socket, &t->client[0]->peer, 0);
    uint32_t id = c->id;

    assert_int_equal(
        router_forward(t->router, c, FRAME_ON_MESSAGE, 0, text, len), 0);
    router_close(t->router, c, &left);
    roster_remove(t->roster, c);
    c->conn = NULL;
    roster_release(c);
    assert_int_equal(acknowledge_waits(t, 0, 2), 0);
    return id;
}

/* What those leave who come, say a little and go adds up. */
static void takes_no_new_clients_when_those_who_left_left_too_much(void **state)
{
    static const char text[10000];
    struct router_conf conf = router_defaults;
    struct test *t;
    uint32_t last = 0;

    conf.high_water = 10 * 1024 * 1024;
    t = start_with(conf);
    add_acking(t, 0);
    for (int n = 0; n < 8000 && !router_is_full(t->router); n++)
        last = pass_by(t, text, sizeof(text));
    assert_true(router_is_full(t->router));
    assert_int_equal(router_held_count(t->router), 0);
    say(t, 4, "x"); /* who is there is served */
    take(t, 0, 1, "");
    assert_false(t->sockets[4].paused);
    begin(t, 0, last);
    assert_false(router_is_full(t->router));
    finish(t);
}

static void follows_a_client_to_another_worker(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_HASH_UID);
    int n = 0;

    for (int i = 0; i < WORKERS; i++)
        add_acking(t, i);
    for (int round = 0; round < 2; round++) {
        char uid[16];

        for (; t->client[0]->unbegun < 300; n++) {
            say(t, 0, "some text");
            assert_true(shares_are_exact(t->router, t->roster));
        }
        snprintf(uid, sizeof(uid), "u%d", round);
        roster_bind_uid(t->roster, t->client[0], uid, strlen(uid));
        router_uid_bound(t->router, t->client[0]);
    }
    for (int i = 0; i < WORKERS; i++)
        while (*next_event(&t->links[i]))
            take(t, i, 1, "");
    assert_int_equal(t->client[0]->unbegun, 0);
    assert_int_equal(over(t), 0);
    finish(t);
}

/* GatewayWorker's workers say nothing of what they begin. */
static void counts_nothing_with_workers_that_do_not_acknowledge(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    for (int n = 0; n < 100; n++)
        say(t, 0, "some text");
    assert_false(t->sockets[0].paused);
    assert_int_equal(t->client[0]->unbegun, 0);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            pauses_the_client_that_is_over_its_share_and_nobody_else),
        cmocka_unit_test(lets_one_message_pass_that_is_larger_than_a_share),
        cmocka_unit_test(
            takes_little_from_others_when_those_who_flood_fill_the_mark),
        cmocka_unit_test(gives_less_to_each_the_more_of_them_wait),
        cmocka_unit_test(gives_shares_back_when_a_worker_is_lost),
        cmocka_unit_test(does_not_let_those_who_left_hold_up_anybody),
        cmocka_unit_test(
            takes_no_new_clients_when_those_who_left_left_too_much),
        cmocka_unit_test(follows_a_client_to_another_worker),
        cmocka_unit_test(counts_nothing_with_workers_that_do_not_acknowledge),
    };

    return cmocka_run_group_tests_name(
        "gateway.router_share", tests, NULL, NULL);
}
