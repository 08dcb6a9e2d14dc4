/* Workers that acknowledge: what their two links bring and how they end. */
#include "gateway_fixture.h"

#include "wire/ack.h"

/* A worker with both links. */
struct acking {
    struct peer *commands, *events;
};

static uint16_t local_port(const struct peer *p)
{
    union addr own;
    socklen_t len = sizeof(own);

    assert_int_equal(getsockname(p->fd, &own.sa, &len), 0);
    return addr_port(&own);
}

static struct acking join_acking(struct test *t, const char *key)
{
    static const char *const ack[] = {"ack", NULL};
    struct acking w = {dial(t, &t->inner), dial(t, &t->inner)};
    struct buf json = {0};
    size_t len;
    struct frame f;

    cmdjson_put_auth(&json, key, "", ack, local_port(w.commands));
    buf_append_byte(&json, 0);
    command(w.events, FRAME_WORKER_CONNECT, 0, "", (char *)json.data);
    buf_fini(&json);
    UNTIL(t, (len = packet_len(w.events)) > 0);
    assert_int_equal(frame_decode(&f, w.events->in.data, len), 0);
    assert_int_equal(f.cmd, FRAME_ACK);
    buf_consume(&w.events->in, len);
    return w;
}

static void acknowledge(struct acking *w, uint32_t taken, uint32_t ended)
{
    struct buf none = {0}, body = {0}, packet = {0};
    struct frame f = {.cmd = FRAME_ACK};

    ack_put(&body, taken, ended, &none, &none);
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    put(w->commands, packet.data, packet.len);
    buf_fini(&body);
    buf_fini(&packet);
}

static void leave(struct acking *w)
{
    hang_up(w->events);
    hang_up(w->commands);
}

/* A client of worker a that has said "1" to "3", and a second worker b. */
struct scene {
    struct test *t;
    struct acking a, b;
    struct peer *client;
};

static struct scene set_scene(void)
{
    struct scene s = {.t = serve(CLIENT_IO_TEXT)};

    s.a = join_acking(s.t, "w:0");
    UNTIL(s.t, s.t->ready);
    s.client = dial(s.t, &s.t->outer);
    expect_event(s.a.events, "ON_CONNECT 1 ");
    s.b = join_acking(s.t, "w:1");
    put_str(s.client, "1\n2\n3\n");
    expect_event(s.a.events, "ON_MESSAGE 1 1");
    expect_event(s.a.events, "ON_MESSAGE 1 2");
    expect_event(s.a.events, "ON_MESSAGE 1 3");
    return s;
}

/* a is gone already. */
static void strike(struct scene *s)
{
    hang_up(s->client);
    leave(&s->b);
    finish(s->t);
}

/* The process is killed: what it wrote to one link may come after the end of
 * the other. */
static void waits_for_the_last_word_of_a_lost_worker(void **state)
{
    struct scene s = set_scene();

    hang_up(s.a.events);
    UNTIL(s.t, status(s.t).workers == 1);
    put_str(s.client, "4\n");
    UNTIL(s.t, status(s.t).events_held == 1);
    acknowledge(&s.a, 2, 2);
    hang_up(s.a.commands);
    expect_event(s.b.events, "ON_MESSAGE 1 2");
    expect_event(s.b.events, "ON_MESSAGE 1 3");
    expect_event(s.b.events, "ON_MESSAGE 1 4");
    assert_int_equal(status(s.t).events_again, 2);
    assert_int_equal(status(s.t).events_cut_off, 0);
    assert_int_equal(status(s.t).events_dropped, 0);
    assert_int_equal(status(s.t).events_unbegun, 3);
    strike(&s);
}

static void ends_the_event_link_when_the_other_one_ends(void **state)
{
    struct scene s = set_scene();

    acknowledge(&s.a, 3, 1);
    hang_up(s.a.commands);
    UNTIL(s.t, has_ended(s.a.events));
    hang_up(s.a.events);
    expect_event(s.b.events, "ON_MESSAGE 1 3");
    assert_int_equal(status(s.t).events_again, 1);
    assert_int_equal(status(s.t).events_cut_off, 2);
    strike(&s);
}

