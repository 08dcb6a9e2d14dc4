/* What leaves as text is text. */
#include "port_fixture.h"

#include "util/log.h"

#define R "\xef\xbf\xbd" /* U+FFFD */

static struct buf lines; /* of the log, each with a "\n" */

static void on_line(
    enum log_level level, const char *who, const char *text, void *arg)
{
    buf_printf(&lines, "%s\n", text);
}

static size_t count_lines(void)
{
    size_t count = 0;

    for (size_t i = 0; i < lines.len; i++)
        count += lines.data[i] == '\n';
    return count;
}

static int listen_to_log(void **state)
{
    log_set_sink(on_line, NULL);
    return 0;
}

static int leave_log(void **state)
{
    log_set_sink(NULL, NULL);
    buf_fini(&lines);
    return 0;
}

static uint64_t repaired(const struct test *t)
{
    return port_counters(t->port)->repaired;
}

static void a_text_frame_is_repaired(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    assert_int_equal(
        client_conn_send(t->conn, "hi\xff", 3, PROTOCOL_AS_USUAL), 0);
    expect_frame(t, fd, &in, 0x81, "hi" R, 5);
    client_conn_send(t->conn, "\xe4\xbd\xa0\xe5\xa5", 5, PROTOCOL_AS_USUAL);
    expect_frame(t, fd, &in, 0x81, "\xe4\xbd\xa0" R, 6);
    assert_int_equal(repaired(t), 2);
    client_conn_send(
        t->conn, "\xe4\xbd\xa0 ok \xf0\x9f\x98\x80", 11, PROTOCOL_AS_USUAL);
    expect_frame(t, fd, &in, 0x81, "\xe4\xbd\xa0 ok \xf0\x9f\x98\x80", 11);
    client_conn_send(t->conn, "", 0, PROTOCOL_AS_USUAL);
    expect_frame(t, fd, &in, 0x81, "", 0);
    assert_int_equal(repaired(t), 2);
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* The frame's length is that of what is sent, also where it needs more bytes
 * than the message's own. */
static void a_repaired_message_of_any_size_is_one_frame(void **state)
{
    static const size_t sizes[] = {
        1, 41, 42, 125, 126, 512, 513, 21845, 21846, 65535, 65536, 100000};
    struct test *t = serve(&proto_websocket);
    struct buf in = {0}, out = {0};
    int fd = dial_upgraded(t, &in);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t len = sizes[i];
        uint8_t *message = xmalloc(len);

        memset(message, 0xff, len);
        client_conn_send(t->conn, message, len, PROTOCOL_AS_USUAL);
        assert_int_equal(get_frame(t, fd, &in, &out), 0x81);
        assert_int_equal(out.len, 3 * len);
        for (size_t at = 0; at < out.len; at += 3)
            assert_memory_equal(out.data + at, R, 3);
        free(message);
    }
    close(fd);
    buf_fini(&in);
    buf_fini(&out);
    finish(t);
}

static void a_broadcast_is_checked_once(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in[3] = {{0}};
    struct client_conn *to[3];
    struct blob *blob;
    int fd[3];

    for (size_t i = 0; i < 3; i++) {
        fd[i] = dial_upgraded(t, &in[i]);
        to[i] = t->conn;
    }
    blob = frame(t, "all\xc3", 4, PROTOCOL_AS_USUAL);
    for (size_t i = 0; i < 3; i++)
        client_conn_send_blob(to[i], blob);
    blob_unref(blob);
    assert_int_equal(repaired(t), 1);
    for (size_t i = 0; i < 3; i++) {
        expect_frame(t, fd[i], &in[i], 0x81, "all" R, 6);
        close(fd[i]);
        buf_fini(&in[i]);
    }
    finish(t);
}

