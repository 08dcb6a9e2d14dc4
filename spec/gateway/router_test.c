#include "../net/testloop.h"
#include "router_fixture.h"

#include <time.h>

#include "net/turn.h"
#include "wire/bigendian.h"

static void names_the_client_in_the_head(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct frame f;

    add_worker(t, 0, false);
    assert_int_equal(
        roster_set_session(t->roster, t->client[1], "a:0:{}", 6), 0);
    say(t, 1, "hi");
    assert_int_equal(
        frame_decode(&f, t->links[0].out.data, t->links[0].out.len), 0);
    assert_int_equal(f.cmd, FRAME_ON_MESSAGE);
    assert_int_equal(f.flag, FRAME_FLAG_STRING);
    assert_int_equal(f.local_ip, 0x7f000001);
    assert_int_equal(f.local_port, 2900);
    assert_int_equal(f.client_ip, 0x0a000002);
    assert_int_equal(f.client_port, 4001);
    assert_int_equal(f.gateway_port, 8282);
    assert_int_equal(f.connection_id, 2);
    assert_int_equal(f.ext_len, 6);
    assert_memory_equal(f.ext, "a:0:{}", 6);
    assert_memory_equal(f.body, "hi", 2);
    finish(t);
}

static void tells_types_to_those_who_want_them(void **state)
{
    static const uint8_t types[] = {0, FRAME_FLAG_TEXT, FRAME_FLAG_BINARY};

    for (int wants = 0; wants < 2; wants++) {
        struct test *t = start(GATEWAY_ROUTER_LEAST);
        struct router_features features = {.types = wants};

        for (size_t i = 0; i < 3; i++)
            say_typed(t, 0, types[i], "held");
        add_worker_with(t, 0, features);
        if (wants)
            assert_string_equal(next_event(&t->links[0]), "TYPES 0 ");
        for (size_t i = 0; i < 3; i++)
            say_typed(t, 0, types[i], "now");
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(next_flag(&t->links[0]),
                FRAME_FLAG_STRING | (wants ? types[i % 3] : 0));
            next_event(&t->links[0]);
        }
        finish(t);
    }
}

static void gives_new_clients_to_the_least_busy_and_keeps_them(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    add_worker(t, 1, false);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4; i++)
            say(t, i, "x");
    for (int round = 0; round < 2; round++) {
        assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 x");
        assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 2 x");
        assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 3 x");
        assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 4 x");
    }
    leave(t, 0);
    leave(t, 2);
    next_event(&t->links[0]);
    next_event(&t->links[0]);
    say(t, 4, "x");
    say(t, 5, "x");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 5 x");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 6 x");
    finish(t);
}

static void holds_events_until_a_worker_comes(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    router_forward(t->router, t->client[0], FRAME_ON_CONNECT, 0, NULL, 0);
    say(t, 0, "one");
    router_forward(t->router, t->client[1], FRAME_ON_CONNECT, 0, NULL, 0);
    say(t, 0, "two");
    leave(t, 1);
    assert_true(t->sockets[0].paused);
    assert_int_equal(router_paused_count(t->router), 1);
    assert_int_equal(router_held_count(t->router), 5);
    add_worker(t, 0, false);
    assert_string_equal(next_event(&t->links[0]), "ON_CONNECT 1 ");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 one");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 two");
    assert_string_equal(next_event(&t->links[0]), "ON_CONNECT 2 ");
    assert_string_equal(next_event(&t->links[0]), "ON_CLOSE 2 ");
    assert_string_equal(next_event(&t->links[0]), "");
    assert_false(t->sockets[0].paused);
    assert_int_equal(router_paused_count(t->router), 0);
    assert_int_equal(router_held_count(t->router), 0);
    finish(t);
}

static void stops_reading_while_the_link_is_full(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    say(t, 0, "a");
    t->links[0].full = true;
    say(t, 0, "b");
    say(t, 1, "c");
    assert_true(t->sockets[0].paused && t->sockets[1].paused);
    router_drained(t->router);
    assert_true(t->sockets[0].paused && t->sockets[1].paused);
    t->links[0].full = false;
    say(t, 0, "d"); /* read before the drain is known: behind what waits */
    router_drained(t->router);
    assert_false(t->sockets[0].paused || t->sockets[1].paused);
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 b");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 d");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 2 c");
    finish(t);
}

