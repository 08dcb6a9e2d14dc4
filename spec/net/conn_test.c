#include "testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "net/conn.h"
#include "util/buf.h"
#include "wire/framing.h"

/* What a conn's callbacks saw, and what they shall do. */
struct side {
    struct conn *conn;
    struct buf got; /* packets' messages, joined */
    size_t packets;
    size_t drains;
    size_t closes;
    int err;             /* of on_close */
    size_t close_after;  /* packets; conn_close() in on_packet */
    size_t flush_after;  /* packets; conn_close_flushed() in on_packet */
    size_t pause_every;  /* packets; conn_pause() in on_packet */
    bool echo;           /* send the packet back */
    bool close_on_drain; /* conn_close() in on_drain */
};

struct fixture {
    struct testloop t;
    struct turn *turn;
    struct side a;
    struct side b;
    int fd; /* the plain other end, when b has no conn */
};

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct side *s = arg;
    struct framing_message m = framing_reply_message(packet, len);

    s->packets++;
    buf_append(&s->got, m.data, m.len);
    if (s->echo)
        buf_append(conn_out(c), packet, len);
    if (s->pause_every && s->packets % s->pause_every == 0)
        conn_pause(c);
    if (s->packets == s->close_after) {
        conn_close(c);
        s->conn = NULL;
    }
    if (s->packets == s->flush_after) {
        conn_close_flushed(c);
        s->conn = NULL;
    }
}

static void on_drain(struct conn *c, void *arg)
{
    struct side *s = arg;

    s->drains++;
    if (s->close_on_drain) {
        conn_close(c);
        s->conn = NULL;
    }
}

static void on_close(struct conn *c, int err, void *arg)
{
    struct side *s = arg;

    s->closes++;
    s->err = err;
    s->conn = NULL;
    conn_close(c); /* an owner may not know better: harmless */
}

static const struct conn_ops ops = {
    .measure = framing_reply_measure,
    .on_packet = on_packet,
    .on_drain = on_drain,
    .on_close = on_close,
};

static const struct conn_limits limits = {
    .packet_max = 16 * 1024 * 1024,
    .high_water = 64 * 1024,
};

static void open_pair(int fds[2])
{
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2];

    testloop_open(&f->t);
    f->turn = turn_new(&f->t.loop);
    open_pair(fds);
    f->a.conn = conn_open(f->turn, fds[0], &ops, &limits, &f->a);
    f->fd = fds[1];
    *state = f;
    return 0;
}

/* Give the plain end a conn of its own. */
static void open_b(struct fixture *f)
{
    f->b.conn = conn_open(f->turn, f->fd, &ops, &limits, &f->b);
    f->fd = -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->a.conn)
        conn_close(f->a.conn);
    if (f->b.conn)
        conn_close(f->b.conn);
    if (f->fd >= 0)
        close(f->fd);
    turn_close(f->turn);
    testloop_close(&f->t);
    buf_fini(&f->a.got);
    buf_fini(&f->b.got);
    free(f);
    return 0;
}

static void say(struct fixture *f, const char *text)
{
    struct buf b = {0};

    framing_reply_encode(&b, text, strlen(text));
    assert_int_equal(write(f->fd, b.data, b.len), b.len);
    buf_fini(&b);
}

/* Bytes that tell their place. */
static void fill(uint8_t *data, size_t len, size_t seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

static void put_pattern(struct buf *out, size_t len, size_t seed)
{
    uint8_t *data = malloc(len + 1);

    fill(data, len, seed);
    framing_reply_encode(out, data, len);
    free(data);
}

static void check_pattern(
    const struct buf *got, size_t at, size_t len, size_t seed)
{
    uint8_t *data = malloc(len + 1);

    fill(data, len, seed);
    assert_true(at + len <= got->len);
    assert_memory_equal(got->data + at, data, len);
    free(data);
}

static void check_got(const struct side *s, const char *want)
{
    assert_int_equal(s->got.len, strlen(want));
    if (s->got.len > 0)
        assert_memory_equal(s->got.data, want, s->got.len);
}

static void brings_packets_that_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    struct buf b = {0};

    framing_reply_encode(&b, "hello", 5);
    framing_reply_encode(&b, "", 0);
    framing_reply_encode(&b, "world", 5);
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(write(f->fd, b.data + i, 1), 1);
        testloop_turns(&f->t, 1);
        assert_int_equal(f->a.packets, i < 8 ? 0 : i < 12 ? 1 : i < 21 ? 2 : 3);
    }
    check_got(&f->a, "helloworld");
    assert_int_equal(conn_bytes_in(f->a.conn), b.len);
    buf_fini(&b);
}

