/* Clients behind proxies: the PROXY protocol's header and those of HTTP. */
#include "port_fixture.h"

#include "clients/client_shared.h"
#include "util/log.h"
#include "wire/proxyhdr.h"

#define LINE      "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Connections that count, those whose header is awaited, too. What its
 * connections share is what a port begins with. */
static size_t taken(const struct test *t)
{
    return ((const struct client_shared *)(const void *)t->port)->limits.total;
}

static const char *const trusted[] = {"10.0.0.0/8", "127.0.0.1", NULL};
static const char *const others[] = {"10.0.0.0/8", NULL};

static struct test *serve_trusting(const struct client_protocol *protocol,
    const char *const *proxies, bool header)
{
    struct test *t = prepare(protocol);

    log_set_level(LOG_ERROR);
    t->conf.trusted_proxies = proxies;
    t->conf.proxy_protocol = header;
    t->echo = true;
    start(t);
    return t;
}

/* What was sent is refused: the other side closes without a word. */
static void expect_closed(struct test *t, int fd)
{
    struct buf in = {0};

    get_all(t, fd, &in);
    assert_string_equal((char *)in.data, "");
    assert_int_equal(t->opened, 0);
    close(fd);
    buf_fini(&in);
}

static void the_header_names_the_client(void **state)
{
    static const struct {
        const char *header;
        size_t len;
        const char *peer;
    } cases[] = {
        {LINE, sizeof(LINE) - 1, "192.0.2.1:56324"},
        {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", 32, "[2001:db8::1]:1"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", 37, "192.0.2.1:1"},
        {SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\xdc\4\1\xbb", 28,
            "192.0.2.1:56324"},
        {SIGNATURE "\x21\x11\0\x13\xc0\0\2\1\xc6\x33\x64\1\xdc\4\1\xbb"
                   "\4\0\4abcd",
            35, "192.0.2.1:56324"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test *t = serve_trusting(&proto_text, trusted, true);
        struct buf in = {0};
        int fd = dial(t);

        put(t, fd, cases[i].header, cases[i].len);
        put_str(t, fd, "hello\n");
        get(t, fd, &in, 6);
        assert_memory_equal(in.data, "hello\n", 6);
        assert_string_equal(t->peer, cases[i].peer);
        close(fd);
        finish(t);
        buf_fini(&in);
    }
}

static void the_header_may_come_byte_by_byte(void **state)
{
    struct test *t = serve_trusting(&proto_text, trusted, true);
    const char *text = LINE "hello\n";
    struct buf in = {0};
    int fd = dial(t);

    for (size_t i = 0; i < strlen(text); i++) {
        put(t, fd, text + i, 1);
        for (int turn = 0; turn < 2; turn++)
            turn_once(t, uv_hrtime());
    }
    get(t, fd, &in, 6);
    assert_memory_equal(in.data, "hello\n", 6);
    assert_string_equal(t->peer, "192.0.2.1:56324");
    close(fd);
    finish(t);
    buf_fini(&in);
}

static void a_websocket_may_follow_the_header(void **state)
{
    struct test *t = serve_trusting(&proto_websocket, trusted, true);
    struct buf in = {0};
    int fd = dial(t);

    put_str(t, fd, LINE);
    upgrade(t, fd, &in);
    put_text(t, fd, "hello");
    expect_frame(t, fd, &in, 0x81, "hello", 5);
    assert_string_equal(t->peer, "192.0.2.1:56324");
    close(fd);
    finish(t);
    buf_fini(&in);
}

static void a_proxy_that_speaks_for_itself_keeps_its_address(void **state)
{
    static const char local[] = SIGNATURE "\x20\0\0\0";
    struct test *t = serve_trusting(&proto_text, trusted, true);
    struct buf in = {0};
    int fd;

    for (int i = 0; i < 2; i++) {
        fd = dial(t);
        if (i == 0)
            put(t, fd, local, sizeof(local) - 1);
        else
            put_str(t, fd, "PROXY UNKNOWN\r\n");
        put_str(t, fd, "hello\n");
        get(t, fd, &in, 6);
        assert_memory_equal(t->peer, "127.0.0.1:", 10);
        buf_clear(&in);
        close(fd);
    }
    finish(t);
    buf_fini(&in);
}

static void other_peers_are_refused_before_a_byte_is_read(void **state)
{
    struct test *t = serve_trusting(&proto_text, others, true);
    int fd = dial(t);

    expect_closed(t, fd);
    assert_int_equal(port_counters(t->port)->refused, 1);
    finish(t);
}

static void what_is_no_header_is_refused(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.2.3.4\r\n", "\n"};
    struct test *t = serve_trusting(&proto_text, trusted, true);
    char endless[PROXYHDR_MAX];
    int fd;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        fd = dial(t);
        put_str(t, fd, lines[i]);
        expect_closed(t, fd);
    }
    memset(endless, 'x', sizeof(endless));
    memcpy(endless, "PROXY UNKNOWN ", 14);
    fd = dial(t);
    put(t, fd, endless, sizeof(endless));
    expect_closed(t, fd);
    assert_int_equal(port_counters(t->port)->refused, 4);
    finish(t);
}