static void does_not_give_new_clients_to_a_full_link(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    add_worker(t, 1, false);
    t->links[0].full = true;
    for (int i = 0; i < 3; i++)
        say(t, i, "x");
    for (uint32_t i = 1; i <= 3; i++) {
        char want[32];

        snprintf(want, sizeof(want), "ON_MESSAGE %u x", i);
        assert_string_equal(next_event(&t->links[1]), want);
    }
    finish(t);
}

static void moves_the_clients_of_a_lost_worker(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    say(t, 0, "a");
    next_event(&t->links[0]);
    t->links[0].full = true;
    say(t, 0, "b");
    say(t, 0, "c");
    add_worker(t, 1, false);
    assert_string_equal(next_event(&t->links[1]), "");
    router_remove_worker(t->router, t->workers[0]);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 b");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 c");
    assert_false(t->sockets[0].paused);
    add_worker(t, 2, false); /* in the slot that the lost one had */
    say(t, 0, "d");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 d");
    finish(t);
}

static void lets_a_worker_with_the_same_key_go_on(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct router_features none = {0};
    struct conn *replaced;

    assert_null(add_worker(t, 0, false));
    say(t, 0, "a");
    add_worker(t, 1, false);
    router_add_worker(
        t->router, &t->links[2], "127.0.0.1:w:0", none, &replaced);
    assert_ptr_equal(replaced, &t->links[0]);
    assert_int_equal(router_worker_count(t->router), 2);
    say(t, 0, "b");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 b");
    finish(t);
}

static void tells_what_was_bound_only_to_those_who_asked(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, true);
    add_worker(t, 1, false);
    say(t, 0, "x");
    say(t, 1, "x");
    for (int i = 0; i < 2; i++) {
        next_event(&t->links[i]);
        roster_bind_uid(t->roster, t->client[i], "1001", 4);
        roster_join(t->roster, t->client[i], "room", 4);
        roster_join(t->roster, t->client[i], "7", 1);
        leave(t, i);
    }
    assert_string_equal(next_event(&t->links[0]),
        "ON_CLOSE 1 a:7:{s:3:\"uid\";s:4:\"1001\";s:6:\"groups\";a:2:{i:0;"
        "s:4:\"room\";i:1;s:1:\"7\";}s:2:\"by\";s:6:\"client\";s:5:\"cause\";"
        "s:6:\"client\";s:4:\"code\";i:1006;s:7:\"dropped\";i:3;"
        "s:6:\"reason\";s:12:\"gateway_lost\";}");
    assert_string_equal(next_event(&t->links[1]), "ON_CLOSE 2 ");
    finish(t);
}

static void names_ipv6_clients_only_to_those_who_asked(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct frame f[2];

    for (int i = 0; i < 2; i++) {
        struct buf *out = &t->links[i].out;

        assert_int_equal(
            addr_parse(&t->client[i]->peer, "[2001:db8::1]:4000"), 0);
        add_worker(t, i, i == 0);
        say(t, i, "x");
        assert_int_equal(frame_decode(&f[i], out->data, out->len), 0);
        assert_int_equal(f[i].client_ip, 0);
        assert_int_equal(f[i].client_port, 4000);
        assert_int_equal(f[i].ext_len, 0);
        assert_memory_equal(f[i].body, "x", 1);
    }
    assert_int_equal(f[0].flag, FRAME_FLAG_STRING | FRAME_FLAG_IPV6);
    assert_memory_equal(
        f[0].client_ip6, &t->client[0]->peer.in6.sin6_addr, FRAME_IPV6_LEN);
    assert_int_equal(f[1].flag, FRAME_FLAG_STRING);
    finish(t);
}

static int send_bytes(struct test *t, int i, size_t len)
{
    char *big = xcalloc(1, len);
    int err =
        router_forward(t->router, t->client[i], FRAME_ON_MESSAGE, 0, big, len);

    free(big);
    return err;
}