static void brings_every_packet_of_one_read(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++)
        say(f, "x");
    testloop_until(&f->t, f->a.packets == 100);
    assert_int_equal(f->a.got.len, 100);
}

static void sends_once_at_the_end_of_the_turn(void **state)
{
    struct fixture *f = *state;
    char data[64];

    buf_append_str(conn_out(f->a.conn), "one ");
    buf_append_str(conn_out(f->a.conn), "two");
    assert_int_equal(conn_queued(f->a.conn), 7);
    assert_int_equal(read(f->fd, data, sizeof(data)), -1);
    assert_int_equal(errno, EAGAIN);
    testloop_turns(&f->t, 1);
    assert_int_equal(read(f->fd, data, sizeof(data)), 7);
    assert_memory_equal(data, "one two", 7);
    assert_int_equal(conn_queued(f->a.conn), 0);
    assert_int_equal(conn_bytes_out(f->a.conn), 7);
}

static void carries_packets_larger_than_any_buffer(void **state)
{
    struct fixture *f = *state;
    const size_t len = 7 * 1024 * 1024 + 3;

    open_b(f);
    put_pattern(conn_out(f->a.conn), len, 1);
    put_pattern(conn_out(f->a.conn), 10, 2);
    testloop_until(&f->t, f->b.packets == 2);
    check_pattern(&f->b.got, 0, len, 1);
    check_pattern(&f->b.got, len, 10, 2);
    assert_int_equal(conn_queued(f->a.conn), 0);
    assert_int_equal(conn_bytes_out(f->a.conn), len + 10 + 8);
    assert_int_equal(conn_bytes_in(f->b.conn), len + 10 + 8);
}