static void a_header_that_does_not_come_times_out(void **state)
{
    struct test *t = prepare(&proto_text);
    int silent, slow;

    log_set_level(LOG_ERROR);
    t->conf.trusted_proxies = trusted;
    t->conf.proxy_protocol = true;
    t->conf.handshake_timeout = 0.1;
    start(t);
    silent = dial(t);
    slow = dial(t);
    put_str(t, slow, "PROXY ");
    expect_closed(t, silent);
    expect_closed(t, slow);
    assert_int_equal(taken(t), 0);
    finish(t);
}

static void who_hangs_up_in_the_header_is_forgotten(void **state)
{
    struct test *t = serve_trusting(&proto_text, trusted, true);
    int fd = dial(t);

    put_str(t, fd, "PROXY ");
    UNTIL(t, taken(t) == 1);
    close(fd);
    UNTIL(t, taken(t) == 0);
    assert_int_equal(port_counters(t->port)->refused, 0);
    finish(t);
}

static void an_end_in_the_header_leaves_nothing(void **state)
{
    struct test *t = serve_trusting(&proto_text, trusted, true);
    int fd = dial(t);

    put_str(t, fd, "PROXY ");
    UNTIL(t, taken(t) == 1);
    finish(t);
    close(fd);
}

static void limits_count_the_clients_not_the_proxy(void **state)
{
    struct test *t = prepare(&proto_text);
    struct buf in = {0};
    int fds[3];

    log_set_level(LOG_ERROR);
    t->conf.trusted_proxies = trusted;
    t->conf.proxy_protocol = true;
    t->conf.max_connections = 3;
    t->conf.max_connections_per_ip = 1;
    start(t);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(t);
        put_str(t, fds[i],
            i == 1 ? "PROXY TCP4 192.0.2.9 192.0.2.2 1 2\r\nx\n" : LINE "x\n");
        if (i < 2)
            UNTIL(t, t->messages == (unsigned)i + 1);
    }
    get_all(t, fds[2], &in);
    assert_int_equal(t->opened, 2);
    assert_int_equal(taken(t), 2);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    finish(t);
    buf_fini(&in);
}

/* The address of the client that upgrades with these headers. */
static const char *upgraded_peer(struct test *t, const char *headers)
{
    static char peer[ADDR_TEXT_SIZE];
    char request[2048];
    unsigned opened = t->opened;
    int fd = dial(t);

    snprintf(request, sizeof(request), "%.*s%s\r\n",
        (int)strlen(UPGRADE("")) - 2, UPGRADE(""), headers);
    put_str(t, fd, request);
    UNTIL(t, t->opened > opened);
    close(fd);
    UNTIL(t, t->closed == t->opened);
    snprintf(peer, sizeof(peer), "%s", t->peer);
    return peer;
}

static void headers_of_a_trusted_proxy_name_the_client(void **state)
{
    static const char *const cases[][2] = {
        {"X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9:0"},
        {"X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1\r\n",
            "203.0.113.9:0"},
        {"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9\r\n",
            "203.0.113.9:0"},
        {"X-Forwarded-For: 2001:db8::9\r\n", "[2001:db8::9]:0"},
        {"X-Real-IP: 203.0.113.9\r\n", "203.0.113.9:0"},
        {"X-Real-IP: 6.6.6.6\r\nX-Real-IP: 203.0.113.9\r\n", "203.0.113.9:0"},
        {"X-Real-IP: 6.6.6.6\r\nx-forwarded-for: 203.0.113.9\r\n",
            "203.0.113.9:0"},
    };
    struct test *t = serve_trusting(&proto_websocket, trusted, false);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(upgraded_peer(t, cases[i][0]), cases[i][1]);
    assert_memory_equal(upgraded_peer(t, ""), "127.0.0.1:", 10);
    assert_memory_equal(
        upgraded_peer(t, "X-Forwarded-For: unknown\r\n"), "127.0.0.1:", 10);
    finish(t);
}

static void headers_of_others_are_ignored(void **state)
{
    static const char forged[] =
        "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
    struct test *t = serve_trusting(&proto_websocket, others, false);

    assert_memory_equal(upgraded_peer(t, forged), "127.0.0.1:", 10);
    finish(t);
    t = serve_trusting(&proto_websocket, NULL, false);
    assert_memory_equal(upgraded_peer(t, forged), "127.0.0.1:", 10);
    finish(t);
}