static void closes_those_of_which_most_waits_when_too_much_does(void **state)
{
    const size_t mega = 1024 * 1024;
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    for (int i = 0; i < 3; i++)
        assert_int_equal(send_bytes(t, i, 16 * mega), 0);
    assert_int_equal(send_bytes(t, 3, 15 * mega), 0);
    assert_int_equal(send_bytes(t, 4, 16 * mega), -ENOBUFS); /* as large */
    assert_int_equal(router_counters(t->router)->refused, 1);
    assert_int_equal(t->sockets[0].closed, 0);
    assert_int_equal(send_bytes(t, 5, mega), 0);
    assert_int_equal(t->sockets[0].closed, 1013); /* the first of them */
    assert_int_equal(t->sockets[1].closed, 0);
    assert_int_equal(router_counters(t->router)->refused, 2);
    assert_int_equal(router_held_count(t->router), 4);
    assert_int_equal(send_bytes(t, 6, 1), 0);
    leave(t, 0); /* is never refused */
    assert_int_equal(router_held_count(t->router), 6);
    add_acking(t, 0);
    assert_memory_equal(next_event(&t->links[0]), "ON_CLOSE 1 ", 11);
    finish(t);
}

static void closes_once(void **state)
{
    static const struct client_conn_end kicked = {
        CLIENT_CONN_KICKED, 1000, NULL, 0};
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    router_close(t->router, t->client[0], &kicked);
    say(t, 0, "late");
    leave(t, 0);
    assert_string_equal(next_event(&t->links[0]), "ON_CLOSE 1 ");
    assert_string_equal(next_event(&t->links[0]), "");
    finish(t);
}

/* Which link the next event is in; takes it. */
static int who_has_it(struct test *t)
{
    for (int i = 0; i < WORKERS; i++)
        if (*next_event(&t->links[i]))
            return i;
    return -1;
}

static void hashes_alike_wherever_a_worker_stands(void **state)
{
    struct test *a = start(GATEWAY_ROUTER_HASH_IP);
    struct test *b = start(GATEWAY_ROUTER_HASH_IP);
    int used = 0;

    for (int i = 0; i < WORKERS; i++) {
        add_worker(a, i, false);
        add_worker(b, WORKERS - 1 - i, false);
    }
    for (int i = 0; i < CLIENTS; i++) {
        int worker;

        say(a, i, "x");
        say(b, i, "x");
        worker = who_has_it(a);
        assert_int_equal(worker, who_has_it(b));
        used |= 1 << worker;
    }
    assert_true(used & (used - 1)); /* more than one worker */
    finish(a);
    finish(b);
}

static void hashes_by_uid_from_the_binding_on(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_HASH_UID);
    int first = -1;

    for (int i = 0; i < WORKERS; i++)
        add_worker(t, i, false);
    for (int i = 0; i < CLIENTS; i++) {
        int worker;

        say(t, i, "x");
        who_has_it(t);
        roster_bind_uid(t->roster, t->client[i], "alice", 5);
        router_uid_bound(t->router, t->client[i]);
        say(t, i, "y");
        worker = who_has_it(t);
        if (first < 0)
            first = worker;
        assert_int_equal(worker, first);
    }
    finish(t);
}

static void spreads_at_random(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_RANDOM);

    for (int i = 0; i < WORKERS; i++)
        add_worker(t, i, false);
    t->links[1].full = t->links[3].full = true;
    for (int i = 0; i < CLIENTS; i++) {
        int worker;

        say(t, i, "x");
        worker = who_has_it(t);
        assert_true(worker == 0 || worker == 2);
        say(t, i, "y");
        assert_int_equal(who_has_it(t), worker);
    }
    finish(t);
}

/* What a function was asked, and what it answers. */
struct chooser {
    int place; /* the answer */
    int calls;
    char seen[256]; /* the last question */
};

static int choose_place(const struct gateway_candidate *workers, size_t count,
    const struct gateway_newcomer *client, void *arg)
{
    struct chooser *ch = arg;
    int n = snprintf(ch->seen, sizeof(ch->seen),
        "%s:%u at %u is %.*s:", client->remote_addr, client->remote_port,
        client->gateway_port, (int)client->uid_len,
        client->uid ? client->uid : "");

    for (size_t i = 0; i < count; i++)
        n += snprintf(ch->seen + n, sizeof(ch->seen) - (size_t)n, " %s=%zu",
            workers[i].key, workers[i].clients);
    ch->calls++;
    return ch->place;
}

