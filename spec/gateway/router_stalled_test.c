/* Workers that do not move: what others get, and what they do not. */
#include "router_fixture.h"

#include <errno.h>

#include "../support/tempdir.h"
#include "proc/claims.h"

#define REST 3 /* ticks without a move */

static char prefix[TEMPDIR_SIZE];
static struct claims *pages[WORKERS]; /* the workers' ends */

static const struct router_features features = {
    .acks = true, .is_local = true, .claims = true, .stalls = true};

/* The next packet of a link names a page: join it. */
static void join(struct test *t, int i)
{
    static const char word[] = "CLAIMS 0 ";
    const char *event = next_event(&t->links[i]);
    const char *name = strstr(event, word);

    if (!name)
        fail_msg("%s", event);
    name += sizeof(word) - 1;
    claims_close(pages[i]);
    assert_int_equal(claims_open(&pages[i], prefix, name, strlen(name)), 0);
}

static void add_beating(struct test *t, int i)
{
    add_worker_with(t, i, features);
    assert_string_equal(next_event(&t->links[i]), "ACK 0 ");
    join(t, i);
}

static void tick(struct test *t, unsigned beating)
{
    for (int i = 0; i < WORKERS; i++)
        if (beating & 1u << i)
            claims_beat(pages[i]);
    router_watch(t->router, t->roster);
}

static void rest(struct test *t, unsigned beating)
{
    for (int n = 0; n < REST + 1; n++)
        tick(t, beating);
}

/* Worker 0 has got "a" and "b" of client 1, worker 1 "c" of client 2. */
static struct test *set_scene(void)
{
    struct router_conf conf = router_defaults;
    struct test *t;

    tempdir_make(prefix);
    conf.claims = prefix;
    conf.high_water = 64 * 1024 * 1024;
    conf.client_share = 64 * 1024 * 1024;
    t = start_with(conf);
    add_beating(t, 0);
    add_beating(t, 1);
    say(t, 0, "a");
    say(t, 1, "c");
    say(t, 0, "b");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 b");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 2 c");
    return t;
}

static void strike(struct test *t)
{
    for (int i = 0; i < WORKERS; i++) {
        claims_close(pages[i]);
        pages[i] = NULL;
    }
    finish(t);
}

static void expect(struct test *t, int i, const char *event)
{
    assert_string_equal(next_event(&t->links[i]), event);
}

static void gives_others_what_one_that_rests_has_not_begun(void **state)
{
    struct test *t = set_scene();

    tick(t, 3);
    for (int n = 0; n < REST - 1; n++)
        tick(t, 2);
    assert_int_equal(router_stalled_count(t->router), 0);
    expect(t, 1, "");
    tick(t, 2);
    assert_int_equal(router_stalled_count(t->router), 1);
    expect(t, 1, "ON_MESSAGE 1 a");
    expect(t, 1, "ON_MESSAGE 1 b");
    say(t, 0, "d");
    expect(t, 1, "ON_MESSAGE 1 d");
    assert_int_equal(claims_begin(pages[0], 1), -ECANCELED);
    assert_int_equal(router_counters(t->router)->stalls, 1);
    assert_int_equal(router_counters(t->router)->again, 2);
    assert_int_equal(router_worker_count(t->router), 2);
    strike(t);
}

/* It was stopped until it was killed, and has not joined the next page. */
static void counts_what_one_that_rests_has_sent(void **state)
{
    static const struct receipt run = {{0, 2, 0, 0, 0}};
    const struct receipt sent = {{7, 5, 1, 0, 0}};
    struct test *t = set_scene();

    claims_show_sent(pages[0], &sent);
    tick(t, 3);
    rest(t, 2);
    assert_int_equal(router_counters(t->router)->again, 2);
    router_count_unrun(t->router, t->workers[0], &run);
    assert_int_equal(router_counters(t->router)->sends_lost, 4);
    router_count_unrun(t->router, t->workers[0], &run);
    router_count_unrun(t->router, t->workers[1], &run); /* shows nothing */
    assert_int_equal(router_counters(t->router)->sends_lost, 4);
    strike(t);
}

static void counts_what_one_that_goes_on_has_sent(void **state)
{
    static const struct receipt run = {{0, 2, 0, 0, 0}};
    struct receipt sent = {{7, 5, 1, 0, 0}};
    struct test *t = set_scene();

    claims_show_sent(pages[0], &sent);
    tick(t, 3);
    rest(t, 2);
    join(t, 0);
    sent.orders[RECEIPT_SEND]++;
    claims_show_sent(pages[0], &sent);
    assert_int_equal(router_renewed(t->router, t->workers[0]), 0);
    router_count_unrun(t->router, t->workers[0], &run);
    assert_int_equal(router_counters(t->router)->sends_lost, 5);
    strike(t);
}

static void leaves_one_alone_that_begins_something(void **state)
{
    struct test *t = set_scene();

    tick(t, 3);
    for (uint32_t n = 1; n <= 2; n++) {
        for (int k = 0; k < REST - 1; k++)
            tick(t, 2);
        assert_int_equal(claims_begin(pages[0], n), 0);
    }
    tick(t, 2);
    assert_int_equal(router_stalled_count(t->router), 0);
    strike(t);
}

