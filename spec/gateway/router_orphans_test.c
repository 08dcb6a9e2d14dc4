#include "router_fixture.h"

#include "../support/tempdir.h"
#include "gateway/books.h"

/* Whose worker is gone: what the next one is told, and when. */

/* A worker whose script has onClientBound, or not. */
static void add_told(struct test *t, int i, bool wants)
{
    struct router_features features = {.close_info = true,
        .acks = true,
        .bound = true,
        .callbacks = wants ? ROUTER_ON_BOUND : 0};

    add_worker_with(t, i, features);
    assert_string_equal(next_event(&t->links[i]), "ACK 0 ");
}

/* As inner.c does in a second. */
static void tick(struct test *t)
{
    router_tick(t->router);
    while (router_bind_orphans(t->router, t->roster))
        ;
}

/* Clients 1 to 4 have said something, to workers that did not miss it. */
static struct test *start_with_two(enum gateway_router mode, bool wants)
{
    struct test *t = start(mode);

    add_told(t, 0, wants);
    add_told(t, 1, wants);
    for (int i = 0; i < 4; i++)
        say(t, i, "x");
    assert_int_equal(acknowledge(t, 0, 2, 2), 0);
    assert_int_equal(acknowledge(t, 1, 2, 2), 0);
    buf_clear(&t->links[0].out);
    buf_clear(&t->links[1].out);
    return t;
}

static void comes_in_front_of_the_next_event_once(void **state)
{
    struct test *t = start_with_two(GATEWAY_ROUTER_LEAST, true);

    lose(t, 0, true);
    say(t, 0, "here");
    say(t, 0, "again");
    assert_string_equal(next_event(&t->links[1]), "BOUND 1 ");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 here");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 again");
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "BOUND 3 ");
    assert_string_equal(next_event(&t->links[1]), "");
    say(t, 2, "here");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 3 here");
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