static struct test *start_choosing(struct chooser *ch)
{
    struct router_conf conf = router_defaults;

    conf.mode = GATEWAY_ROUTER_FUNCTION;
    conf.choose = choose_place;
    conf.choose_arg = ch;
    return start_with(conf);
}

static void asks_a_function_once_for_each_binding(void **state)
{
    struct chooser ch = {.place = 1};
    struct test *t = start_choosing(&ch);

    for (int i = 0; i < 3; i++)
        add_worker(t, i, false);
    t->links[1].full = true;
    say(t, 0, "x");
    assert_string_equal(
        ch.seen, "10.0.0.1:4000 at 8282 is : 127.0.0.1:w:0=0 127.0.0.1:w:2=0");
    assert_int_equal(who_has_it(t), 2);
    say(t, 0, "y");
    assert_int_equal(who_has_it(t), 2);
    assert_int_equal(ch.calls, 1);
    roster_bind_uid(t->roster, t->client[0], "alice", 5);
    router_uid_bound(t->router, t->client[0]);
    router_remove_worker(t->router, t->workers[2]);
    t->links[1].full = false;
    say(t, 0, "z");
    assert_string_equal(ch.seen,
        "10.0.0.1:4000 at 8282 is alice: 127.0.0.1:w:0=0 127.0.0.1:w:1=0");
    assert_int_equal(who_has_it(t), 1);
    assert_int_equal(ch.calls, 2);
    leave(t, 0);
    assert_int_equal(ch.calls, 2);
    finish(t);
}

static void asks_a_function_only_when_a_worker_has_room(void **state)
{
    struct chooser ch = {.place = 0};
    struct test *t = start_choosing(&ch);

    say(t, 0, "x");
    add_worker(t, 0, false);
    assert_int_equal(ch.calls, 1);
    t->links[0].full = true;
    say(t, 0, "y"); /* paused */
    say(t, 1, "x");
    assert_int_equal(ch.calls, 1);
    t->links[0].full = false;
    router_drained(t->router);
    assert_int_equal(ch.calls, 2);
    assert_int_equal(router_held_count(t->router), 0);
    assert_int_equal(router_paused_count(t->router), 0);
    finish(t);
}

static void takes_the_least_busy_when_a_function_names_none(void **state)
{
    static const int nonsense[] = {-1, 2, 1000000, -7};
    struct chooser ch = {.place = 1};
    struct test *t = start_choosing(&ch);

    add_worker(t, 0, false);
    add_worker(t, 1, false);
    for (int i = 0; i < 4; i++) {
        say(t, i, "x");
        assert_int_equal(who_has_it(t), 1);
    }
    for (int i = 0; i < 4; i++) {
        ch.place = nonsense[i];
        say(t, 4 + i, "x");
        assert_int_equal(who_has_it(t), 0);
    }
    finish(t);
}

/* ---- workers that acknowledge ---- */

static void asks_before_the_first_event_for_acknowledgements(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    say(t, 0, "held");
    add_acking(t, 0);
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 held");
    assert_int_equal(router_unbegun_count(t->router), 1);
    assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    assert_int_equal(router_unbegun_count(t->router), 0);
    finish(t);
}

static void gives_others_what_a_lost_worker_did_not_begin(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    say(t, 1, "b");
    say(t, 0, "c");
    say(t, 1, "d");
    assert_int_equal(acknowledge(t, 0, 2, 1), 0);
    add_acking(t, 1);
    lose(t, 0, true);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 c");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 2 d");
    assert_string_equal(next_event(&t->links[1]), "");
    assert_int_equal(router_counters(t->router)->again, 2);
    assert_int_equal(router_counters(t->router)->cut_off, 1);
    assert_int_equal(router_counters(t->router)->lost, 0);
    assert_false(t->sockets[0].paused || t->sockets[1].paused);
    finish(t);
}

