/* Clients of the text, frame and tcp protocols; time, limits, queues and
 * back-pressure of all. */
#include "port_fixture.h"

#include <netinet/tcp.h>

static void expect_bytes(
    struct test *t, int fd, struct buf *in, const void *want, size_t len)
{
    get(t, fd, in, len);
    assert_memory_equal(in->data, want, len);
    buf_consume(in, len);
}

static void each_protocol_has_its_messages(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *bytes;
        size_t len;
        const char *told;
        unsigned messages;
        const char *echo;
        size_t echo_len;
    } table[] = {
        {&proto_text, "one\ntwo\r\n\nx", 11,
            "message one\nmessage two\nmessage \n", 3, "one\ntwo\n\n", 9},
        {&proto_frame, "\0\0\0\7one\0\0\0\4\0\0\0\5!\0", 17,
            "message one\nmessage \nmessage !\n", 3,
            "\0\0\0\7one\0\0\0\4\0\0\0\5!", 16},
        {&proto_tcp, "any\0thing", 9, "message any", 1, "any\0thing", 9},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = serve(table[i].protocol);
        struct buf in = {0};
        int fd = dial(t);

        t->echo = true;
        put(t, fd, table[i].bytes, table[i].len);
        UNTIL(t, t->messages == table[i].messages);
        assert_true(heard(t, table[i].told));
        assert_true(heard(t, "open -\n"));
        expect_bytes(t, fd, &in, table[i].echo, table[i].echo_len);
        client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, "kicked");
        get_all(t, fd, &in);
        UNTIL(t, t->closed == 1);
        assert_true(heard(t, "close 1000 kicked, saying kicked\n"));
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void a_packet_may_be_cut_anywhere(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *bytes;
        size_t len;
    } table[] = {
        {&proto_text, "hello\r\nworld\n", 13},
        {&proto_frame, "\0\0\0\11hello\0\0\0\11world", 18},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = serve(table[i].protocol);

        for (size_t cut = 1; cut < table[i].len; cut++) {
            int fd = dial(t);
            unsigned before = t->messages;

            buf_clear(&t->told);
            put(t, fd, table[i].bytes, cut);
            UNTIL(t, t->opened == cut);
            put(t, fd, table[i].bytes + cut, table[i].len - cut);
            UNTIL(t, t->messages == before + 2);
            assert_true(heard(t, " hello\n"));
            assert_true(heard(t, " world\n"));
            close(fd);
        }
        finish(t);
    }
}

