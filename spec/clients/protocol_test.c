/* A protocol that nobody has heard of: all that it needs is in this file. It
 * has netstrings ("5:hello,"), a ping ("0:,") and a goodbye ("3:bye,"). */
#include "port_fixture.h"

#include "clients/client_conn_impl.h"
#include "clients/recv.h"

static size_t looked_at; /* bytes, by memchr() */

/* In the place of the C library's, so that work can be counted. */
void *memchr(const void *data, int c, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        looked_at++;
        if (p[i] == (uint8_t)c)
            return (void *)(uintptr_t)(p + i);
    }
    return NULL;
}

/* The whole netstring at data: its text and the bytes used. 0: not whole yet,
 * -1: it is none. */
static ssize_t read_netstring(
    const char *data, size_t len, const char **text, size_t *text_len)
{
    const char *colon = memchr(data, ':', len);
    unsigned long n;

    if (colon == NULL)
        return len > 4 ? -1 : 0;
    n = strtoul(data, NULL, 10);
    *text = colon + 1;
    *text_len = n;
    if ((size_t)(data + len - *text) < n + 1)
        return 0;
    return (*text)[n] == ',' ? *text + n + 1 - data : -1;
}

static size_t take(struct client_conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;

    while (used < len && client_conn_is_taken(c)) {
        const char *text = NULL;
        size_t n = 0;
        ssize_t whole =
            read_netstring((const char *)data + used, len - used, &text, &n);

        if (whole < 0) {
            recv_fail(c, CLIENT_CONN_PROTOCOL_ERROR, 1002, "no netstring");
            return len;
        }
        if (whole == 0)
            break;
        if (c->state == CLIENT_CONN_CLOSE_SENT) /* the answer to our goodbye */
            client_conn_finish(c);
        else
            recv_deliver(c, text, n, PROTOCOL_AS_USUAL);
        used += (size_t)whole;
    }
    return used;
}

static void put_netstring(struct client_shared *shared, struct buf *out,
    const void *data, size_t len, enum protocol_form form)
{
    buf_printf(out, "%zu:", len);
    buf_append(out, data, len);
    buf_append(out, ",", 1);
}

static void ping(struct client_conn *c)
{
    client_conn_queue(c, "0:,", 3);
}

static void say_goodbye(struct client_conn *c, int code, const char *reason)
{
    client_conn_queue(c, "3:bye,", 6);
}

static const struct client_protocol proto_netstring = {
    .name = "netstring",
    .take = take,
    .put = put_netstring,
    .ping = ping,
    .say_goodbye = say_goodbye,
};

static void expect(struct test *t, int fd, const char *want)
{
    struct buf in = {0};

    get(t, fd, &in, strlen(want));
    assert_memory_equal(in.data, want, strlen(want));
    buf_fini(&in);
}

static void a_protocol_of_ones_own_needs_one_file(void **state)
{
    struct test *t = serve(&proto_netstring);
    int fd = dial(t);

    t->echo = true;
    put_str(t, fd, "3:one,3:tw");
    UNTIL(t, t->messages == 1);
    put_str(t, fd, "o,");
    UNTIL(t, t->messages == 2);
    assert_true(heard(t, "message one\nmessage two\n"));
    expect(t, fd, "3:one,3:two,");
    client_conn_ping(t->conn);
    expect(t, fd, "0:,");
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, "kicked");
    expect(t, fd, "3:bye,");
    put_str(t, fd, "3:bye,");
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1000 kicked, saying kicked\n"));
    close(fd);
    finish(t);
}

static void its_rules_end_who_breaks_them(void **state)
{
    struct test *t = serve(&proto_netstring);
    int fd = dial(t);

    put_str(t, fd, "3:one,hello");
    UNTIL(t, t->closed == 1);
    assert_true(heard(
        t, "message one\nclose 1002 protocol_error, saying no netstring\n"));
    close(fd);
    finish(t);
}

static void names_are_found_in_any_case(void **state)
{
    assert_ptr_equal(protocol_find("Text://0.0.0.0:1")->protocol, &proto_text);
    assert_true(protocol_find("WSS://0.0.0.0:1")->tls);
    assert_null(protocol_find("netstring://0.0.0.0:1"));
    assert_null(protocol_find("text"));
}

/* A message of nothing but line ends has as many lines as bytes: to search all
 * that follows for the end of each would take a gateway seconds. */
static void each_byte_of_an_event_is_looked_at_once(void **state)
{
    enum { LEN = 4096, FIELD = sizeof("data: \n") - 1 };
    static const char *const ends[] = {"\r", "\n", "\r\n"};
    struct client_shared shared = {0};
    struct buf text = {0}, out = {0};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t lines = LEN / strlen(ends[i]);

        while (text.len < LEN)
            buf_append_str(&text, ends[i]);
        looked_at = 0;
        proto_sse.put(&shared, &out, text.data, text.len, PROTOCOL_AS_USUAL);
        assert_in_range(looked_at, 0, 4 * LEN);
        assert_int_equal(out.len, (lines + 1) * FIELD + 1);
        buf_fini(&text);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_protocol_of_ones_own_needs_one_file),
        cmocka_unit_test(its_rules_end_who_breaks_them),
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(each_byte_of_an_event_is_looked_at_once),
    };

    return cmocka_run_group_tests_name("clients.protocol", tests, NULL, NULL);
}