static void keeps_later_events_behind_those_not_begun(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    add_acking(t, 1);
    say(t, 0, "a"); /* to the first */
    say(t, 0, "b");
    router_remove_worker(t->router, t->workers[0]);
    assert_int_equal(router_unbegun_count(t->router), 2);
    say(t, 0, "c");
    say(t, 1, "x"); /* knows no other worker */
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 2 x");
    assert_string_equal(next_event(&t->links[1]), "");
    assert_true(t->sockets[0].paused);
    assert_int_equal(acknowledge(t, 0, 1, 1), 0); /* it came late */
    router_drained(t->router);
    assert_string_equal(next_event(&t->links[1]), "");
    assert_true(t->sockets[0].paused);
    router_settle(t->router, t->workers[0], t->roster, true);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 b");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 c");
    assert_string_equal(next_event(&t->links[1]), "");
    assert_false(t->sockets[0].paused);
    finish(t);
}

static void holds_what_was_not_begun_until_a_worker_comes(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    lose(t, 0, true);
    say(t, 0, "b");
    assert_int_equal(router_held_count(t->router), 2);
    add_acking(t, 1);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 b");
    lose(t, 1, true);
    add_worker(t, 2, false); /* one that does not acknowledge */
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 b");
    finish(t);
}

/* The second one had room for the first of them only. */
static void keeps_their_order_when_the_next_worker_is_lost_too(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    say(t, 0, "b");
    router_remove_worker(t->router, t->workers[0]);
    say(t, 0, "c");
    t->links[1].full_at = t->links[1].out.len + 1;
    add_acking(t, 1);
    router_settle(t->router, t->workers[0], t->roster, true);
    assert_int_equal(router_held_count(t->router), 2);
    lose(t, 1, true);
    add_acking(t, 2);
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 b");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 c");
    assert_string_equal(next_event(&t->links[2]), "");
    finish(t);
}

static void marks_what_is_given_again(void **state)
{
    static const uint8_t want[] = {FRAME_FLAG_STRING | FRAME_FLAG_AGAIN,
        FRAME_FLAG_STRING, FRAME_FLAG_STRING};
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct frame f;

    add_acking(t, 0);
    say(t, 0, "a");
    lose(t, 0, true);
    add_acking(t, 1);
    say(t, 0, "b");
    for (int i = 0; i < 2; i++) {
        struct buf *out = &t->links[1].out;
        ssize_t n = frame_measure(out->data, out->len, FRAME_MAX_LEN);

        assert_int_equal(frame_decode(&f, out->data, (size_t)n), 0);
        assert_int_equal(f.flag, want[i]);
        buf_consume(out, (size_t)n);
    }
    acknowledge(t, 1, 1, 0);
    lose(t, 1, true);
    add_worker(t, 2, true);
    assert_int_equal(
        frame_decode(&f, t->links[2].out.data, t->links[2].out.len), 0);
    assert_int_equal(f.flag, want[2]); /* it would not know what it means */
    finish(t);
}

static void keeps_the_type_of_what_is_given_again(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct router_features features = {.acks = true, .types = true};

    add_worker_with(t, 0, features);
    say_typed(t, 0, FRAME_FLAG_BINARY, "a");
    lose(t, 0, true);
    add_worker_with(t, 1, features);
    assert_string_equal(next_event(&t->links[1]), "TYPES 0 ");
    assert_string_equal(next_event(&t->links[1]), "ACK 0 ");
    assert_int_equal(next_flag(&t->links[1]),
        FRAME_FLAG_STRING | FRAME_FLAG_AGAIN | FRAME_FLAG_BINARY);
    finish(t);
}