static void keeps_order_over_packets_of_all_sizes(void **state)
{
    struct fixture *f = *state;
    size_t want = 0;
    uint32_t random = 1;

    open_b(f);
    f->a.echo = true;
    f->a.pause_every = 7;
    f->b.pause_every = 5;
    for (size_t i = 0; i < 300; i++) {
        size_t len;

        random = random * 1664525 + 1013904223;
        len = i % 50 == 0 ? random >> 12 : random >> (16 + i % 12);
        put_pattern(conn_out(f->b.conn), len, want);
        want += len;
        testloop_turns(&f->t, (int)(i % 3));
        conn_resume(i % 2 ? f->a.conn : f->b.conn);
    }
    while (f->b.packets < 300) {
        assert_false(f->t.expired);
        conn_resume(f->a.conn);
        conn_resume(f->b.conn);
        uv_run(&f->t.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(f->b.got.len, want);
    check_pattern(&f->a.got, 0, f->a.got.len, 0);
    check_pattern(&f->b.got, 0, want, 0);
}

/* Read everything there is from the plain end into *total. */
static void swallow(struct fixture *f, struct buf *into)
{
    char data[65536];
    ssize_t n;

    while ((n = read(f->fd, data, sizeof(data))) > 0)
        buf_append(into, data, (size_t)n);
}

static void tells_when_a_full_queue_has_drained(void **state)
{
    struct fixture *f = *state;
    const size_t len = 4 * 1024 * 1024;
    struct buf read_back = {0};

    put_pattern(conn_out(f->a.conn), len, 9);
    assert_true(conn_is_full(f->a.conn));
    testloop_turns(&f->t, 5);
    assert_true(conn_is_full(f->a.conn));
    assert_int_equal(f->a.drains, 0);
    put_pattern(conn_out(f->a.conn), 5, 3); /* behind what is in flight */
    while (read_back.len < len + 5 + 8) {
        assert_false(f->t.expired);
        assert_true(f->a.drains == 0 || conn_queued(f->a.conn) <= 16 * 1024);
        swallow(f, &read_back);
        uv_run(&f->t.loop, UV_RUN_NOWAIT);
    }
    testloop_turns(&f->t, 2);
    assert_int_equal(f->a.drains, 1);
    assert_false(conn_is_full(f->a.conn));
    check_pattern(&read_back, 4, len, 9);
    check_pattern(&read_back, len + 8, 5, 3);
    buf_fini(&read_back);
}

static void tells_of_a_queue_that_drained_within_its_turn(void **state)
{
    struct fixture *f = *state;

    put_pattern(conn_out(f->a.conn), limits.high_water + 1, 0);
    assert_true(conn_is_full(f->a.conn));
    testloop_turns(&f->t, 1);
    assert_int_equal(f->a.drains, 1);
}

static void may_be_closed_when_it_drains(void **state)
{
    struct fixture *f = *state;
    struct buf read_back = {0};

    f->a.close_on_drain = true;
    put_pattern(conn_out(f->a.conn), 1024 * 1024, 9);
    while (f->a.conn) {
        assert_false(f->t.expired);
        swallow(f, &read_back);
        uv_run(&f->t.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(f->a.drains, 1);
    assert_int_equal(f->a.closes, 0);
    buf_fini(&read_back);
}

static void holds_packets_while_paused(void **state)
{
    struct fixture *f = *state;

    f->a.pause_every = 2;
    for (int i = 0; i < 5; i++)
        say(f, "x");
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.packets, 2);
    conn_resume(f->a.conn);
    assert_int_equal(f->a.packets, 2); /* not inside the call */
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.packets, 4);
    say(f, "y");
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.packets, 4);
    f->a.pause_every = 0;
    conn_resume(f->a.conn);
    testloop_until(&f->t, f->a.packets == 6);
    check_got(&f->a, "xxxxxy");
}

static void holds_a_large_packet_while_paused(void **state)
{
    struct fixture *f = *state;
    const size_t len = 3 * 1024 * 1024;

    open_b(f);
    f->b.pause_every = 1;
    put_pattern(conn_out(f->a.conn), 3, 0);
    put_pattern(conn_out(f->a.conn), len, 3);
    put_pattern(conn_out(f->a.conn), 3, 3 + len);
    while (f->b.packets < 3) {
        assert_false(f->t.expired);
        conn_resume(f->b.conn);
        uv_run(&f->t.loop, UV_RUN_NOWAIT);
    }
    check_pattern(&f->b.got, 0, len + 6, 0);
}

static void delivers_nothing_after_a_pause_taken_back_in_vain(void **state)
{
    struct fixture *f = *state;

    conn_pause(f->a.conn);
    conn_resume(f->a.conn);
    conn_pause(f->a.conn);
    say(f, "x");
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.packets, 0);
    conn_resume(f->a.conn);
    testloop_until(&f->t, f->a.packets == 1);
}

static void may_be_closed_by_a_packet(void **state)
{
    struct fixture *f = *state;

    f->a.close_after = 2;
    for (int i = 0; i < 5; i++)
        say(f, "x");
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.packets, 2);
    assert_int_equal(f->a.closes, 0);
}

static void may_be_closed_by_a_packet_it_held(void **state)
{
    struct fixture *f = *state;

    f->a.pause_every = 1;
    f->a.close_after = 2;
    for (int i = 0; i < 5; i++)
        say(f, "x");
    testloop_turns(&f->t, 2);
    conn_resume(f->a.conn);
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.packets, 2);
    assert_int_equal(f->a.closes, 0);
}

static void tells_of_the_peers_end(void **state)
{
    struct fixture *f = *state;

    say(f, "last");
    shutdown(f->fd, SHUT_WR);
    testloop_until(&f->t, f->a.closes == 1);
    assert_int_equal(f->a.err, 0);
    check_got(&f->a, "last");
}