/* The handler of "a" computes: what its client says waits for it. */
static void keeps_the_client_of_a_handler_that_runs(void **state)
{
    struct test *t = set_scene();

    assert_int_equal(claims_begin(pages[0], 1), 0);
    say(t, 2, "e");
    expect(t, 0, "ON_MESSAGE 3 e");
    rest(t, 2);
    expect(t, 1, "ON_MESSAGE 3 e");
    say(t, 0, "f");
    say(t, 3, "g");
    expect(t, 1, "ON_MESSAGE 4 g");
    expect(t, 1, "");
    assert_int_equal(router_counters(t->router)->again, 2);
    /* It is through, says so, and joins the next page. */
    assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    join(t, 0);
    assert_int_equal(router_renewed(t->router, t->workers[0]), 0);
    expect(t, 0, "ON_MESSAGE 1 b");
    expect(t, 0, "ON_MESSAGE 1 f");
    assert_int_equal(claims_begin(pages[0], 4), 0); /* numbers go on */
    assert_int_equal(acknowledge(t, 0, 2, 2), 0);
    assert_int_equal(router_counters(t->router)->cut_off, 0);
    assert_int_equal(router_stalled_count(t->router), 0);
    strike(t);
}

/* It had said that the handler of "a" had begun and not that it is through. */
static void keeps_the_client_of_a_handler_that_waits(void **state)
{
    struct test *t = set_scene();

    assert_int_equal(claims_begin(pages[0], 1), 0);
    assert_int_equal(acknowledge(t, 0, 1, 0), 0);
    rest(t, 2);
    expect(t, 1, "");
    assert_int_equal(acknowledge(t, 0, 0, 1), 0); /* it wakes up */
    join(t, 0);
    assert_int_equal(router_renewed(t->router, t->workers[0]), 0);
    expect(t, 0, "ON_MESSAGE 1 b");
    strike(t);
}

/* Its client leaves: its last event waits for the handler as well. */
static void keeps_the_end_of_a_client_whose_handler_runs(void **state)
{
    struct test *t = set_scene();

    assert_int_equal(claims_begin(pages[0], 1), 0);
    assert_int_equal(claims_begin(pages[0], 2), 0);
    leave(t, 0);
    expect(t, 0, "ON_CLOSE 1 ");
    rest(t, 2);
    expect(t, 1, "");
    assert_int_equal(acknowledge(t, 0, 2, 2), 0);
    join(t, 0);
    assert_int_equal(router_renewed(t->router, t->workers[0]), 0);
    expect(t, 0, "ON_CLOSE 1 ");
    strike(t);
}

static void holds_events_where_nobody_else_moves(void **state)
{
    struct test *t = set_scene();

    rest(t, 0);
    assert_int_equal(router_stalled_count(t->router), 2);
    say(t, 0, "d");
    expect(t, 0, "");
    expect(t, 1, "");
    assert_int_equal(claims_begin(pages[0], 1), 0); /* nothing was taken back */
    tick(t, 1);
    assert_int_equal(router_stalled_count(t->router), 1);
    expect(t, 0, "ON_MESSAGE 1 d");
    /* … and of the other one now it is. */
    expect(t, 0, "ON_MESSAGE 2 c");
    strike(t);
}

static void settles_one_that_dies_meanwhile(void **state)
{
    struct test *t = set_scene();

    assert_int_equal(claims_begin(pages[0], 1), 0);
    rest(t, 2);
    say(t, 0, "d");
    expect(t, 1, "");
    assert_true(router_has_claimed(t->workers[0]));
    lose(t, 0, true);
    expect(t, 1, "ON_MESSAGE 1 b");
    expect(t, 1, "ON_MESSAGE 1 d");
    assert_int_equal(router_counters(t->router)->cut_off, 1);
    assert_int_equal(router_counters(t->router)->lost, 0);
    strike(t);
}

static void refuses_a_page_that_nobody_gave(void **state)
{
    struct test *t = set_scene();

    assert_int_equal(router_renewed(t->router, t->workers[0]), -EPROTO);
    rest(t, 2);
    assert_int_equal(acknowledge(t, 0, 0, 7), -EPROTO); /* more than runs */
    strike(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_others_what_one_that_rests_has_not_begun),
        cmocka_unit_test(counts_what_one_that_rests_has_sent),
        cmocka_unit_test(counts_what_one_that_goes_on_has_sent),
        cmocka_unit_test(leaves_one_alone_that_begins_something),
        cmocka_unit_test(keeps_the_client_of_a_handler_that_runs),
        cmocka_unit_test(keeps_the_client_of_a_handler_that_waits),
        cmocka_unit_test(keeps_the_end_of_a_client_whose_handler_runs),
        cmocka_unit_test(holds_events_where_nobody_else_moves),
        cmocka_unit_test(settles_one_that_dies_meanwhile),
        cmocka_unit_test(refuses_a_page_that_nobody_gave),
    };

    return cmocka_run_group_tests_name(
        "gateway.router_stalled", tests, NULL, NULL);
}