/* Two ways to leave: before the worker is lost, and before it is settled. */
static void gives_again_the_events_of_clients_that_left(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct frame f;

    assert_int_equal(addr_parse(&t->client[0]->peer, "[2001:db8::1]:4000"), 0);
    assert_int_equal(
        roster_set_session(t->roster, t->client[0], "a:0:{}", 6), 0);
    add_acking(t, 0);
    say(t, 0, "a");
    say(t, 1, "b");
    leave(t, 0);
    router_remove_worker(t->router, t->workers[0]);
    leave(t, 1);
    router_settle(t->router, t->workers[0], t->roster, true);
    add_acking(t, 1);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 2 b");
    assert_memory_equal(next_event(&t->links[1]), "ON_CLOSE 2 a:7:", 15);
    assert_int_equal(frame_decode(&f, t->links[1].out.data,
                         FRAME_HEAD_LEN + FRAME_IPV6_LEN + 7),
        0);
    assert_int_equal(f.client_port, 4000);
    assert_int_equal(f.client_ip6[15], 1);
    assert_memory_equal(f.ext, "a:0:{}", 6);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 a");
    assert_memory_equal(next_event(&t->links[1]), "ON_CLOSE 1 a:7:", 15);
    assert_string_equal(next_event(&t->links[1]), "");
    finish(t);
}

/* As that of a client that is still there is the newest. */
static void gives_again_the_last_session_of_clients_that_left(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct frame f;

    add_acking(t, 0);
    say(t, 0, "a");
    assert_int_equal(roster_set_session(t->roster, t->client[0], "i:1;", 4), 0);
    leave(t, 0);
    lose(t, 0, true);
    add_acking(t, 1);
    for (int i = 0; i < 2; i++) {
        struct buf *out = &t->links[1].out;
        ssize_t n = frame_measure(out->data, out->len, FRAME_MAX_LEN);

        assert_int_equal(frame_decode(&f, out->data, (size_t)n), 0);
        assert_int_equal(f.ext_len, 4);
        assert_memory_equal(f.ext, "i:1;", 4);
        buf_consume(out, (size_t)n);
    }
    finish(t);
}

static void drops_and_counts_when_nobody_knows_what_was_begun(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    say(t, 0, "b");
    acknowledge(t, 0, 1, 1);
    lose(t, 0, false);
    assert_int_equal(router_counters(t->router)->lost, 1);
    assert_int_equal(router_counters(t->router)->again, 0);
    assert_int_equal(router_held_count(t->router), 0);
    finish(t);
}

/* 60 events of 1028 bytes, which is all that the worker may have, of one whose
 * share they are within. */
static struct test *start_full(char text[1001])
{
    struct router_conf conf = router_defaults;
    struct test *t;

    conf.high_water = 60 * 1028;
    conf.client_share = 1 << 20;
    t = start_with(conf);
    memset(text, 'x', 1000);
    text[1000] = '\0';
    add_acking(t, 0);
    for (int n = 0; n < 60; n++)
        say(t, 0, text);
    buf_clear(&t->links[0].out);
    return t;
}

static void pauses_the_clients_of_a_worker_that_does_not_take(void **state)
{
    char text[1001];
    struct test *t = start_full(text);

    say(t, 1, "a"); /* little passes, now it has more than it may */
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 2 a");
    say(t, 2, "b");
    assert_true(t->sockets[2].paused);
    acknowledge(t, 0, 45, 0);
    assert_true(t->sockets[2].paused);
    acknowledge(t, 0, 1, 0);
    assert_false(t->sockets[2].paused);
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 3 b");
    assert_string_equal(next_event(&t->links[0]), "");
    finish(t);
}

static void holds_what_a_worker_has_no_room_for(void **state)
{
    char text[1001];
    struct test *t = start_full(text);

    say(t, 1, text);
    assert_true(t->sockets[1].paused);
    say(t, 2, "a");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 3 a");
    acknowledge(t, 0, 30, 0);
    assert_true(t->sockets[1].paused);
    acknowledge(t, 0, 1, 0);
    assert_false(t->sockets[1].paused); /* half is free */
    assert_memory_equal(next_event(&t->links[0]), "ON_MESSAGE 2 x", 14);
    assert_string_equal(next_event(&t->links[0]), "");
    finish(t);
}

/* The mark is still full when what it waits for begins. */
static void gives_a_client_more_when_its_little_has_begun(void **state)
{
    char text[1001];
    struct test *t = start_full(text);

    text[400] = '\0';
    say(t, 1, text);
    say(t, 1, text);
    assert_int_equal(router_held_count(t->router), 1);
    assert_int_equal(acknowledge_waits(t, 0, 60), 0); /* it is taken */
    assert_int_equal(acknowledge(t, 0, 1, 0), 0);     /* and begins */
    assert_int_equal(router_held_count(t->router), 0);
    finish(t);
}