static void an_upgrade_counts_for_the_address_it_names(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0};
    int fds[3];

    log_set_level(LOG_ERROR);
    t->conf.trusted_proxies = trusted;
    t->conf.max_connections_per_ip = 1;
    start(t);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(t);
        put_str(t, fds[i],
            i == 1 ? UPGRADE("X-Real-IP: 203.0.113.8\r\n")
                   : UPGRADE("X-Real-IP: 203.0.113.9\r\n"));
        if (i < 2)
            UNTIL(t, t->opened == (unsigned)i + 1);
    }
    get_all(t, fds[2], &in);
    assert_non_null(strstr((char *)in.data, " 503 "));
    assert_int_equal(t->opened, 2);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    UNTIL(t, t->closed == 2);
    assert_string_equal(
        upgraded_peer(t, "X-Real-IP: 203.0.113.9\r\n"), "203.0.113.9:0");
    finish(t);
    buf_fini(&in);
}

static void ban(struct test *t, const char *host)
{
    union addr a;

    assert_int_equal(addr_parse_host(&a, host), 0);
    assert_int_equal(port_ban(t->port, &a, 3600), 0);
}

/* The answer to a request with these headers, and the connection's end. */
static void expect_status(
    struct test *t, int fd, const char *headers, const char *status)
{
    struct buf in = {0};

    put_str(t, fd, "GET / HTTP/1.1\r\nHost: x\r\n");
    put_str(t, fd, headers);
    put_str(t, fd, "\r\n");
    get_all(t, fd, &in);
    assert_memory_equal(in.data, status, strlen(status));
    close(fd);
    buf_fini(&in);
}

static void a_ban_closes_who_is_no_client_yet(void **state)
{
    struct test *t = serve_trusting(&proto_websocket, others, false);
    int silent = dial(t), half = dial(t);

    put_str(t, half, "GET / HTTP/1.1\r\n");
    UNTIL(t, taken(t) == 2);
    ban(t, "127.0.0.2");
    turn_once(t, uv_hrtime());
    assert_int_equal(taken(t), 2);
    ban(t, "127.0.0.1");
    expect_closed(t, silent);
    expect_closed(t, half);
    UNTIL(t, taken(t) == 0);
    finish(t);
}

static void a_ban_holds_for_all_requests_through_a_proxy(void **state)
{
    static const struct {
        const char *headers, *status;
    } table[] = {
        {"X-Real-IP: 203.0.113.9\r\n", "HTTP/1.1 503 "},
        {"X-Real-IP: 203.0.113.8\r\n", "HTTP/1.1 426 "}, /* as without bans */
        {"", "HTTP/1.1 503 "},
    };
    struct test *t = serve_trusting(&proto_websocket, trusted, false);
    int fds[3];

    for (int i = 0; i < 3; i++)
        fds[i] = dial(t);
    UNTIL(t, taken(t) == 3);
    ban(t, "203.0.113.9");
    ban(t, "127.0.0.1"); /* the proxy itself */
    for (int i = 0; i < 3; i++)
        expect_status(t, fds[i], table[i].headers, table[i].status);
    finish(t);
}

static void a_network_that_is_none_is_an_error(void **state)
{
    static const char *const wrong[] = {"10.0.0.0/99", NULL};
    struct test *t = prepare(&proto_text);
    char err[256] = "";

    t->conf.trusted_proxies = wrong;
    assert_int_equal(
        port_new(&t->port, t->turn, -1, &t->conf, &ops, t, err), -EINVAL);
    assert_string_equal(
        err, "trusted_proxies: \"10.0.0.0/99\" is not a network");
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_names_the_client),
        cmocka_unit_test(the_header_may_come_byte_by_byte),
        cmocka_unit_test(a_websocket_may_follow_the_header),
        cmocka_unit_test(a_proxy_that_speaks_for_itself_keeps_its_address),
        cmocka_unit_test(other_peers_are_refused_before_a_byte_is_read),
        cmocka_unit_test(what_is_no_header_is_refused),
        cmocka_unit_test(a_header_that_does_not_come_times_out),
        cmocka_unit_test(who_hangs_up_in_the_header_is_forgotten),
        cmocka_unit_test(an_end_in_the_header_leaves_nothing),
        cmocka_unit_test(limits_count_the_clients_not_the_proxy),
        cmocka_unit_test(headers_of_a_trusted_proxy_name_the_client),
        cmocka_unit_test(headers_of_others_are_ignored),
        cmocka_unit_test(an_upgrade_counts_for_the_address_it_names),
        cmocka_unit_test(a_ban_closes_who_is_no_client_yet),
        cmocka_unit_test(a_ban_holds_for_all_requests_through_a_proxy),
        cmocka_unit_test(a_network_that_is_none_is_an_error),
    };

    return cmocka_run_group_tests_name("clients.proxy", tests, NULL, NULL);
}