static void a_stream_out_of_bounds_is_closed(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *bytes;
        size_t len;
        const char *told;
    } table[] = {
        {&proto_frame, "\0\0\0\0", 4,
            "close 1002 protocol_error, saying bad length\n"},
        {&proto_frame, "\0\0\0\3", 4,
            "close 1002 protocol_error, saying bad length\n"},
        {&proto_frame, "\0\0\0\153", 4,
            "close 1009 too_large, saying message too big\n"},
        {&proto_frame, "\xff\xff\xff\xff", 4,
            "close 1009 too_large, saying message too big\n"},
        {&proto_text,
            "0123456789012345678901234567890123456789012345678901234567890"
            "1234567890123456789012345678901234567890",
            101, "close 1009 too_large, saying message too big\n"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = prepare(table[i].protocol);
        struct buf in = {0};
        int fd;

        t->conf.message_max = 99;
        start(t);
        fd = dial(t);
        put(t, fd, table[i].bytes, table[i].len);
        get_all(t, fd, &in);
        UNTIL(t, t->closed == 1);
        assert_true(heard(t, table[i].told));
        assert_int_equal(t->messages, 0);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void raw_goes_out_as_it_is(void **state)
{
    struct test *t = serve(&proto_frame);
    struct buf in = {0};
    struct blob *blob;
    int fd = dial(t);

    UNTIL(t, t->opened == 1);
    blob = frame(t, "<raw>", 5, PROTOCOL_AS_IS);
    client_conn_send_blob(t->conn, blob);
    blob_unref(blob);
    client_conn_send(t->conn, "raw", 3, PROTOCOL_AS_IS);
    client_conn_ping(t->conn); /* nothing here */
    client_conn_send(t->conn, "framed", 6, PROTOCOL_AS_USUAL);
    expect_bytes(t, fd, &in, "<raw>raw\0\0\0\12framed", 18);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void silence_before_the_handshake_ends_is_cut_off(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0};
    uint64_t begun;
    int silent, half;

    t->conf.handshake_timeout = 0.2;
    start(t);
    begun = uv_hrtime();
    silent = dial(t);
    half = dial(t);
    put_str(t, half, "GET / HTTP/1.1\r\nHost: ");
    while (get_some(half, &in)) { /* more bytes do not renew it */
        put_str(t, half, "x");
        pass(t, 10);
    }
    get_all(t, silent, &in);
    assert_true(uv_hrtime() - begun > 150 * 1000000ULL);
    assert_int_equal(t->opened, 0);
    UNTIL(t, port_counters(t->port)->connections == 0);
    close(silent);
    close(half);
    buf_fini(&in);
    finish(t);
}

static void a_client_once_there_may_be_silent(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text};

    for (int i = 0; i < 2; i++) {
        struct test *t = prepare(protocols[i]);
        struct clock clock = {0};
        struct buf in = {0};
        int fd;

        t->loop.data = &clock;
        t->conf.handshake_timeout = 0.1;
        start(t);
        fd = i == 0 ? dial_upgraded(t, &in) : dial(t);
        UNTIL(t, t->opened == 1);
        clock.now += 300;
        pass(t, 50);
        assert_int_equal(t->closed, 0);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

/* The gateway's end of our socket fd. */
static int other_end(int fd)
{
    union addr ours = {0}, theirs;
    socklen_t len = sizeof(ours);

    assert_int_equal(getsockname(fd, &ours.sa, &len), 0);
    for (int other = 0; other < 1024; other++) {
        len = sizeof(theirs);
        memset(&theirs, 0, sizeof(theirs));
        if (other != fd && getpeername(other, &theirs.sa, &len) == 0 &&
            memcmp(&theirs, &ours, sizeof(ours)) == 0)
            return other;
    }
    fail_msg("not accepted");
    return -1;
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* Who is silent and has no ping to answer may have lost his machine. */
static void the_kernel_looks_for_machines_that_are_gone(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text, &proto_frame, &proto_tcp};

    for (int i = 0; i < 4; i++) {
        struct test *t = serve(protocols[i]);
        bool pinged = protocols[i] == &proto_websocket;
        int fd = dial(t);
        int end;

        UNTIL(t, port_counters(t->port)->connections == 1);
        end = other_end(fd);
        assert_int_equal(option(end, SOL_SOCKET, SO_KEEPALIVE), !pinged);
        if (!pinged)
            assert_int_equal(option(end, IPPROTO_TCP, TCP_KEEPIDLE), 30);
        assert_int_equal(
            option(end, IPPROTO_TCP, TCP_USER_TIMEOUT), pinged ? 30000 : 60000);
        close(fd);
        finish(t);
    }
}

static void connections_over_a_limit_are_closed_at_once(void **state)
{
    for (int per_ip = 0; per_ip < 2; per_ip++) {
        struct test *t = prepare(&proto_text);
        struct buf in = {0};
        int fd[3];

        if (per_ip)
            t->conf.max_connections_per_ip = 2;
        else
            t->conf.max_connections = 2;
        start(t);
        for (int i = 0; i < 3; i++)
            fd[i] = dial(t);
        get_all(t, fd[2], &in);
        UNTIL(t, t->opened == 2);
        assert_int_equal(port_counters(t->port)->refused, 1);
        assert_int_equal(port_counters(t->port)->accepted, 3);
        assert_int_equal(port_counters(t->port)->connections, 2);
        close(fd[0]); /* makes room again */
        UNTIL(t, port_counters(t->port)->connections == 1);
        close(fd[2]);
        fd[2] = dial(t);
        UNTIL(t, t->opened == 3);
        close(fd[1]);
        close(fd[2]);
        buf_fini(&in);
        finish(t);
    }
}

static void messages_large_and_small_keep_their_order(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text};

    for (int i = 0; i < 2; i++) {
        struct test *t = prepare(protocols[i]);
        struct buf in = {0}, want = {0};
        char *data = xmalloc(20000);
        uint64_t before;
        int fd;

        t->conf.queue_max = 64 * 1024 * 1024;
        start(t);
        fd = i == 0 ? dial_upgraded(t, &in) : dial(t);
        UNTIL(t, t->opened == 1);
        before = client_conn_bytes_out(t->conn);
        for (unsigned n = 0; n < 2000; n++) { /* far more than a socket takes */
            size_t len = n % 7 == 0 ? 20000 : n % 3 == 0 ? 600 : n % 50;
            struct blob *blob;

            memset(data, 'a' + (int)(n % 26), len);
            blob = frame(t, data, len, PROTOCOL_AS_USUAL);
            buf_append(&want, blob->data, blob->len);
            if (n % 2 == 0)
                assert_int_equal(client_conn_send_blob(t->conn, blob), 0);
            else
                assert_int_equal(
                    client_conn_send(t->conn, data, len, PROTOCOL_AS_USUAL), 0);
            blob_unref(blob);
            if (n % 100 == 0)
                turn_once(t, uv_hrtime());
        }
        assert_true(client_conn_queued(t->conn) > 0);
        expect_bytes(t, fd, &in, want.data, want.len);
        UNTIL(t, client_conn_queued(t->conn) == 0);
        assert_int_equal(client_conn_bytes_out(t->conn) - before, want.len);
        free(data);
        close(fd);
        buf_fini(&in);
        buf_fini(&want);
        finish(t);
    }
}

static void a_pong_lands_between_messages(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0}, out = {0};
    unsigned messages = 0, pongs = 0;
    char data[300];
    int fd;

    memset(data, 'm', sizeof(data));
    t->conf.queue_max = 64 * 1024 * 1024;
    start(t);
    fd = dial_upgraded(t, &in);
    for (int i = 0; i < 50000; i++) /* far more than a socket takes */
        assert_int_equal(
            client_conn_send(t->conn, data, sizeof(data), PROTOCOL_AS_USUAL),
            0);
    UNTIL(t, client_conn_bytes_out(t->conn) > 0);
    put_frame(t, fd, 0x89, "ping", 4);
    while (messages + pongs < 50001) {
        uint8_t first = get_frame(t, fd, &in, &out);

        assert_true(first == 0x81 || first == 0x8a);
        if (first == 0x8a) {
            assert_int_equal(out.len, 4);
            assert_memory_equal(out.data, "ping", 4);
            pongs++;
            continue;
        }
        assert_int_equal(out.len, sizeof(data));
        assert_memory_equal(out.data, data, sizeof(data));
        messages++;
    }
    assert_int_equal(pongs, 1);
    close(fd);
    buf_fini(&in);
    buf_fini(&out);
    finish(t);
}

/* Send n messages of len bytes within one turn, or up to the first that is
 * refused. How many were tried. */
static unsigned flood(struct test *t, size_t len, unsigned n, int *last_error)
{
    char data[10000];
    unsigned tried = 0;

    memset(data, 'z', sizeof(data));
    *last_error = 0;
    for (; tried < n && *last_error == 0; tried++)
        *last_error = client_conn_send(t->conn, data, len, PROTOCOL_AS_USUAL);
    return tried;
}

static void a_client_that_does_not_read_is_closed(void **state)
{
    static const size_t sizes[] = {10000, 300};

    for (int i = 0; i < 2; i++) {
        struct test *t = prepare(&proto_websocket);
        struct buf in = {0}, out = {0};
        unsigned tried, got = 0;
        uint8_t first;
        int fd, err;

        t->conf.queue_max = 200000;
        start(t);
        fd = dial_upgraded(t, &in);
        tried = flood(t, sizes[i], 1000000, &err);
        assert_int_equal(err, -ENOBUFS);
        assert_int_equal(port_counters(t->port)->overflow_closed, 1);
        assert_true(client_conn_queued(t->conn) < 300000);
        assert_int_equal(
            client_conn_send(t->conn, "x", 1, PROTOCOL_AS_USUAL), -ENOTCONN);
        tried++;
        do { /* whole frames, then the Close: no gap goes unnoticed */
            first = get_frame(t, fd, &in, &out);
            assert_true(first != 0x81 || out.len == sizes[i]);
            got += first == 0x81;
        } while (first == 0x81);
        assert_int_equal(first, 0x88);
        assert_memory_equal(out.data, "\x03\xf0overflow", 10);
        close(fd);
        UNTIL(t, t->closed == 1);
        assert_true(heard(t, "close 1008 overflow, saying overflow\n"));
        assert_int_equal(t->dropped, tried - got);
        buf_fini(&in);
        buf_fini(&out);
        finish(t);
    }
}

/* 32 clients; the last one reads nothing, and there is much for it. */
static void when_all_hold_too_much_who_holds_most_is_slow(void **state)
{
    struct test *t = prepare(&proto_text);
    struct buf in = {0};
    struct client_conn *quick = NULL;
    struct blob *blob;
    char data[10000];
    int fds[32], err;

    t->conf.queue_max = 64 * 1024 * 1024;
    t->conf.queue_total_max = 8 * 1024 * 1024;
    start(t);
    for (unsigned i = 0; i < 32; i++) {
        fds[i] = dial(t);
        UNTIL(t, t->opened == i + 1);
        if (i == 0)
            quick = t->conn;
    }
    flood(t, sizeof(data), 1000000, &err);
    assert_int_equal(err, -ENOBUFS);
    assert_int_equal(port_counters(t->port)->overflow_closed, 1);
    UNTIL(t, (get_some(fds[31], &in), t->closed == 1));
    /* What waits for many is held once. */
    memset(data, 's', sizeof(data));
    blob = frame(t, data, sizeof(data), PROTOCOL_AS_USUAL);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(client_conn_send_blob(quick, blob), 0);
    assert_int_equal(port_counters(t->port)->queued, blob->len);
    blob_unref(blob);
    buf_clear(&in);
    UNTIL(t, (get_some(fds[0], &in), client_conn_queued(quick) == 0));
    assert_int_equal(port_counters(t->port)->queued, 0);
    for (int i = 0; i < 32; i++)
        close(fds[i]);
    buf_fini(&in);
    finish(t);
}

/* More than the queue's limit in one turn, but not more than a socket takes. */
static void a_burst_within_a_turn_is_not_slowness(void **state)
{
    static const struct client_protocol *const all[] = {
        &proto_websocket, &proto_text, &proto_frame, &proto_tcp};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct client_protocol *p = all[i];
        struct test *t = prepare(p);
        struct buf in = {0};
        struct blob *blob;
        size_t want = 0;
        char data[3000];
        int fd;

        memset(data, 'b', sizeof(data));
        t->conf.queue_max = 20000;
        start(t);
        fd = p == &proto_websocket ? dial_upgraded(t, &in) : dial(t);
        UNTIL(t, t->opened == 1);
        buf_clear(&in);
        for (unsigned n = 0; n < 60; n++) {
            size_t len = n % 2 == 0 ? sizeof(data) : 100;

            blob = frame(t, data, len, PROTOCOL_AS_USUAL);
            assert_int_equal(
                client_conn_send(t->conn, data, len, PROTOCOL_AS_USUAL), 0);
            want += blob->len;
            blob_unref(blob);
        }
        UNTIL(t, (get_some(fd, &in), in.len >= want));
        assert_int_equal(in.len, want);
        assert_int_equal(port_counters(t->port)->overflow_closed, 0);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void messages_may_be_dropped_instead(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0};
    int fd, err;

    t->conf.queue_max = 200000;
    t->conf.overflow = PORT_OVERFLOW_DROP;
    start(t);
    fd = dial_upgraded(t, &in);
    flood(t, 10000, 10000, &err);
    assert_int_equal(err, -ENOBUFS);
    assert_int_equal(port_counters(t->port)->overflow_dropped, 1);
    assert_int_equal(t->closed, 0);
    UNTIL(t, (get_some(fd, &in), client_conn_queued(t->conn) == 0));
    assert_int_equal(client_conn_send(t->conn, "x", 1, PROTOCOL_AS_USUAL), 0);
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* Messages of all sizes, shared and not, to somebody who reads now and then:
 * those count as dropped that the kernel has not got to their end. */
static void what_a_client_did_not_get_is_counted(void **state)
{
    static const size_t sizes[] = {1, 300, 0, 700, 40000, 17, 512, 3};
    enum { SENDS = 6000 };
    size_t *ends = xcalloc(SENDS, sizeof(*ends));
    struct test *t = prepare(&proto_text);
    size_t sent = 0, bytes = 0, dropped = 0;
    char data[40000], part[30000];
    int fd;

    memset(data, 'z', sizeof(data));
    t->conf.queue_max = 3000000;
    t->conf.overflow = PORT_OVERFLOW_DROP;
    start(t);
    fd = dial(t);
    UNTIL(t, t->opened == 1);
    for (int i = 0; i < SENDS; i++) {
        size_t len = sizes[i % 8];
        struct blob *blob = frame(t, data, len, PROTOCOL_AS_USUAL);
        int err = i % 3 == 0
                      ? client_conn_send_blob(t->conn, blob)
                      : client_conn_send(t->conn, data, len, PROTOCOL_AS_USUAL);

        blob_unref(blob);
        if (err == 0)
            ends[sent++] = bytes += len + 1;
        else
            dropped++;
        if (i % 50 == 0)
            pass(t, 0);
        if (i % 7 == 0)
            (void)!recv(fd, part, sizeof(part), MSG_DONTWAIT);
        assert_int_equal(client_conn_how_ended(t->conn).dropped, dropped);
    }
    assert_true(dropped > 0 && client_conn_bytes_out(t->conn) > 3000000);
    for (size_t i = 0; i < sent; i++)
        dropped += ends[i] > client_conn_bytes_out(t->conn);
    client_conn_destroy(t->conn, CLIENT_CONN_DESTROYED);
    UNTIL(t, t->closed == 1);
    assert_int_equal(t->dropped, dropped);
    close(fd);
    free(ends);
    finish(t);
}

static void one_message_may_be_larger_than_the_queue(void **state)
{
    struct test *t = prepare(&proto_text);
    struct buf in = {0};
    char *data = xcalloc(1, 3000000);
    int fd;

    t->conf.queue_max = 1000;
    start(t);
    fd = dial(t);
    UNTIL(t, t->opened == 1);
    memset(data, 'q', 3000000);
    assert_int_equal(
        client_conn_send(t->conn, data, 3000000, PROTOCOL_AS_USUAL), 0);
    get(t, fd, &in, 3000001);
    free(data);
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* A large message leaves for as long as it takes; what its client gets behind
 * it waits for that and not for itself. */
static void a_large_message_on_its_way_fills_no_queue(void **state)
{
    static const enum port_overflow modes[] = {
        PORT_OVERFLOW_CLOSE, PORT_OVERFLOW_DROP};
    size_t len = 9000000;
    char *data = xcalloc(1, len);

    memset(data, 'q', len);
    for (int i = 0; i < 2; i++) {
        struct test *t = prepare(&proto_text);
        struct buf in = {0};
        int fd;

        t->conf.overflow = modes[i];
        start(t);
        fd = dial(t);
        UNTIL(t, t->opened == 1);
        assert_int_equal(
            client_conn_send(t->conn, data, len, PROTOCOL_AS_USUAL), 0);
        assert_int_equal(
            client_conn_send(t->conn, "small", 5, PROTOCOL_AS_USUAL), 0);
        pass(t, 20); /* the socket is full */
        assert_true(client_conn_queued(t->conn) > PORT_QUEUE_MAX);
        assert_int_equal(
            client_conn_send(t->conn, "again", 5, PROTOCOL_AS_USUAL), 0);
        get(t, fd, &in, len + 13);
        assert_memory_equal(in.data, data, len);
        assert_memory_equal(in.data + len, "\nsmall\nagain\n", 13);
        close(fd);
        UNTIL(t, t->closed == 1);
        assert_true(heard(t, "close 1006 client\n"));
        buf_fini(&in);
        finish(t);
    }
    free(data);
}

static void a_queue_holds_its_limit_and_one_message(void **state)
{
    size_t sizes[] = {3000000, 100, 600, 400000, 2000000};
    char *data = xcalloc(1, 3000000);
    struct test *t = prepare(&proto_text);
    unsigned dropped = 0;
    int fd;

    t->conf.queue_max = 1000000;
    t->conf.overflow = PORT_OVERFLOW_DROP;
    start(t);
    fd = dial(t);
    UNTIL(t, t->opened == 1);
    for (int i = 0; i < 300; i++) {
        dropped += client_conn_send(
                       t->conn, data, sizes[i % 5], PROTOCOL_AS_USUAL) < 0;
        if (i % 10 == 0)
            pass(t, 1);
        assert_true(client_conn_queued(t->conn) <= 1000000 + 3000001);
    }
    assert_true(dropped > 30);
    assert_int_equal(port_counters(t->port)->overflow_dropped, dropped);
    close(fd);
    free(data);
    finish(t);
}

static void a_dead_client_is_noticed_while_writing(void **state)
{
    struct test *t = serve(&proto_text);
    struct linger abort_ = {.l_onoff = 1};
    int fd = dial(t);

    UNTIL(t, t->opened == 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_, sizeof(abort_));
    close(fd); /* a reset */
    client_conn_send(t->conn, "anyone?", 7, PROTOCOL_AS_USUAL);
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1006 client\n"));
    finish(t);
}

static void pause_at_every_message(struct test *t)
{
    client_conn_pause(t->conn);
}

/* 20,000 bytes a message, paused after each, resumed by the loop: nothing is
 * lost, doubled or swapped. */
static void a_paused_client_loses_nothing(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text, &proto_frame};

    for (int p = 0; p < 3; p++) {
        struct test *t = serve(protocols[p]);
        struct buf in = {0}, all = {0};
        char text[64];
        int fd = p == 0 ? dial_upgraded(t, &in) : dial(t);

        UNTIL(t, t->opened == 1);
        t->on_message = pause_at_every_message;
        for (int i = 0; i < 500; i++) {
            snprintf(text, sizeof(text), "%d%.*s", i, i % 40,
                "........................................");
            if (p == 0) {
                put_text(t, fd, text);
            } else {
                struct blob *blob =
                    frame(t, text, strlen(text), PROTOCOL_AS_USUAL);

                put(t, fd, blob->data, blob->len);
                blob_unref(blob);
            }
        }
        buf_clear(&t->told);
        for (unsigned i = 1; i <= 500; i++) {
            UNTIL(t, t->messages == i);
            pass(t, i < 5 ? 20 : 0);
            assert_int_equal(t->messages, i);
            client_conn_resume(t->conn);
        }
        for (int i = 0; i < 500; i++)
            buf_printf(&all, "%s %d%.*s\n", p == 0 ? "text" : "message", i,
                i % 40, "........................................");
        assert_int_equal(t->told.len, all.len);
        assert_memory_equal(t->told.data, all.data, all.len);
        close(fd);
        UNTIL(t, t->closed == 1);
        buf_fini(&in);
        buf_fini(&all);
        finish(t);
    }
}

static void a_paused_client_fills_its_socket_and_no_memory(void **state)
{
    struct test *t = serve(&proto_tcp);
    struct buf in = {0};
    char data[65536];
    size_t sent = 0, read_before;
    ssize_t n;
    int fd = dial(t);

    UNTIL(t, t->opened == 1);
    client_conn_pause(t->conn);
    memset(data, 'x', sizeof(data));
    for (int idle = 0; idle < 50;) {
        n = send(fd, data, sizeof(data), MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        turn_once(t, uv_hrtime());
    }
    read_before = client_conn_bytes_in(t->conn);
    assert_int_equal(read_before, 0);
    client_conn_resume(t->conn);
    UNTIL(t, client_conn_bytes_in(t->conn) == sent);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static bool pause_now(struct test *t)
{
    client_conn_pause(t->conn);
    return true;
}

static void a_client_may_be_paused_before_its_first_byte(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text};

    for (int p = 0; p < 2; p++) {
        struct test *t = serve(protocols[p]);
        static const char ws[] = UPGRADE("") "\x81\x82\x00\x00\x00\x00hi";
        int fd = dial(t);

        t->on_open = pause_now;
        if (p == 0)
            put(t, fd, ws, sizeof(ws) - 1);
        else
            put_str(t, fd, "hi\n");
        UNTIL(t, t->opened == 1);
        pass(t, 50);
        assert_int_equal(t->messages, 0);
        client_conn_resume(t->conn);
        UNTIL(t, t->messages == 1);
        assert_true(heard(t, p == 0 ? "text hi\n" : "message hi\n"));
        close(fd);
        finish(t);
    }
}

static void a_peer_that_only_sends_does_not_make_the_loop_spin(void **state)
{
    struct test *t = prepare(&proto_text);
    char data[10000];
    unsigned turns = 0;
    uint64_t begun;
    int fd;

    memset(data, 'y', sizeof(data));
    t->conf.queue_max = 100 * 1024 * 1024;
    start(t);
    fd = dial(t);
    UNTIL(t, t->opened == 1);
    for (int i = 0; i < 2000; i++)
        client_conn_send(t->conn, data, sizeof(data), PROTOCOL_AS_USUAL);
    pass(t, 50);
    assert_true(client_conn_queued(t->conn) > 0);
    put_str(t, fd, "heard\n");
    UNTIL(t, t->messages == 1);
    begun = uv_hrtime();
    while (uv_hrtime() - begun < 100 * 1000000ULL) {
        turn_once(t, begun);
        turns++;
    }
    assert_true(turns < 100); /* the tick's: one in 5 ms */
    close(fd);
    UNTIL(t, t->closed == 1);
    finish(t);
}

static void two_live_on_one_loop_and_one_ends(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct port *first = t->port;
    union addr first_addr = t->addr;
    struct buf in = {0};
    int a, b, fds[40];

    a = dial_upgraded(t, &in);
    start(t); /* a second one, which finish() ends */
    buf_clear(&in);
    b = dial_upgraded(t, &in);
    assert_int_equal(t->opened, 2);
    port_free(first);
    assert_int_equal(t->closed, 1);
    for (int i = 0; i < 40; i++) /* would a late close() hit one of them? */
        fds[i] = dup(b);
    pass(t, 50);
    for (int i = 0; i < 40; i++) {
        assert_true(fcntl(fds[i], F_GETFD) >= 0);
        close(fds[i]);
    }
    t->echo = true;
    put_text(t, b, "still here");
    expect_frame(t, b, &in, 0x81, "still here", 10);
    close(a);
    a = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(a, &first_addr.sa, addr_len(&first_addr)), -1);
    close(a);
    close(b);
    buf_fini(&in);
    finish(t);
}

static void no_descriptor_is_left_open(void **state)
{
    int before = dup(0), after;

    close(before);
    for (int i = 0; i < 5; i++) {
        struct test *t = serve(&proto_text);
        int fd = dial(t);

        UNTIL(t, t->opened == 1);
        port_free(t->port);
        t->port = NULL;
        close(fd);
        finish(t);
    }
    after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void it_may_end_before_it_began(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct port *port;
    char err[256];

    t->conf.www = "/nonexistent";
    assert_int_equal(
        port_new(&port, t->turn, -1, &t->conf, &ops, t, err), -ENOENT);
    assert_string_equal(
        err, "www folder /nonexistent: No such file or directory");
    finish(t);
}

static void no_new_clients_once_it_stops_listening(void **state)
{
    struct test *t = serve(&proto_text);
    int fd = dial(t), late;

    UNTIL(t, t->opened == 1);
    port_stop_listening(t->port);
    pass(t, 20);
    late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, &t->addr.sa, addr_len(&t->addr)), -1);
    put_str(t, fd, "still\n");
    UNTIL(t, t->messages == 1);
    close(late);
    close(fd);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_protocol_has_its_messages),
        cmocka_unit_test(a_packet_may_be_cut_anywhere),
        cmocka_unit_test(a_stream_out_of_bounds_is_closed),
        cmocka_unit_test(raw_goes_out_as_it_is),
        cmocka_unit_test(silence_before_the_handshake_ends_is_cut_off),
        cmocka_unit_test(a_client_once_there_may_be_silent),
        cmocka_unit_test(the_kernel_looks_for_machines_that_are_gone),
        cmocka_unit_test(connections_over_a_limit_are_closed_at_once),
        cmocka_unit_test(messages_large_and_small_keep_their_order),
        cmocka_unit_test(a_pong_lands_between_messages),
        cmocka_unit_test(a_client_that_does_not_read_is_closed),
        cmocka_unit_test(when_all_hold_too_much_who_holds_most_is_slow),
        cmocka_unit_test(a_burst_within_a_turn_is_not_slowness),
        cmocka_unit_test(messages_may_be_dropped_instead),
        cmocka_unit_test(what_a_client_did_not_get_is_counted),
        cmocka_unit_test(one_message_may_be_larger_than_the_queue),
        cmocka_unit_test(a_large_message_on_its_way_fills_no_queue),
        cmocka_unit_test(a_queue_holds_its_limit_and_one_message),
        cmocka_unit_test(a_dead_client_is_noticed_while_writing),
        cmocka_unit_test(a_paused_client_loses_nothing),
        cmocka_unit_test(a_paused_client_fills_its_socket_and_no_memory),
        cmocka_unit_test(a_client_may_be_paused_before_its_first_byte),
        cmocka_unit_test(a_peer_that_only_sends_does_not_make_the_loop_spin),
        cmocka_unit_test(two_live_on_one_loop_and_one_ends),
        cmocka_unit_test(no_descriptor_is_left_open),
        cmocka_unit_test(it_may_end_before_it_began),
        cmocka_unit_test(no_new_clients_once_it_stops_listening),
    };

    return cmocka_run_group_tests_name("clients.stream", tests, NULL, NULL);
}