static void closes_what_claims_too_much(void **state)
{
    struct fixture *f = *state;

    say(f, "ok");
    assert_int_equal(write(f->fd, "\x7f\xff\xff\xff", 4), 4);
    testloop_until(&f->t, f->a.closes == 1);
    assert_int_equal(f->a.err, -EMSGSIZE);
    check_got(&f->a, "ok");
}

static void believes_larger_packets_once_told_to(void **state)
{
    struct fixture *f = *state;

    conn_set_packet_max(f->a.conn, 8);
    say(f, "small");
    testloop_until(&f->t, f->a.packets == 1);
    conn_set_packet_max(f->a.conn, 16);
    say(f, "larger than 8");
    testloop_until(&f->t, f->a.packets == 2);
    say(f, "larger than sixteen");
    testloop_until(&f->t, f->a.closes == 1);
    assert_int_equal(f->a.err, -EMSGSIZE);
}

static void closes_bad_input_that_a_pause_held(void **state)
{
    struct fixture *f = *state;

    f->a.pause_every = 1;
    say(f, "ok");
    assert_int_equal(write(f->fd, "\x7f\xff\xff\xff", 4), 4);
    testloop_turns(&f->t, 3);
    assert_int_equal(f->a.closes, 0);
    conn_resume(f->a.conn);
    assert_int_equal(f->a.closes, 0);
    testloop_until(&f->t, f->a.closes == 1);
    assert_int_equal(f->a.err, -EMSGSIZE);
}

static void tells_of_a_write_that_failed(void **state)
{
    struct fixture *f = *state;

    conn_pause(f->a.conn); /* so that it does not see the end first */
    close(f->fd);
    f->fd = -1;
    buf_append_str(conn_out(f->a.conn), "too late");
    assert_int_equal(f->a.closes, 0);
    testloop_until(&f->t, f->a.closes == 1);
    assert_int_equal(f->a.err, -EPIPE);
}

static void sends_first_what_must_go_first(void **state)
{
    struct fixture *f = *state;
    char data[32];

    buf_append_str(conn_out(f->a.conn), "second");
    buf_append_str(conn_out_first(f->a.conn), "first ");
    testloop_turns(&f->t, 1);
    assert_int_equal(read(f->fd, data, sizeof(data)), 12);
    assert_memory_equal(data, "first second", 12);
    assert_int_equal(conn_bytes_out(f->a.conn), 12);
    assert_int_equal(conn_queued(f->a.conn), 0);
}

static void sends_at_once_what_must_be_out(void **state)
{
    struct fixture *f = *state;
    char data[32];

    buf_append_str(conn_out(f->a.conn), "second");
    buf_append_str(conn_out_first(f->a.conn), "first ");
    conn_send_first(f->a.conn, true);
    assert_int_equal(read(f->fd, data, sizeof(data)), 6);
    assert_memory_equal(data, "first ", 6);
    assert_int_equal(conn_queued(f->a.conn), 6);
    testloop_turns(&f->t, 1);
    assert_int_equal(read(f->fd, data, sizeof(data)), 6);
    assert_memory_equal(data, "second", 6);
    assert_int_equal(conn_bytes_out(f->a.conn), 12);
}

static void sends_it_between_packets_when_the_kernel_is_full(void **state)
{
    struct fixture *f = *state;
    const size_t len = 4 * 1024 * 1024;

    put_pattern(conn_out(f->a.conn), len, 0);
    testloop_turns(&f->t, 2);
    assert_true(conn_queued(f->a.conn) > 0);
    put_pattern(conn_out(f->a.conn), 100, 2);
    put_pattern(conn_out_first(f->a.conn), 100, 1);
    conn_send_first(f->a.conn, false);
    testloop_turns(&f->t, 2);
    open_b(f);
    testloop_until(&f->t, f->b.got.len == len + 200);
    assert_int_equal(f->b.packets, 3);
    check_pattern(&f->b.got, 0, len, 0);
    check_pattern(&f->b.got, len, 100, 1);
    check_pattern(&f->b.got, len + 100, 100, 2);
}

