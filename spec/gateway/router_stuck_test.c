/* Clients that one worker holds up while others have room: what they cost those
 * others, which is nothing, and when they go on. */
#include "router_fixture.h"

#define MANY 10000

/* Many clients, each of which has said "x" to worker 0. */
struct crowd {
    struct test *t;
    struct client_conn *sockets; /* owned */
    struct client **clients;     /* owned, the list */
};

static struct crowd gather(enum gateway_router mode)
{
    struct router_conf conf = router_defaults;
    struct crowd crowd = {.sockets = xcalloc(MANY, sizeof(*crowd.sockets)),
        .clients = xcalloc(MANY, sizeof(*crowd.clients))};

    conf.mode = mode;
    conf.high_water = 64 * 1024 * 1024;
    crowd.t = start_with(conf);
    for (int i = 0; i < MANY; i++) {
        union addr peer;
        char text[ADDR_TEXT_SIZE];

        snprintf(text, sizeof(text), "10.1.%d.%d:4000", i / 250, i % 250);
        assert_int_equal(addr_parse(&peer, text), 0);
        crowd.clients[i] =
            roster_add(crowd.t->roster, &crowd.sockets[i], &peer, 0);
    }
    return crowd;
}

static void scatter(struct crowd *crowd)
{
    finish(crowd->t);
    for (int i = 0; i < MANY; i++)
        fake_fini(&crowd->sockets[i]);
    free(crowd->sockets);
    free(crowd->clients);
}

static void all_say(struct crowd *crowd, const char *text)
{
    for (int i = 0; i < MANY; i++)
        assert_int_equal(router_forward(crowd->t->router, crowd->clients[i],
                             FRAME_ON_MESSAGE, 0, text, strlen(text)),
            0);
}

/* How often a drain asks for room: at least once for each client that it looks
 * at. */
static unsigned cost_of_a_drain(struct crowd *crowd)
{
    unsigned before = fake_room_asked;

    router_drained(crowd->t->router);
    return fake_room_asked - before;
}

static void expect_stuck(struct crowd *crowd, size_t held)
{
    assert_int_equal(router_held_count(crowd->t->router), held);
    cost_of_a_drain(crowd); /* puts them aside */
    assert_true(cost_of_a_drain(crowd) < 100);
    assert_int_equal(router_held_count(crowd->t->router), held);
}

/* All have something that worker 0 has begun, and it leaves; another one is
 * there. */
static struct crowd gather_behind_a_parting(void)
{
    struct crowd crowd = gather(GATEWAY_ROUTER_LEAST);

    add_acking(crowd.t, 0);
    all_say(&crowd, "x");
    assert_int_equal(acknowledge(crowd.t, 0, MANY, 0), 0);
    router_remove_worker(crowd.t->router, crowd.t->workers[0]);
    add_acking(crowd.t, 1);
    all_say(&crowd, "y");
    return crowd;
}

static void settle(struct crowd *crowd)
{
    router_settle(
        crowd->t->router, crowd->t->workers[0], crowd->t->roster, true);
}

static void costs_nothing_to_wait_for_one_that_leaves(void **state)
{
    struct crowd crowd = gather_behind_a_parting();

    expect_stuck(&crowd, MANY);
    assert_int_equal(crowd.t->links[1].out.len, 0);
    settle(&crowd);
    assert_int_equal(router_held_count(crowd.t->router), 0);
    assert_true(crowd.t->links[1].out.len > 0);
    scatter(&crowd);
}

static void costs_nothing_to_wait_for_an_heir_without_room(void **state)
{
    struct crowd crowd = gather_behind_a_parting();

    crowd.t->links[1].full = true;
    add_acking(crowd.t, 2); /* has room, and gets nothing of theirs */
    router_inherit(crowd.t->workers[1], crowd.t->workers[0]);
    settle(&crowd);
    expect_stuck(&crowd, MANY);
    assert_int_equal(crowd.t->links[2].out.len, 0);
    crowd.t->links[1].full = false;
    router_drained(crowd.t->router);
    assert_int_equal(router_held_count(crowd.t->router), 0);
    assert_int_equal(crowd.t->links[2].out.len, 0);
    scatter(&crowd);
}

static void waits_for_no_heir_that_is_lost(void **state)
{
    struct crowd crowd = gather_behind_a_parting();

    crowd.t->links[1].full = true;
    add_acking(crowd.t, 2);
    router_inherit(crowd.t->workers[1], crowd.t->workers[0]);
    settle(&crowd);
    expect_stuck(&crowd, MANY);
    lose(crowd.t, 1, true);
    assert_int_equal(router_held_count(crowd.t->router), 0);
    assert_true(crowd.t->links[2].out.len > 0);
    scatter(&crowd);
}

static void costs_nothing_to_wait_for_one_that_is_destined(void **state)
{
    struct crowd crowd = gather(GATEWAY_ROUTER_HASH_IP);
    size_t held;

    add_acking(crowd.t, 0);
    add_acking(crowd.t, 1);
    crowd.t->links[1].full = true;
    all_say(&crowd, "x");
    held = router_held_count(crowd.t->router);
    assert_true(held > MANY / 4);
    expect_stuck(&crowd, held);
    add_acking(crowd.t, 2); /* some are destined for this one now */
    assert_true(router_held_count(crowd.t->router) < held * 3 / 4);
    crowd.t->links[1].full = false;
    router_drained(crowd.t->router);
    assert_int_equal(router_held_count(crowd.t->router), 0);
    scatter(&crowd);
}

static void loses_those_that_wait_when_it_ends(void **state)
{
    struct crowd crowd = gather_behind_a_parting();

    expect_stuck(&crowd, MANY);
    scatter(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_nothing_to_wait_for_one_that_leaves),
        cmocka_unit_test(costs_nothing_to_wait_for_an_heir_without_room),
        cmocka_unit_test(waits_for_no_heir_that_is_lost),
        cmocka_unit_test(costs_nothing_to_wait_for_one_that_is_destined),
        cmocka_unit_test(loses_those_that_wait_when_it_ends),
    };

    return cmocka_run_group_tests_name(
        "gateway.router_stuck", tests, NULL, NULL);
}
