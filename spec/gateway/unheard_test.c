/* Workers that acknowledge nothing, as PHP's: what is counted when they end. */
#include "gateway_fixture.h"

#include "gateway/unheard.h"

static void give(struct unheard *u, unsigned count)
{
    while (count-- > 0)
        unheard_give(u);
}

static void tick(struct unheard *u, unsigned ticks)
{
    while (ticks-- > 0)
        unheard_tick(u);
}

static void counts_what_was_given_lately(void **state)
{
    struct unheard u = {0};

    give(&u, 100);
    tick(&u, UNHEARD_TICKS);
    give(&u, 10);
    tick(&u, UNHEARD_TICKS - 1);
    give(&u, 5);
    assert_int_equal(unheard_end(&u), 15);
    assert_int_equal(unheard_end(&u), 0);
}

static void counts_nothing_of_one_that_idles(void **state)
{
    struct unheard u = {0};

    give(&u, 10);
    unheard_hear(&u);
    tick(&u, UNHEARD_TICKS);
    assert_int_equal(unheard_end(&u), 0);
}

/* It answered once: while it says nothing it is busy. */
static void counts_all_since_it_spoke(void **state)
{
    struct unheard u = {0};

    give(&u, 10);
    unheard_hear(&u);
    for (unsigned i = 0; i < 3 * UNHEARD_TICKS; i++) {
        give(&u, 2);
        tick(&u, 1);
    }
    assert_int_equal(unheard_end(&u), 6 * UNHEARD_TICKS);
}

/* ---- in a gateway ---- */

/* It says something, and that has been heard. */
static void speak(struct peer *p)
{
    command(p, FRAME_IS_ONLINE, 99, "", "");
    expect_answer(p, "i:0;");
}

static struct peer *join_and_speak(struct test *t, const char *key)
{
    struct peer *p = join_as(t, key, NULL);

    speak(p);
    return p;
}

static void counts_the_events_of_a_lost_worker(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join_and_speak(t, "PHP:0");
    struct peer *client;

    assert_int_equal(status(t).workers_silent, 1);
    UNTIL(t, t->ready);
    client = dial(t, &t->outer);
    put_str(client, "1\n2\n");
    expect_event(worker, "ON_CONNECT 1 ");
    expect_event(worker, "ON_MESSAGE 1 1");
    expect_event(worker, "ON_MESSAGE 1 2");
    hang_up(worker);
    UNTIL(t, status(t).workers == 0);
    assert_int_equal(status(t).events_unknown, 3);
    assert_int_equal(status(t).workers_silent, 0);
    assert_int_equal(status(t).events_dropped, 0);
    hang_up(client);
    finish(t);
}

/* The same worker comes again before its old link was seen to end. */
static void counts_the_events_of_a_link_that_is_replaced(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join_and_speak(t, "PHP:0");
    struct peer *again, *client;

    UNTIL(t, t->ready);
    client = dial(t, &t->outer);
    expect_event(worker, "ON_CONNECT 1 ");
    again = dial(t, &t->inner);
    command(again, FRAME_WORKER_CONNECT, 0, "",
        "{\"worker_key\":\"PHP:0\",\"secret_key\":\"\"}");
    UNTIL(t, has_ended(worker));
    assert_int_equal(status(t).events_unknown, 1);
    speak(again);
    put_str(client, "1\n");
    expect_event(again, "ON_MESSAGE 1 1");
    hang_up(worker);
    hang_up(again);
    UNTIL(t, status(t).workers == 0);
    assert_int_equal(status(t).events_unknown, 2);
    hang_up(client);
    finish(t);
}

/* It gets all before the links end, and nobody was lost. */
static void counts_nothing_at_its_own_end(void **state)
{
    struct test *t = serve(&proto_text);
    struct peer *worker = join_and_speak(t, "PHP:0");
    struct peer *client;

    UNTIL(t, t->ready);
    client = dial(t, &t->outer);
    expect_event(worker, "ON_CONNECT 1 ");
    gateway_stop(t->gateway, 0);
    expect_event(worker, "ON_CLOSE 1 ");
    UNTIL(t, t->stopped);
    assert_int_equal(status(t).events_unknown, 0);
    hang_up(client);
    hang_up(worker);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_was_given_lately),
        cmocka_unit_test(counts_nothing_of_one_that_idles),
        cmocka_unit_test(counts_all_since_it_spoke),
        cmocka_unit_test(counts_the_events_of_a_lost_worker),
        cmocka_unit_test(counts_the_events_of_a_link_that_is_replaced),
        cmocka_unit_test(counts_nothing_at_its_own_end),
    };

    return cmocka_run_group_tests_name("gateway.unheard", tests, NULL, NULL);
}