static void sends_the_rest_of_it_first(void **state)
{
    struct fixture *f = *state;
    const size_t len = 4 * 1024 * 1024;

    put_pattern(conn_out_first(f->a.conn), len, 0);
    put_pattern(conn_out(f->a.conn), 100, 1);
    conn_send_first(f->a.conn, false);
    assert_true(conn_queued(f->a.conn) > 100);
    open_b(f);
    conn_close_flushed(f->a.conn);
    f->a.conn = NULL;
    testloop_until(&f->t, f->b.got.len == len + 100);
    check_pattern(&f->b.got, 0, len, 0);
    check_pattern(&f->b.got, len, 100, 1);
}

static void delivers_what_came_before_a_write_failed(void **state)
{
    struct fixture *f = *state;

    conn_pause(f->a.conn);
    say(f, "last words");
    close(f->fd);
    f->fd = -1;
    buf_append_str(conn_out(f->a.conn), "too late");
    testloop_until(&f->t, f->a.closes == 1);
    assert_int_equal(f->a.err, -EPIPE);
    check_got(&f->a, "last words");
}

static void tells_of_a_peer_that_dies_while_it_sends(void **state)
{
    struct fixture *f = *state;

    conn_pause(f->a.conn);
    put_pattern(conn_out(f->a.conn), 4 * 1024 * 1024, 0);
    testloop_turns(&f->t, 3);
    assert_true(conn_queued(f->a.conn) > 0);
    close(f->fd);
    f->fd = -1;
    testloop_until(&f->t, f->a.closes == 1);
    assert_true(f->a.err == -EPIPE || f->a.err == -ECONNRESET);
}

static void loses_what_is_queued_when_closed(void **state)
{
    struct fixture *f = *state;
    char byte;

    buf_append_str(conn_out(f->a.conn), "never");
    conn_close(f->a.conn);
    f->a.conn = NULL;
    testloop_turns(&f->t, 2);
    assert_int_equal(read(f->fd, &byte, 1), 0);
}

static void sends_the_rest_before_it_closes_flushed(void **state)
{
    struct fixture *f = *state;
    const size_t len = 2 * 1024 * 1024;

    open_b(f);
    put_pattern(conn_out(f->a.conn), len, 0);
    testloop_turns(&f->t, 1);
    put_pattern(conn_out(f->a.conn), 100, len);
    put_pattern(conn_out(f->b.conn), 100, 0); /* nobody will read this */
    conn_close_flushed(f->a.conn);
    f->a.conn = NULL;
    testloop_until(&f->t, f->b.closes == 1);
    assert_int_equal(f->b.err, 0);
    check_pattern(&f->b.got, 0, len + 100, 0);
    assert_int_equal(f->a.packets, 0);
    assert_int_equal(f->a.closes, 0);
}

static void closes_flushed_with_nothing_to_send(void **state)
{
    struct fixture *f = *state;

    open_b(f);
    conn_close_flushed(f->a.conn);
    f->a.conn = NULL;
    testloop_until(&f->t, f->b.closes == 1);
    assert_int_equal(f->b.err, 0);
    assert_int_equal(f->a.closes, 0);
}

static void closes_flushed_inside_a_packet_and_without_a_turn(void **state)
{
    struct fixture *f = *state;
    char data[64];
    ssize_t n = -1;

    f->a.echo = true;
    f->a.flush_after = 2;
    say(f, "1");
    say(f, "2");
    say(f, "3");
    testloop_until(&f->t, !f->a.conn);
    turn_close(f->turn); /* the role is gone; the bytes still leave */
    while (n != 10) {
        assert_false(f->t.expired);
        uv_run(&f->t.loop, UV_RUN_NOWAIT);
        n = read(f->fd, data, sizeof(data));
    }
    assert_int_equal(f->a.packets, 2);
    assert_int_equal(read(f->fd, data, sizeof(data)), 0);
    f->turn = turn_new(&f->t.loop);
}