static void notices_a_worker_that_lies(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    assert_int_equal(
        router_acknowledge(t->router, t->workers[0], t->roster, "x", 1),
        -EPROTO);
    assert_int_equal(acknowledge(t, 0, 1, 2), -EPROTO);
    assert_int_equal(acknowledge(t, 0, 1, 0), -EPROTO);
    finish(t);
}

static void pings_every_worker(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_worker(t, 0, false);
    add_worker(t, 1, false);
    router_ping_workers(t->router);
    assert_string_equal(next_event(&t->links[0]), "PING 0 ");
    assert_string_equal(next_event(&t->links[1]), "PING 0 ");
    finish(t);
}

/* The least CPU time, in seconds, of ten drains of worker 1 while n clients
 * wait for worker 0, which has no room. */
static double drain_beside(size_t n)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);
    struct client_conn *sockets = xcalloc(n, sizeof(*sockets));
    struct client **clients = xcalloc(n, sizeof(struct client *));
    const union addr peer = {.in = {.sin_family = AF_INET}};
    double least = 1e9;

    add_worker(t, 0, false);
    for (size_t i = 0; i < n; i++) {
        clients[i] = roster_add(t->roster, &sockets[i], &peer, 0);
        router_forward(t->router, clients[i], FRAME_ON_MESSAGE, 0, "x", 1);
    }
    t->links[0].full = true;
    add_worker(t, 1, false);
    for (size_t i = 0; i < n; i++)
        router_forward(t->router, clients[i], FRAME_ON_MESSAGE, 0, "y", 1);
    router_drained(t->router);
    for (int batch = 0; batch < 10; batch++) {
        clock_t before = clock();

        for (int i = 0; i < 1000; i++)
            router_drained(t->router);
        if ((double)(clock() - before) / CLOCKS_PER_SEC < least)
            least = (double)(clock() - before) / CLOCKS_PER_SEC;
    }
    assert_int_equal(router_held_count(t->router), n);
    t->links[0].full = false;
    buf_clear(&t->links[0].out);
    router_drained(t->router);
    assert_int_equal(router_held_count(t->router), 0);
    for (size_t i = 0; i < n; i++) { /* in the order in which they came */
        char expected[32];

        snprintf(expected, sizeof(expected), "ON_MESSAGE %u y", clients[i]->id);
        assert_string_equal(next_event(&t->links[0]), expected);
    }
    for (size_t i = 0; i < n; i++) {
        roster_remove(t->roster, clients[i]);
        clients[i]->conn = NULL;
        roster_release(clients[i]);
    }
    free(clients);
    free(sockets);
    finish(t);
    return least;
}

static void does_not_pass_those_of_a_full_worker_again(void **state)
{
    double few = drain_beside(100);
    double many = drain_beside(10000);

    assert_true(many < 5 * few + 1e-3);
}

static void frees_a_client_from_a_full_worker_with_its_uid(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_HASH_UID);
    int first;

    add_worker(t, 0, false);
    say(t, 0, "x");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 x");
    t->links[0].full = true;
    add_worker(t, 1, false);
    say(t, 0, "y");
    router_drained(t->router);
    assert_int_equal(router_held_count(t->router), 1);
    for (first = 0; router_held_count(t->router) == 1 && first < 100; first++) {
        char uid[16];

        snprintf(uid, sizeof(uid), "uid %d", first);
        roster_bind_uid(t->roster, t->client[0], uid, strlen(uid));
        router_uid_bound(t->router, t->client[0]);
        router_drained(t->router);
    }
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 y");
    finish(t);
}

/* What the next packet, an ARRIVED, says. */
static uint64_t next_arrival(struct conn *link)
{
    struct frame f;
    ssize_t n = frame_measure(link->out.data, link->out.len, FRAME_MAX_LEN);
    uint64_t arrived;

    assert_true(n > 0);
    assert_int_equal(frame_decode(&f, link->out.data, (size_t)n), 0);
    assert_int_equal(f.cmd, FRAME_ARRIVED);
    assert_int_equal(f.body_len, FRAME_ARRIVED_LEN);
    arrived = get64(f.body);
    buf_consume(&link->out, (size_t)n);
    return arrived;
}