static void lets_a_worker_that_comes_again_start_anew(void **state)
{
    struct scene s = set_scene();
    struct acking again = join_acking(s.t, "w:0");

    UNTIL(s.t, has_ended(s.a.events));
    acknowledge(&s.a, 3, 3);
    leave(&s.a);
    UNTIL(s.t, status(s.t).events_again == 1);
    leave(&s.b); /* whoever has it now */
    UNTIL(s.t, status(s.t).workers == 1);
    expect_event(again.events, "ON_MESSAGE 1 3");
    s.b = again;
    strike(&s);
}

static void ends_a_worker_that_acknowledges_too_much(void **state)
{
    struct scene s = set_scene();

    acknowledge(&s.a, 5, 0);
    UNTIL(s.t, has_ended(s.a.commands));
    UNTIL(s.t, has_ended(s.a.events));
    leave(&s.a);
    assert_int_equal(status(s.t).workers, 1);
    assert_true(status(s.t).events_dropped > 0);
    assert_int_equal(status(s.t).events_again, 0);
    strike(&s);
}

/* What comes behind a broken packet is anybody's guess. */
static void ends_both_links_of_a_worker_that_sends_garbage(void **state)
{
    struct scene s = set_scene();

    put(s.a.events, "\0\0\0\5garbage", 11);
    UNTIL(s.t, has_ended(s.a.commands));
    UNTIL(s.t, has_ended(s.a.events));
    leave(&s.a);
    assert_int_equal(status(s.t).workers, 1);
    assert_int_equal(status(s.t).events_dropped, 4);
    put_str(s.client, "4\n");
    expect_event(s.b.events, "ON_MESSAGE 1 4");
    strike(&s);
}

static void ends_links_that_acknowledge_for_nobody(void **state)
{
    struct test *t = serve(CLIENT_IO_TEXT);
    struct acking w = {.commands = dial(t, &t->inner)};

    acknowledge(&w, 0, 0);
    UNTIL(t, has_ended(w.commands));
    hang_up(w.commands);
    finish(t);
}

/* Behind something that hides where the links come from: as ever. */
static void does_without_when_the_other_link_is_not_found(void **state)
{
    static const char *const ack[] = {"ack", NULL};
    struct test *t = serve(CLIENT_IO_TEXT);
    struct peer *worker = join_as(t, "w:0", ack);
    struct peer *client = dial(t, &t->outer);

    expect_event(worker, "ON_CONNECT 1 ");
    assert_int_equal(status(t).events_unbegun, 0);
    hang_up(client);
    hang_up(worker);
    finish(t);
}

static void stops_when_every_event_has_begun(void **state)
{
    struct scene s = set_scene();

    gateway_stop(s.t->gateway, 15);
    UNTIL(s.t, has_ended(s.client));
    expect_event(s.a.events, "ON_CLOSE 1 ");
    for (int i = 0; i < 20; i++)
        uv_run(&s.t->loop, UV_RUN_ONCE);
    assert_int_equal(s.t->stopped, 0);
    acknowledge(&s.a, 5, 5);
    UNTIL(s.t, s.t->stopped);
    leave(&s.a);
    strike(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_the_last_word_of_a_lost_worker),
        cmocka_unit_test(ends_the_event_link_when_the_other_one_ends),
        cmocka_unit_test(lets_a_worker_that_comes_again_start_anew),
        cmocka_unit_test(ends_a_worker_that_acknowledges_too_much),
        cmocka_unit_test(ends_both_links_of_a_worker_that_sends_garbage),
        cmocka_unit_test(ends_links_that_acknowledge_for_nobody),
        cmocka_unit_test(does_without_when_the_other_link_is_not_found),
        cmocka_unit_test(stops_when_every_event_has_begun),
    };

    return cmocka_run_group_tests_name("gateway.inner", tests, NULL, NULL);
}