static void sends_the_rest_when_its_turn_is_gone(void **state)
{
    struct fixture *f = *state;
    const size_t len = 4 * 1024 * 1024;
    struct turn *turn = turn_new(&f->t.loop);

    put_pattern(conn_out(f->a.conn), len, 0);
    testloop_turns(&f->t, 1);
    put_pattern(conn_out(f->a.conn), 100, len);
    conn_close_flushed(f->a.conn);
    f->a.conn = NULL;
    turn_close(f->turn);
    testloop_turns(&f->t, 2); /* it is freed */
    f->turn = turn;
    open_b(f);
    testloop_until(&f->t, f->b.closes == 1);
    check_pattern(&f->b.got, 0, len + 100, 0);
}

static void waits_for_a_peer_that_does_not_read_only_so_long(void **state)
{
    struct fixture *f = *state;

    put_pattern(conn_out(f->a.conn), 4 * 1024 * 1024, 0);
    conn_close_flushed(f->a.conn);
    f->a.conn = NULL;
    turn_close(f->turn);
    testloop_close(&f->t); /* fails unless the conn goes by itself */
    testloop_open(&f->t);
    f->turn = turn_new(&f->t.loop);
}

static void knows_its_peer_and_when_it_spoke(void **state)
{
    struct fixture *f = *state;
    union addr addr;
    union addr local;
    socklen_t len = sizeof(local);
    int bound = testloop_bind(&addr);
    int fd;

    assert_int_equal(conn_peer(f->a.conn)->sa.sa_family, AF_UNIX);
    assert_int_equal(listen(bound, 1), 0);
    fd = testloop_dial(&addr);
    f->b.conn =
        conn_open(f->turn, accept(bound, NULL, NULL), &ops, &limits, &f->b);
    assert_int_equal(getsockname(fd, &local.sa, &len), 0);
    assert_int_equal(addr_port(conn_peer(f->b.conn)), addr_port(&local));
    assert_int_equal(addr_ipv4(conn_peer(f->b.conn)), 0x7f000001);
    assert_int_equal(write(fd, "\0\0\0\1x", 5), 5);
    testloop_until(&f->t, f->b.packets == 1);
    close(fd);
    close(bound);
}

static void refuses_what_is_no_stream(void **state)
{
    struct fixture *f = *state;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    close(fd);
    assert_null(conn_open(f->turn, fd, &ops, &limits, &f->b));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(brings_packets_that_come_byte_by_byte),
        TEST(brings_every_packet_of_one_read),
        TEST(sends_once_at_the_end_of_the_turn),
        TEST(carries_packets_larger_than_any_buffer),
        TEST(keeps_order_over_packets_of_all_sizes),
        TEST(tells_when_a_full_queue_has_drained),
        TEST(tells_of_a_queue_that_drained_within_its_turn),
        TEST(may_be_closed_when_it_drains),
        TEST(holds_packets_while_paused),
        TEST(holds_a_large_packet_while_paused),
        TEST(delivers_nothing_after_a_pause_taken_back_in_vain),
        TEST(may_be_closed_by_a_packet),
        TEST(may_be_closed_by_a_packet_it_held),
        TEST(tells_of_the_peers_end),
        TEST(closes_what_claims_too_much),
        TEST(believes_larger_packets_once_told_to),
        TEST(closes_bad_input_that_a_pause_held),
        TEST(sends_first_what_must_go_first),
        TEST(sends_at_once_what_must_be_out),
        TEST(sends_it_between_packets_when_the_kernel_is_full),
        TEST(sends_the_rest_of_it_first),
        TEST(tells_of_a_write_that_failed),
        TEST(delivers_what_came_before_a_write_failed),
        TEST(tells_of_a_peer_that_dies_while_it_sends),
        TEST(loses_what_is_queued_when_closed),
        TEST(sends_the_rest_before_it_closes_flushed),
        TEST(closes_flushed_with_nothing_to_send),
        TEST(closes_flushed_inside_a_packet_and_without_a_turn),
        TEST(sends_the_rest_when_its_turn_is_gone),
        TEST(waits_for_a_peer_that_does_not_read_only_so_long),
        TEST(knows_its_peer_and_when_it_spoke),
        TEST(refuses_what_is_no_stream),
    };

    return cmocka_run_group_tests_name("net.conn", tests, NULL, NULL);
}