static void tells_of_silent_ones_when_the_lost_worker_may_be_back(void **state)
{
    struct test *t = start_with_two(GATEWAY_ROUTER_LEAST, true);

    lose(t, 0, true);
    tick(t);
    assert_string_equal(next_event(&t->links[1]), "");
    add_told(t, 2, true);
    tick(t);
    assert_string_equal(next_event(&t->links[2]), "BOUND 3 ");
    assert_string_equal(next_event(&t->links[2]), "BOUND 1 ");
    assert_string_equal(next_event(&t->links[2]), "");
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

static void waits_for_a_worker(void **state)
{
    struct test *t = start_with_two(GATEWAY_ROUTER_LEAST, true);

    lose(t, 0, true);
    lose(t, 1, true);
    for (int i = 0; i < 5; i++)
        tick(t);
    add_told(t, 0, true);
    tick(t);
    for (int i = 4; i > 0; i--) {
        char want[32];

        snprintf(want, sizeof(want), "BOUND %d ", i);
        assert_string_equal(next_event(&t->links[0]), want);
    }
    assert_string_equal(next_event(&t->links[0]), "");
    finish(t);
}

/* The events that it had not begun go first, and they are of clients that the
 * next worker has to know. */
static void waits_for_what_the_lost_worker_had_begun(void **state)
{
    struct test *t = start_with_two(GATEWAY_ROUTER_LEAST, true);

    say(t, 0, "not begun");
    router_remove_worker(t->router, t->workers[0]);
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "");
    router_settle(t->router, t->workers[0], t->roster, true);
    assert_string_equal(next_event(&t->links[1]), "BOUND 1 ");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 not begun");
    tick(t);
    assert_string_equal(next_event(&t->links[1]), "BOUND 3 ");
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

static void says_nothing_of_first_and_last_events(void **state)
{
    struct test *t = start_with_two(GATEWAY_ROUTER_LEAST, true);

    assert_int_equal(
        router_forward(t->router, t->client[4], FRAME_ON_CONNECT, 0, NULL, 0),
        0);
    lose(t, 0, true);
    assert_string_equal(next_event(&t->links[1]), "ON_CONNECT 5 ");
    leave(t, 0);
    assert_int_equal(strncmp(next_event(&t->links[1]), "ON_CLOSE 1 ", 11), 0);
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

static void tells_only_those_that_want_it(void **state)
{
    struct test *t = start_with_two(GATEWAY_ROUTER_LEAST, false);

    lose(t, 0, true);
    say(t, 0, "here");
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 here");
    assert_string_equal(next_event(&t->links[1]), "");
    router_set_callback(t->workers[1], ROUTER_ON_BOUND, true);
    tick(t);
    assert_string_equal(next_event(&t->links[1]), "BOUND 3 ");
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

static void tells_nobody_that_does_not_offer_it(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, true);
    add_worker(t, 1, false);
    say(t, 0, "x");
    say(t, 1, "x");
    router_remove_worker(t->router, t->workers[0]);
    buf_clear(&t->links[1].out);
    say(t, 0, "here");
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 here");
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

/* A uid may send a client to another worker, or leave it where it is. */
static void tells_whom_a_uid_sends_elsewhere(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_HASH_UID);
    int moved = 0;

    add_told(t, 0, true);
    add_told(t, 1, true);
    for (int i = 0; i < CLIENTS; i++) {
        int first;

        say(t, i, "x");
        first = router_has(t->workers[0], t->client[i]) ? 0 : 1;
        next_event(&t->links[first]);
        assert_int_equal(
            roster_bind_uid(t->roster, t->client[i], "the same", 8), 0);
        router_uid_bound(t->router, t->client[i]);
        say(t, i, "y");
        if (!router_has(t->workers[first], t->client[i])) {
            moved++;
            assert_memory_equal(next_event(&t->links[1 - first]), "BOUND ", 6);
        }
        for (int w = 0; w < 2; w++)
            while (t->links[w].out.len > 0)
                assert_memory_equal(next_event(&t->links[w]), "ON_MESSAGE", 10);
    }
    assert_true(moved > 0 && moved < CLIENTS);
    finish(t);
}

/* A hundred thousand of them do not come at once. */
static void goes_by_batches(void **state)
{
    static struct client_conn sockets[2500];
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct frame f;
    size_t told = 0;
    int batches = 1;

    add_told(t, 0, true);
    for (int i = 0; i < 2500; i++) {
        struct client *c =
            roster_add(t->roster, &sockets[i], &t->client[0]->peer, 0);

        assert_int_equal(
            router_forward(t->router, c, FRAME_ON_CONNECT, 0, NULL, 0), 0);
        assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    }
    lose(t, 0, true);
    add_told(t, 1, true);
    router_tick(t->router);
    router_tick(t->router);
    while (router_bind_orphans(t->router, t->roster))
        batches++;
    while (t->links[1].out.len > 0) {
        ssize_t n = frame_measure(
            t->links[1].out.data, t->links[1].out.len, FRAME_MAX_LEN);

        assert_int_equal(frame_decode(&f, t->links[1].out.data, (size_t)n), 0);
        assert_int_equal(f.cmd, FRAME_BOUND);
        buf_consume(&t->links[1].out, (size_t)n);
        told++;
    }
    assert_int_equal(told, 2500);
    assert_int_equal(batches, 3);
    finish(t);
}

/* It had clients on links before, of which it knows nothing until then. */
static void tells_a_worker_elsewhere_that_it_knows_all(void **state)
{
    const struct router_features far = {.acks = true, .far_book = true};
    struct router_conf conf = router_defaults;
    char prefix[TEMPDIR_SIZE];
    struct test *t;

    tempdir_make(prefix);
    conf.books = books_new(&(struct books_conf){.folder = prefix, .slot = "x"});
    t = start_with(conf);
    add_worker_with(t, 0, far);
    for (int i = 0; i < 3; i++)
        say(t, i, "x");
    assert_int_equal(acknowledge(t, 0, 3, 3), 0);
    lose(t, 0, true);
    add_worker_with(t, 1, far);
    assert_int_equal(strncmp(next_event(&t->links[1]), "KEEPS 0 ", 8), 0);
    assert_string_equal(next_event(&t->links[1]), "ACK 0 ");
    say(t, 1, "y");
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "BOUND 2 ");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 2 y");
    assert_string_equal(next_event(&t->links[1]), "BOUND 3 ");
    assert_string_equal(next_event(&t->links[1]), "BOUND 1 ");
    assert_string_equal(next_event(&t->links[1]), "KEEPS 0 ");
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
    books_free(conf.books);
}

/* … also where others have got all of them meanwhile. */
static void tells_a_worker_elsewhere_that_it_has_none(void **state)
{
    const struct router_features far = {.acks = true, .far_book = true};
    struct router_conf conf = router_defaults;
    char prefix[TEMPDIR_SIZE];
    struct test *t;

    tempdir_make(prefix);
    conf.books = books_new(&(struct books_conf){.folder = prefix, .slot = "x"});
    t = start_with(conf);
    add_worker_with(t, 0, far);
    for (int i = 0; i < 3; i++)
        tick(t);
    buf_clear(&t->links[0].out);
    add_worker_with(t, 1, far);
    assert_int_equal(strncmp(next_event(&t->links[1]), "KEEPS 0 ", 8), 0);
    assert_string_equal(next_event(&t->links[1]), "ACK 0 ");
    for (int i = 0; i < 3; i++)
        tick(t);
    assert_string_equal(next_event(&t->links[1]), "KEEPS 0 ");
    finish(t);
    books_free(conf.books);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_in_front_of_the_next_event_once),
        cmocka_unit_test(tells_of_silent_ones_when_the_lost_worker_may_be_back),
        cmocka_unit_test(waits_for_a_worker),
        cmocka_unit_test(waits_for_what_the_lost_worker_had_begun),
        cmocka_unit_test(says_nothing_of_first_and_last_events),
        cmocka_unit_test(tells_only_those_that_want_it),
        cmocka_unit_test(tells_nobody_that_does_not_offer_it),
        cmocka_unit_test(tells_whom_a_uid_sends_elsewhere),
        cmocka_unit_test(goes_by_batches),
        cmocka_unit_test(tells_a_worker_elsewhere_that_it_knows_all),
        cmocka_unit_test(tells_a_worker_elsewhere_that_it_has_none),
    };

    return cmocka_run_group_tests_name(
        "gateway.router_orphans", tests, NULL, NULL);
}