static void bytes_that_are_meant_stay(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0};
    int fd;

    t->conf.send_binary = true;
    start(t);
    fd = dial_upgraded(t, &in);
    client_conn_send(t->conn, "hi\xff", 3, PROTOCOL_AS_USUAL);
    expect_frame(t, fd, &in, 0x82, "hi\xff", 3);
    client_conn_send(t->conn, "\x81\x01\xff", 3, PROTOCOL_AS_IS); /* raw */
    expect_frame(t, fd, &in, 0x81, "\xff", 1);
    assert_int_equal(repaired(t), 0);
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* Whatever the port does by itself. */
static void a_message_may_have_its_own_type(void **state)
{
    for (int binary = 0; binary < 2; binary++) {
        struct test *t = prepare(&proto_websocket);
        struct buf in = {0};
        struct blob *blob;
        int fd;

        t->conf.send_binary = binary;
        start(t);
        fd = dial_upgraded(t, &in);
        client_conn_send(t->conn, "hi\xff", 3, PROTOCOL_AS_BINARY);
        expect_frame(t, fd, &in, 0x82, "hi\xff", 3);
        assert_int_equal(repaired(t), 0);
        blob = frame(t, "hi\xff", 3, PROTOCOL_AS_TEXT);
        client_conn_send_blob(t->conn, blob);
        blob_unref(blob);
        expect_frame(t, fd, &in, 0x81, "hi" R, 5);
        assert_int_equal(repaired(t), 1);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void the_other_protocols_send_bytes(void **state)
{
    static const struct {
        const struct client_protocol *protocol;
        const char *want;
        size_t len;
    } cases[] = {
        {&proto_text, "hi\xff\n", 4},
        {&proto_frame, "\0\0\0\7hi\xff", 7},
        {&proto_tcp, "hi\xff", 3},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test *t = serve(cases[i].protocol);
        struct buf in = {0};
        int fd = dial(t);

        UNTIL(t, t->opened == 1);
        client_conn_send(t->conn, "hi\xff", 3, PROTOCOL_AS_USUAL);
        get(t, fd, &in, cases[i].len);
        assert_memory_equal(in.data, cases[i].want, cases[i].len);
        assert_int_equal(repaired(t), 0);
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

/* Close with that reason; what the peer reads of it. */
static void expect_reason(const char *reason, const char *want, size_t len)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0}, out = {0};
    int fd = dial_upgraded(t, &in);

    client_conn_close(t->conn, CLIENT_CONN_KICKED, 4000, reason);
    assert_int_equal(get_frame(t, fd, &in, &out), 0x88);
    assert_int_equal(out.len, 2 + len);
    assert_memory_equal(out.data, "\x0f\xa0", 2);
    assert_memory_equal(out.data + 2, want, len);
    close(fd);
    buf_fini(&in);
    buf_fini(&out);
    finish(t);
}

static void a_close_reason_is_text_and_cut_between_characters(void **state)
{
    char reason[200], want[600];

    expect_reason("", "", 0);
    expect_reason("b\xe4se", "b" R "se", 6);
    memset(reason, 'x', sizeof(reason));
    reason[199] = '\0';
    expect_reason(reason, reason, 123);
    memcpy(reason + 121, "\xe4\xbd\xa0", 3); /* its third byte is the 124th */
    expect_reason(reason, reason, 121);
    memcpy(reason + 121, "\xc3\xa4z", 3);
    expect_reason(reason, reason, 123);
    memset(reason, 0x80, 199);
    for (size_t i = 0; i < 199; i++)
        memcpy(want + 3 * i, R, 3);
    expect_reason(reason, want, 123);
}

static void the_log_says_what_to_do_once_a_second(void **state)
{
    struct test *t = serve(&proto_websocket);

    buf_clear(&lines);
    for (int i = 0; i < 1000; i++)
        blob_unref(frame(t, "abc\xff\xfe", 5, PROTOCOL_AS_USUAL));
    assert_int_equal(repaired(t), 1000);
    assert_in_range(count_lines(), 1, 20); /* as many seconds, slowly */
    buf_append_byte(&lines, '\0');
    assert_non_null(strstr((char *)lines.data, "send = \"binary\""));
    assert_non_null(strstr((char *)lines.data, "len=5 at=3 byte=0xff"));
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_frame_is_repaired),
        cmocka_unit_test(a_repaired_message_of_any_size_is_one_frame),
        cmocka_unit_test(a_broadcast_is_checked_once),
        cmocka_unit_test(bytes_that_are_meant_stay),
        cmocka_unit_test(a_message_may_have_its_own_type),
        cmocka_unit_test(the_other_protocols_send_bytes),
        cmocka_unit_test(a_close_reason_is_text_and_cut_between_characters),
        cmocka_unit_test(the_log_says_what_to_do_once_a_second),
    };

    return cmocka_run_group_tests_name(
        "clients.text", tests, listen_to_log, leave_log);
}