static void tells_when_events_came(void **state)
{
    struct router_conf conf = router_defaults;
    struct testloop loop;
    struct test *t;
    uint64_t first, second;

    testloop_open(&loop);
    conf.turn = turn_new(&loop.loop);
    t = start_with(conf);
    add_worker_with(t, 0, (struct router_features){.arrived = true});
    say(t, 0, "a");
    say(t, 1, "b");
    first = next_arrival(&t->links[0]);
    assert_true(first > 0 && first <= uv_hrtime());
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 2 b");
    t->links[0].full = true;
    say(t, 0, "c");
    testloop_spin(&loop, turn_woken(conf.turn) > first);
    say(t, 1, "d");
    testloop_turns(&loop, 1);
    t->links[0].full = false;
    router_drained(t->router);
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 c");
    second = next_arrival(&t->links[0]); /* not when the link had room */
    assert_true(second > first);
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 2 d");
    assert_string_equal(next_event(&t->links[0]), "");
    router_remove_worker(t->router, t->workers[0]);
    add_worker(t, 1, true);
    say(t, 0, "e"); /* to one who has not asked */
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 e");
    finish(t);
    turn_close(conf.turn);
    testloop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_client_in_the_head),
        cmocka_unit_test(tells_types_to_those_who_want_them),
        cmocka_unit_test(gives_new_clients_to_the_least_busy_and_keeps_them),
        cmocka_unit_test(holds_events_until_a_worker_comes),
        cmocka_unit_test(tells_when_events_came),
        cmocka_unit_test(stops_reading_while_the_link_is_full),
        cmocka_unit_test(does_not_give_new_clients_to_a_full_link),
        cmocka_unit_test(moves_the_clients_of_a_lost_worker),
        cmocka_unit_test(lets_a_worker_with_the_same_key_go_on),
        cmocka_unit_test(tells_what_was_bound_only_to_those_who_asked),
        cmocka_unit_test(names_ipv6_clients_only_to_those_who_asked),
        cmocka_unit_test(closes_those_of_which_most_waits_when_too_much_does),
        cmocka_unit_test(closes_once),
        cmocka_unit_test(hashes_alike_wherever_a_worker_stands),
        cmocka_unit_test(hashes_by_uid_from_the_binding_on),
        cmocka_unit_test(spreads_at_random),
        cmocka_unit_test(asks_a_function_once_for_each_binding),
        cmocka_unit_test(asks_a_function_only_when_a_worker_has_room),
        cmocka_unit_test(takes_the_least_busy_when_a_function_names_none),
        cmocka_unit_test(pings_every_worker),
        cmocka_unit_test(asks_before_the_first_event_for_acknowledgements),
        cmocka_unit_test(gives_others_what_a_lost_worker_did_not_begin),
        cmocka_unit_test(keeps_later_events_behind_those_not_begun),
        cmocka_unit_test(holds_what_was_not_begun_until_a_worker_comes),
        cmocka_unit_test(keeps_their_order_when_the_next_worker_is_lost_too),
        cmocka_unit_test(marks_what_is_given_again),
        cmocka_unit_test(keeps_the_type_of_what_is_given_again),
        cmocka_unit_test(gives_again_the_events_of_clients_that_left),
        cmocka_unit_test(gives_again_the_last_session_of_clients_that_left),
        cmocka_unit_test(drops_and_counts_when_nobody_knows_what_was_begun),
        cmocka_unit_test(pauses_the_clients_of_a_worker_that_does_not_take),
        cmocka_unit_test(holds_what_a_worker_has_no_room_for),
        cmocka_unit_test(gives_a_client_more_when_its_little_has_begun),
        cmocka_unit_test(notices_a_worker_that_lies),
        cmocka_unit_test(does_not_pass_those_of_a_full_worker_again),
        cmocka_unit_test(frees_a_client_from_a_full_worker_with_its_uid),
    };

    return cmocka_run_group_tests_name("gateway.router", tests, NULL, NULL);
}
