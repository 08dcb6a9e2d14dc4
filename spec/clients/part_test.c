/* What clients have begun to say: its memory, and the time it may take. */
#include "port_fixture.h"

#include "util/log.h"

/* Let the loop turn until the server has read all that we sent. */
static void put_and_wait(struct test *t, int fd, const void *data, size_t len)
{
    uint64_t want = port_counters(t->port)->bytes_in + len;

    put(t, fd, data, len);
    UNTIL(t, port_counters(t->port)->bytes_in >= want);
}

static size_t unfinished(const struct test *t)
{
    return port_counters(t->port)->unfinished;
}

static void expect_close(struct test *t, int fd, int code)
{
    struct buf in = {0}, payload = {0};

    assert_int_equal(get_frame(t, fd, &in, &payload), 0x88);
    assert_int_equal(payload.data[0] << 8 | payload.data[1], code);
    buf_fini(&in);
    buf_fini(&payload);
}

/* Frames of size bytes each, as one text message of count. */
static void put_fragments(struct test *t, int fd, size_t count, size_t size)
{
    struct buf frames = {0};

    for (size_t i = 0; i < count; i++) {
        buf_append_byte(
            &frames, (uint8_t)((i == 0) | (i == count - 1 ? 0x80 : 0)));
        buf_append_byte(&frames, (uint8_t)(0x80 | size));
        buf_append(&frames, "\0\0\0\0", 4);
        memset(buf_extend(&frames, size), 'x', size);
    }
    put(t, fd, frames.data, frames.len);
    buf_fini(&frames);
}

static void a_message_may_have_any_number_of_fragments(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    put_fragments(t, fd, 100000, 10);
    UNTIL(t, t->messages == 1);
    assert_true(heard(t, "text of 1000000\n"));
    assert_int_equal(unfinished(t), 0);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void empty_fragments_take_no_memory(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);
    size_t most = 0;

    put_frame(t, fd, 0x01, "hi", 2);
    for (int i = 0; i < 20000; i++) {
        put_and_wait(t, fd, "\0\x80\0\0\0\0", 6);
        most = unfinished(t) > most ? unfinished(t) : most;
    }
    put_frame(t, fd, 0x80, "", 0);
    UNTIL(t, t->messages == 1);
    assert_true(heard(t, "text hi\n"));
    assert_in_range(most, 1, 1024);
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* Beginnings of every kind, and what completes them. */
static void what_is_begun_is_counted_until_it_is_whole(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *begin;
        size_t begin_len;
        const char *end;
        size_t end_len;
    } table[] = {
        {&proto_text, "hel", 3, "lo\n", 3},
        {&proto_frame, "\0\0\0\x09he", 6, "llo", 3},
        {&proto_websocket, "\x81", 1, "\x85\0\0\0\0hello", 10},
        {&proto_websocket, "\x81\x85\0\0\0\0hel", 9, "lo", 2},
        {&proto_websocket, "\x01\x83\0\0\0\0hel", 9, "\x80\x82\0\0\0\0lo", 8},
        {&proto_websocket, "\x01\x80\0\0\0\0", 6, "\x80\x85\0\0\0\0hello", 11},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = serve(table[i].protocol);
        struct buf in = {0};
        int fd = dial(t);

        if (table[i].protocol == &proto_websocket) {
            put_and_wait(t, fd, UPGRADE(""), 20);
            assert_in_range(unfinished(t), 20, 1024);
            put_str(t, fd, &UPGRADE("")[20]);
        }
        UNTIL(t, t->opened == 1);
        assert_int_equal(unfinished(t), 0);
        for (unsigned n = 1; n <= 2; n++) {
            put_and_wait(t, fd, table[i].begin, table[i].begin_len);
            assert_in_range(unfinished(t), 1, 1024);
            put_and_wait(t, fd, table[i].end, table[i].end_len);
            assert_int_equal(t->messages, n);
            assert_int_equal(unfinished(t), 0);
        }
        put_and_wait(t, fd, table[i].begin, table[i].begin_len);
        close(fd);
        UNTIL(t, t->closed == 1);
        assert_int_equal(unfinished(t), 0);
        buf_fini(&in);
        finish(t);
    }
}

#define MANY 20

static void of_too_much_begun_the_largest_goes_first(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0}, half = {0};
    int small[MANY], large[2];

    log_set_level(LOG_ERROR);
    t->conf.unfinished_total_max = 1536 * 1024;
    start(t);
    for (int i = 0; i < MANY; i++) {
        small[i] = dial_upgraded(t, &in);
        put_and_wait(t, small[i], "\x81\x85\0\0\0\0he", 8);
    }
    buf_append(&half, "\x81\xff\0\0\0\0\0\x0c\0\0\0\0\0\0", 14);
    memset(buf_extend(&half, 600 * 1024), 'x', 600 * 1024);
    for (int i = 0; i < 2; i++) {
        large[i] = dial_upgraded(t, &in);
        put(t, large[i], half.data, half.len);
    }
    UNTIL(t, port_counters(t->port)->unfinished_closed == 1);
    assert_true(unfinished(t) <= t->conf.unfinished_total_max);
    expect_close(t, large[0], 1013);
    UNTIL(t, t->closed == 1);
    assert_true(
        heard(t, "close 1013 busy, saying too many unfinished messages\n"));
    for (int i = 0; i < MANY; i++) {
        put(t, small[i], "llo", 3);
        UNTIL(t, t->messages == (unsigned)i + 1);
        close(small[i]);
    }
    close(large[0]);
    close(large[1]);
    buf_fini(&in);
    buf_fini(&half);
    finish(t);
}

