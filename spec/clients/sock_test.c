/* What the owner of a socket hears of it, over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/sock.h"
#include "net/clock.h"

struct test {
    uv_loop_t loop;
    struct turn *turn;
    struct sock sock;
    int peer;
    unsigned writable, hangups;
    size_t bytes;
    bool closed;
};

static struct test *test_of(struct sock *s)
{
    return (struct test *)((char *)s - offsetof(struct test, sock));
}

static void on_bytes(struct sock *s, uint8_t *data, size_t len)
{
    if (s->interest != SOCK_BYTES)
        fail_msg("%zu bytes that nobody wants to hear", len);
    test_of(s)->bytes += len;
}

static void on_writable(struct sock *s)
{
    test_of(s)->writable++;
}

static void on_hangup(struct sock *s)
{
    test_of(s)->hangups++;
    s->interest = SOCK_NOTHING;
}

static void on_closed(struct sock *s)
{
    test_of(s)->closed = true;
}

static const struct sock_ops ops = {.on_bytes = on_bytes,
    .on_writable = on_writable,
    .on_hangup = on_hangup,
    .on_closed = on_closed};

static int set_up(void **state)
{
    static struct test t;
    int fds[2];

    t = (struct test){0};
    assert_int_equal(clock_loop_init(&t.loop), 0);
    t.turn = turn_new(&t.loop);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    t.peer = fds[1];
    assert_int_equal(sock_open(&t.sock, t.turn, fds[0], NULL, &ops), 0);
    *state = &t;
    return 0;
}

static int tear_down(void **state)
{
    struct test *t = *state;

    close(t->peer);
    sock_close(&t->sock);
    while (!t->closed)
        uv_run(&t->loop, UV_RUN_ONCE);
    turn_close(t->turn);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&t->loop);
}

static void room_to_write_is_no_hangup(void **state)
{
    struct test *t = *state;

    t->sock.interest = SOCK_HANGUP;
    t->sock.blocked = true;
    sock_watch(&t->sock);
    while (t->writable + t->hangups == 0)
        uv_run(&t->loop, UV_RUN_ONCE);
    assert_int_equal(t->writable, 1);
    assert_int_equal(t->hangups, 0);
    assert_false(t->sock.blocked);
}

static void a_peer_that_leaves_is_heard_of_once(void **state)
{
    struct test *t = *state;

    t->sock.interest = SOCK_HANGUP;
    sock_watch(&t->sock);
    assert_int_equal(write(t->peer, "x", 1), 1); /* which is not read */
    shutdown(t->peer, SHUT_WR);
    while (t->hangups == 0)
        uv_run(&t->loop, UV_RUN_ONCE);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    assert_int_equal(t->hangups, 1);
}

/* Turns of the loop that do not sleep, with the descriptor's events. */
static void turn_often(struct test *t)
{
    for (int i = 0; i < 5; i++)
        uv_run(&t->loop, UV_RUN_NOWAIT);
}

static void what_is_not_wanted_is_told_later_and_wakes_nobody_twice(
    void **state)
{
    struct test *t = *state;

    t->sock.interest = SOCK_BYTES;
    sock_watch(&t->sock);
    assert_int_equal(write(t->peer, "a", 1), 1);
    while (t->bytes < 1)
        uv_run(&t->loop, UV_RUN_ONCE);
    t->sock.interest = SOCK_HANGUP;
    sock_watch(&t->sock);
    t->sock.interest = SOCK_NOTHING;
    sock_watch(&t->sock);
    assert_int_equal(write(t->peer, "b", 1), 1);
    turn_often(t);
    assert_int_equal(t->bytes, 1);
    assert_false(uv_is_active((uv_handle_t *)&t->sock.poll));
    t->sock.interest = SOCK_BYTES;
    sock_watch(&t->sock);
    while (t->bytes < 2)
        uv_run(&t->loop, UV_RUN_ONCE);
    assert_int_equal(t->hangups, 0);
}

static void who_waits_for_an_answer_is_watched_as_before(void **state)
{
    struct test *t = *state;
    uint8_t before;

    t->sock.interest = SOCK_HANGUP;
    sock_watch(&t->sock);
    t->sock.interest = SOCK_BYTES;
    sock_watch(&t->sock);
    before = t->sock.events;
    for (int i = 0; i < 3; i++) { /* request, call, answer */
        t->sock.interest = SOCK_HANGUP;
        sock_watch(&t->sock);
        assert_int_equal(t->sock.events, before);
        t->sock.interest = SOCK_BYTES;
        sock_watch(&t->sock);
        assert_int_equal(t->sock.events, before);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(room_to_write_is_no_hangup),
        TEST(a_peer_that_leaves_is_heard_of_once),
        TEST(what_is_not_wanted_is_told_later_and_wakes_nobody_twice),
        TEST(who_waits_for_an_answer_is_watched_as_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