/* Nobody is a client yet, and the heads are under their own limit. */
static void requests_that_do_not_end_count_too(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf head = {0}, in = {0};
    int fds[MANY];

    log_set_level(LOG_ERROR);
    t->conf.unfinished_total_max = 256 * 1024;
    start(t);
    buf_append_str(&head, "GET / HTTP/1.1\r\nCookie: ");
    memset(buf_extend(&head, 20000), 'x', 20000);
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial(t);
        put_and_wait(t, fds[i], head.data, head.len);
        assert_true(unfinished(t) <= t->conf.unfinished_total_max);
    }
    get_all(t, fds[0], &in);
    assert_memory_equal(in.data, "HTTP/1.1 503 ", 13);
    assert_true(port_counters(t->port)->unfinished_closed > MANY / 2);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    buf_fini(&head);
    buf_fini(&in);
    finish(t);
}

static void a_message_must_be_whole_in_time(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *begin;
        size_t len;
    } table[] = {
        {&proto_text, "hel", 3},
        {&proto_frame, "\0\0\0\x09he", 6},
        {&proto_websocket, "\x81\x85\0\0\0\0hel", 9},
        {&proto_websocket, "\x01\x83\0\0\0\0hel", 9},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = prepare(table[i].protocol);
        struct clock clock = {0};
        struct buf in = {0};
        int fd;

        t->loop.data = &clock;
        t->conf.message_timeout = 60;
        t->conf.handshake_timeout = 0.2; /* looks often */
        start(t);
        fd = table[i].protocol == &proto_websocket ? dial_upgraded(t, &in)
                                                   : dial(t);
        put_and_wait(t, fd, table[i].begin, table[i].len);
        clock.now += 59900;
        pass(t, 60);
        assert_int_equal(t->closed, 0);
        /* Neither more bytes nor a ping give it more time. */
        if (table[i].protocol != &proto_websocket)
            put_and_wait(t, fd, "l", 1);
        else if (table[i].begin[0] == '\x01')
            put_and_wait(t, fd, "\x89\x80\0\0\0\0", 6);
        clock.now += 200;
        UNTIL(t, t->closed == 1);
        assert_true(
            heard(t, "close 1008 timeout, saying message took too long\n"));
        assert_int_equal(port_counters(t->port)->messages_timed_out, 1);
        assert_int_equal(unfinished(t), 0);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void each_message_has_its_own_time(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *begin;
        size_t begin_len;
        const char *middle; /* ends a message and begins the next */
        size_t middle_len;
    } table[] = {
        {&proto_text, "hel", 3, "lo\nhel", 6},
        {&proto_frame, "\0\0\0\x09he", 6, "llo\0\0\0\x09he", 9},
        {&proto_websocket, "\x81\x85\0\0\0\0hel", 9, "lo\x81\x85\0\0\0\0hel",
            11},
        {&proto_websocket, "\x01\x82\0\0\0\0he", 8,
            "\x80\x83\0\0\0\0llo\x01\x82\0\0\0\0he", 17},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = prepare(table[i].protocol);
        struct clock clock = {0};
        struct buf in = {0};
        int fd;

        t->loop.data = &clock;
        t->conf.message_timeout = 60;
        t->conf.handshake_timeout = 0.2;
        start(t);
        fd = table[i].protocol == &proto_websocket ? dial_upgraded(t, &in)
                                                   : dial(t);
        put_and_wait(t, fd, table[i].begin, table[i].begin_len);
        for (unsigned n = 1; n <= 5; n++) {
            clock.now += 40000;
            put_and_wait(t, fd, table[i].middle, table[i].middle_len);
            assert_int_equal(t->messages, n);
            pass(t, 60);
            assert_int_equal(t->closed, 0);
        }
        clock.now += 61000;
        UNTIL(t, t->closed == 1);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void a_client_that_must_wait_is_not_slow(void **state)
{
    struct test *t = prepare(&proto_text);
    struct clock clock = {0};
    int fd;

    t->loop.data = &clock;
    t->conf.message_timeout = 60;
    t->conf.handshake_timeout = 0.2;
    start(t);
    fd = dial(t);
    UNTIL(t, t->opened == 1);
    put_and_wait(t, fd, "hel", 3);
    client_conn_pause(t->conn);
    clock.now += 100000;
    pass(t, 60);
    client_conn_resume(t->conn);
    clock.now += 59000;
    pass(t, 60);
    assert_int_equal(t->closed, 0);
    put_and_wait(t, fd, "lo\n", 3);
    assert_true(heard(t, "message hello\n"));
    close(fd);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_may_have_any_number_of_fragments),
        cmocka_unit_test(empty_fragments_take_no_memory),
        cmocka_unit_test(what_is_begun_is_counted_until_it_is_whole),
        cmocka_unit_test(of_too_much_begun_the_largest_goes_first),
        cmocka_unit_test(requests_that_do_not_end_count_too),
        cmocka_unit_test(a_message_must_be_whole_in_time),
        cmocka_unit_test(each_message_has_its_own_time),
        cmocka_unit_test(a_client_that_must_wait_is_not_slow),
    };

    return cmocka_run_group_tests_name("clients.part", tests, NULL, NULL);
}
