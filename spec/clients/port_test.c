/* Websocket clients, byte by byte. */
#include "port_fixture.h"

#include "wire/framing.h"

/* Send request, read until the server closes, return what it said. */
static char *ask(struct test *t, const char *request, size_t len)
{
    struct buf in = {0};
    int fd = dial(t);
    char *answer;

    put(t, fd, request, len);
    get_all(t, fd, &in);
    answer = xstrdup((const char *)in.data);
    buf_fini(&in);
    close(fd);
    return answer;
}

static void expect_status(struct test *t, const char *request, const char *want)
{
    char *answer = ask(t, request, strlen(request));

    if (strncmp(answer, "HTTP/1.1 ", 9) != 0 ||
        strncmp(answer + 9, want, strlen(want)) != 0)
        fail_msg("%s\nis answered with\n%s", request, answer);
    free(answer);
}

static void a_message_comes_back(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd;

    t->echo = true;
    fd = dial_upgraded(t, &in);
    put_text(t, fd, "hello");
    expect_frame(t, fd, &in, 0x81, "hello", 5);
    assert_true(heard(t, "open /chat?room=1\n"));
    assert_true(heard(t, "header host=localhost\n"));
    assert_true(heard(t, "text hello\n"));
    assert_int_equal(
        client_conn_bytes_in(t->conn), strlen(UPGRADE("")) + 2 + 4 + 5);
    assert_int_equal(client_conn_bytes_out(t->conn), 129 + 2 + 5);
    close(fd);
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1006 client\n"));
    buf_fini(&in);
    finish(t);
}

#define HEAD(upgrade, version, key)                                                 \
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: " upgrade \
    "\r\nSec-WebSocket-Version: " version "\r\nSec-WebSocket-Key: " key "\r\n"
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static void a_bad_handshake_is_answered_and_closed(void **state)
{
    static const struct {
        const char *request;
        const char *status;
    } table[] = {
        {HEAD("websocket", "8", KEY) "\r\n", "426"},
        {HEAD("websocket", "99", KEY) "\r\n", "426"},
        {HEAD("websocket", "13", "short") "\r\n", "400"},
        {HEAD("websocket", "13", KEY KEY) "\r\n", "400"},
        {HEAD("websocket", "13", "dGhlIHNhbXBsZSBub25jZQ=\"") "\r\n", "400"},
        {HEAD("websocket", "13", "dGhlIHNhbXBsZSBub25jZ===") "\r\n", "400"},
        {HEAD("h2c", "13",
             KEY) "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
            "426"},
        {HEAD("foo", "13", KEY) "\r\n", "426"},
        {HEAD("foo", "13", KEY) "Connection: keep-alive\r\n\r\n", "426"},
        {HEAD("websockets", "13", KEY) "\r\n", "426"},
        {HEAD("websocket", "13", KEY) "Content-Length: 5\r\n\r\nhello", "400"},
        {HEAD("websocket", "13", KEY) "Content-Length: 0\r\n"
                                      "Content-Length: 5\r\n\r\nhello",
            "400"},
        {HEAD("websocket", "13", KEY) "Content-Length:\r\n\r\n", "400"},
        {HEAD("websocket", "13", KEY) "Content-Length: 0, 5\r\n\r\n", "400"},
        {HEAD("websocket", "13", KEY) "Transfer-Encoding: chunked\r\n\r\n",
            "400"},
        {HEAD("websocket", "13", KEY) "Sec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {HEAD("websocket", "13", KEY) "Sec-WebSocket-Version: 13\r\n\r\n",
            "400"},
        {HEAD("websocket", "13",
             KEY) "Origin: https://good\r\nOrigin: http://evil\r\n\r\n",
            "403"},
        {HEAD("websocket", "13", KEY) "Origin: http://evil\r\n\r\n", "403"},
        {HEAD("websocket", "13", KEY) "Sec-WebSocket-Protocol: (x)\r\n\r\n",
            "400"},
        {"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: " KEY "\r\n\r\n",
            "405"},
        {"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
         "Upgrade: websocket\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
            "426"},
        {"GET / HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\n"
         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "426"},
        {"GET / HTTP/1.0\r\n\r\n", "426"},
        {"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
        {"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
        {"GET /%00x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {"GET /a%00b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {"GET /?a=%00b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: " KEY "\r\n\r\n",
            "400"},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "426"},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
         "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "426"},
        {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "426"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nx",
            "405"},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", "426"},
        {"\r\n\r\n\r\n", "400"},
        {"\x16\x03\x01\x02\r\n\r\n", "400"},
    };
    static const char *const origins[] = {"https://good", NULL};
    struct test *t = prepare(&proto_websocket);

    t->conf.allowed_origins = origins;
    start(t);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        expect_status(t, table[i].request, table[i].status);
    assert_int_equal(t->opened, 0);
    assert_true(port_counters(t->port)->refused > 15);
    UNTIL(t, port_counters(t->port)->connections == 0);
    finish(t);
}

static void every_answer_says_that_the_connection_closes(void **state)
{
    struct test *t = serve(&proto_websocket);
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n"
                                  "Connection: keep-alive\r\n\r\n";
    char *answer = ask(t, request, strlen(request));

    assert_non_null(strstr(answer, "connection: close\r\n"));
    assert_non_null(strstr(answer, "upgrade: websocket\r\n"));
    assert_null(strstr(answer + 1, "HTTP/1."));
    free(answer);
    finish(t);
}

static void an_allowed_origin_and_none_at_all_pass(void **state)
{
    static const char *const origins[] = {"https://good", NULL};
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0};
    int fd;

    t->conf.allowed_origins = origins;
    start(t);
    fd = dial(t);
    put_str(t, fd, UPGRADE("Origin: https://GOOD\r\n"));
    get(t, fd, &in, 13);
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    close(fd);
    buf_clear(&in);
    fd = dial_upgraded(t, &in);
    close(fd);
    assert_int_equal(t->opened, 2);
    buf_fini(&in);
    finish(t);
}

static void no_extension_is_accepted_and_a_subprotocol_is(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial(t);

    put_str(t, fd,
        UPGRADE("Sec-WebSocket-Extensions: permessage-deflate\r\n"
                "Sec-WebSocket-Protocol: v2.chat, other\r\n"));
    UNTIL(t, !get_some(fd, &in) ||
                 (in.len > 0 && memmem(in.data, in.len, "\r\n\r\n", 4)));
    buf_append_byte(&in, '\0');
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    assert_null(strcasestr((char *)in.data, "extensions"));
    assert_non_null(
        strcasestr((char *)in.data, "sec-websocket-protocol: v2.chat\r\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* The first line of the answer to an upgrade with these lines, and what it says
 * of a subprotocol; NULL: nothing. */
static void expect_subprotocol(
    struct test *t, const char *lines, const char *want)
{
    struct buf in = {0};
    int fd = dial(t);

    put(t, fd, UPGRADE(""), strlen(UPGRADE("")) - 2);
    put_str(t, fd, lines);
    put_str(t, fd, "\r\n");
    UNTIL(t, !get_some(fd, &in) ||
                 (in.len > 0 && memmem(in.data, in.len, "\r\n\r\n", 4)));
    buf_append_byte(&in, '\0');
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    if (want != NULL)
        assert_non_null(strstr((char *)in.data, want));
    else
        assert_null(strcasestr((char *)in.data, "sec-websocket-protocol"));
    close(fd);
    buf_fini(&in);
}

static void the_ports_own_subprotocols_are_chosen_in_its_order(void **state)
{
    static const char *const ours[] = {"v2", "v1", NULL};
    struct test *t = prepare(&proto_websocket);

    t->conf.protocols = ours;
    start(t);
    expect_subprotocol(t, "Sec-WebSocket-Protocol: v0, v1, v2\r\n",
        "Sec-WebSocket-Protocol: v2\r\n");
    expect_subprotocol(t,
        "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n",
        "Sec-WebSocket-Protocol: v2\r\n");
    expect_subprotocol(t, "Sec-WebSocket-Protocol: v22,v1,V2\r\n",
        "Sec-WebSocket-Protocol: v1\r\n");
    expect_subprotocol(t, "Sec-WebSocket-Protocol: v0, v3\r\n", NULL);
    expect_subprotocol(t, "X-None: v2\r\n", NULL);
    finish(t);
}

static void every_token_is_a_subprotocol_however_long(void **state)
{
    struct test *t = serve(&proto_websocket);
    char lines[4300] = "Sec-WebSocket-Protocol: ", want[4300];

    expect_subprotocol(t, "Sec-WebSocket-Protocol: v1+json, v2\r\n",
        "Sec-WebSocket-Protocol: v1+json\r\n");
    expect_subprotocol(t,
        "Sec-WebSocket-Protocol: !#$%&'*+-.^_`|~\r\n"
        "Sec-WebSocket-Protocol: v2\r\n",
        "Sec-WebSocket-Protocol: !#$%&'*+-.^_`|~\r\n");
    memset(lines + strlen(lines), 'a', 4096);
    strcat(lines, "\r\n");
    strcpy(want, lines);
    expect_subprotocol(t, lines, want);
    finish(t);
}

static void a_body_of_no_bytes_is_none(void **state)
{
    struct test *t = serve(&proto_websocket);

    expect_subprotocol(t, "Content-Length: 0\r\n", "Upgrade: websocket\r\n");
    finish(t);
}

static void too_many_headers_are_refused(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf many = {0}, large = {0};

    buf_append_str(&many, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 200; i++)
        buf_append_str(&many, "Cookie: a=b\r\n");
    buf_append_str(&many, "\r\n");
    buf_append_byte(&many, '\0');
    expect_status(t, (char *)many.data, "431");
    buf_append_str(&large, "GET / HTTP/1.1\r\nHost: x\r\nCookie: ");
    for (int i = 0; i < PORT_HEAD_MAX; i++)
        buf_append_byte(&large, 'a');
    buf_append(&large, "\r\n\r\n", 5);
    expect_status(t, (char *)large.data, "431");
    assert_int_equal(port_counters(t->port)->refused, 2);
    buf_fini(&many);
    buf_fini(&large);
    finish(t);
}

static void as_much_of_headers_as_allowed_is_fine_in_any_pieces(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf head = {0}, in = {0};
    int fd = dial(t);

    buf_append(&head, UPGRADE(""), strlen(UPGRADE("")) - 2);
    buf_append_str(&head, "Cookie: ");
    while (head.len < PORT_HEAD_MAX - 4)
        buf_append_byte(&head, 'a');
    buf_append_str(&head, "\r\n\r\n");
    put(t, fd, head.data, head.len - 5);
    for (size_t left = 5; left > 0; left--) {
        uint64_t before = port_counters(t->port)->bytes_in;

        put(t, fd, head.data + head.len - left, 1);
        UNTIL(t, port_counters(t->port)->bytes_in > before);
    }
    get(t, fd, &in, 13);
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    close(fd);
    buf_fini(&head);
    buf_fini(&in);
    finish(t);
}

static void the_request_reaches_the_owner_whole(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial(t);

    put_str(t, fd,
        "GET /a%20b//./c?x=1;y=%26%3D%2B+z&&list[]=%E4%BD%A0 HTTP/1.1\r\n"
        "host: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"
        "Cookie: a=b; c=d\r\nX-Forwarded-For: 1.2.3.4\r\n"
        "X-Real-IP: 5.6.7.8\r\nUser-Agent: spec\r\nX-My_Token: t\r\n"
        "Two: 1\r\nTwo: 2\r\n\r\n");
    get(t, fd, &in, 13);
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    assert_true(
        heard(t, "open /a%20b//./c?x=1;y=%26%3D%2B+z&&list[]=%E4%BD%A0\n"));
    assert_true(heard(t, "header cookie=a=b; c=d\n"));
    assert_true(heard(t, "header x-forwarded-for=1.2.3.4\n"));
    assert_true(heard(t, "header x-real-ip=5.6.7.8\n"));
    assert_true(heard(t, "header user-agent=spec\n"));
    assert_false(heard(t, "token")); /* X_My-Token could not be told from it */
    assert_true(heard(t, "header two=1\nheader two=2\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static bool say_welcome(struct test *t)
{
    assert_int_equal(
        client_conn_send(t->conn, "welcome", 7, PROTOCOL_AS_USUAL), 0);
    return true;
}

static void what_is_sent_in_on_open_follows_the_101(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd;

    t->on_open = say_welcome;
    fd = dial_upgraded(t, &in);
    expect_frame(t, fd, &in, 0x81, "welcome", 7);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static bool say_no(struct test *t)
{
    t->opened--; /* no on_close() will follow */
    return false;
}

static void a_client_that_the_owner_refuses_is_answered_503(void **state)
{
    struct test *t = serve(&proto_websocket);

    t->on_open = say_no;
    expect_status(t, UPGRADE(""), "503");
    finish(t);
}

static bool say_goodbye(struct test *t)
{
    client_conn_send(t->conn, "bye", 3, PROTOCOL_AS_USUAL);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 4001, "later");
    return true;
}

static void a_close_in_on_open_follows_the_101(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd;

    t->on_open = say_goodbye;
    fd = dial_upgraded(t, &in);
    expect_frame(t, fd, &in, 0x81, "bye", 3);
    expect_frame(t, fd, &in, 0x88, "\x0f\xa1later", 7);
    put_frame(t, fd, 0x88, "\x0f\xa1", 2);
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 4001 kicked, saying later\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void a_message_may_come_with_the_upgrade(void **state)
{
    struct test *t = serve(&proto_websocket);
    static const char both[] =
        UPGRADE("") "\x81\x82\x00\x00\x00\x00hi\x81\x81\x00\x00\x00\x00!";
    int fd = dial(t);

    put(t, fd, both, sizeof(both) - 1);
    UNTIL(t, t->messages == 2);
    assert_true(heard(t, "text hi\ntext !\n"));
    close(fd);
    finish(t);
}

static void fragments_make_one_message(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    put_frame(t, fd, 0x02, "ab", 2);
    put_frame(t, fd, 0x00, "", 0);
    put_frame(t, fd, 0x89, "now", 3); /* a ping between fragments */
    put_frame(t, fd, 0x00, "cd", 2);
    put_frame(t, fd, 0x80, "e", 1);
    put_frame(t, fd, 0x81, "", 0);
    put_frame(t, fd, 0x01, "", 0);
    put_frame(t, fd, 0x80, "", 0);
    put_text(t, fd, "end");
    UNTIL(t, t->messages == 4);
    assert_true(heard(t, "binary abcde\ntext \ntext \ntext end\n"));
    expect_frame(t, fd, &in, 0x8a, "now", 3);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void a_message_may_arrive_byte_by_byte(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);
    static const char frame[] = "\x81\x85\x00\x00\x00\x00hello";
    uint64_t seen;

    for (size_t i = 0; i < sizeof(frame) - 1; i++) {
        put(t, fd, frame + i, 1);
        seen = uv_hrtime();
        turn_once(t, seen);
    }
    UNTIL(t, t->messages == 1);
    assert_true(heard(t, "text hello\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void many_messages_in_one_segment_keep_their_order(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0}, out = {0};
    int fd = dial_upgraded(t, &in);
    char text[32];

    t->echo = true;
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        put_text(t, fd, text);
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "message %d", i);
        expect_frame(t, fd, &in, 0x81, text, strlen(text));
    }
    close(fd);
    buf_fini(&in);
    buf_fini(&out);
    finish(t);
}

static void messages_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 511, 512, 513, 2047,
        2048, 2049, 4096, 65535, 65536, 65537, 300000, 1048576};
    struct test *t = serve(&proto_websocket);
    struct buf in = {0}, out = {0};
    int fd = dial_upgraded(t, &in);
    char *data = xmalloc(1048576);

    t->echo = true;
    for (size_t i = 0; i < 1048576; i++)
        data[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        put_frame(t, fd, 0x81, data, sizes[i]);
        expect_frame(t, fd, &in, 0x81, data, sizes[i]);
    }
    free(data);
    close(fd);
    buf_fini(&in);
    buf_fini(&out);
    finish(t);
}

/* Whatever follows, the server's next frame is a Close of this code. */
static void expect_close(struct test *t, int fd, struct buf *in, int code)
{
    struct buf out = {0};

    assert_int_equal(get_frame(t, fd, in, &out), 0x88);
    assert_true(out.len >= 2);
    assert_int_equal(out.data[0] << 8 | out.data[1], code);
    buf_fini(&out);
}

static void what_breaks_the_protocol_is_closed_with_its_code(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int code;
    } table[] = {
        {"\x81\x82\x00\x00\x00\x00\xc3\x28", 8, 1007}, /* not UTF-8 */
        {"\x81\x81\x00\x00\x00\x00\xc3", 7, 1007},     /* cut off */
        {"\x83\x80\x00\x00\x00\x00", 6, 1002},         /* opcode 3 */
        {"\xf1\x80\x00\x00\x00\x00", 6, 1002},         /* RSV bits */
        {"\x80\x80\x00\x00\x00\x00", 6, 1002},         /* nothing to continue */
        {"\x09\x80\x00\x00\x00\x00", 6, 1002},         /* a ping in pieces */
        {"\x89\xfe\x00\x7e", 4, 1002},                 /* a long ping */
        {"\x81\x01z", 3, 1002},                        /* no mask */
        {"\x01\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00", 12,
            1002}, /* a message inside another */
        {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 14,
            1002},                                         /* 2^63 bytes */
        {"\x88\x81\x00\x00\x00\x00\x03", 7, 1002},         /* half a code */
        {"\x88\x82\x00\x00\x00\x00\x03\xed", 8, 1002},     /* code 1005 */
        {"\x88\x83\x00\x00\x00\x00\x03\xe8\xff", 9, 1007}, /* its reason */
        {"\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00z", 15,
            1009}, /* announces 2^62 bytes */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = serve(&proto_websocket);
        struct buf in = {0};
        int fd = dial_upgraded(t, &in);
        char want[32];

        put(t, fd, table[i].bytes, table[i].len);
        expect_close(t, fd, &in, table[i].code);
        close(fd);
        UNTIL(t, t->closed == 1);
        snprintf(want, sizeof(want), "close %d ", table[i].code);
        assert_true(heard(t, want));
        assert_int_equal(t->messages, 0);
        buf_fini(&in);
        finish(t);
    }
}

static void a_character_may_be_cut_by_fragments(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    put(t, fd, "\x01\x81\x00\x00\x00\x00\xc3", 7);
    put(t, fd, "\x8a\x81\x00\x00\x00\x00\xff", 7); /* a pong is no text */
    put(t, fd, "\x80\x81\x00\x00\x00\x00\xa9", 7);
    UNTIL(t, t->messages == 1);
    assert_true(heard(t, "\xc3\xa9"));
    put(t, fd, "\x01\x81\x00\x00\x00\x00\xc3", 7);
    put(t, fd, "\x80\x81\x00\x00\x00\x00z", 7);
    expect_close(t, fd, &in, 1007);
    close(fd);
    UNTIL(t, t->closed == 1);
    buf_fini(&in);
    finish(t);
}

static void a_message_over_the_limit_closes_with_1009(void **state)
{
    for (int fragmented = 0; fragmented < 2; fragmented++) {
        struct test *t = prepare(&proto_websocket);
        struct buf in = {0};
        char data[101];
        int fd;

        memset(data, 'x', sizeof(data));
        t->conf.message_max = 100;
        start(t);
        fd = dial_upgraded(t, &in);
        put_frame(t, fd, 0x81, data, 100);
        UNTIL(t, t->messages == 1);
        if (fragmented) {
            put_frame(t, fd, 0x01, data, 60);
            put_frame(t, fd, 0x80, data, 41);
        } else {
            put_frame(t, fd, 0x81, data, 101);
        }
        expect_close(t, fd, &in, 1009);
        close(fd);
        UNTIL(t, t->closed == 1);
        assert_int_equal(t->messages, 1);
        assert_true(heard(t, "close 1009 too_large, saying message too big\n"));
        buf_fini(&in);
        finish(t);
    }
}

static void a_peers_close_is_answered_and_told(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    t->echo = true;
    put_text(t, fd, "last");
    put_frame(t, fd, 0x88,
        "\x03\xe8"
        "done",
        6);
    expect_frame(t, fd, &in, 0x81, "last", 4);
    expect_frame(t, fd, &in, 0x88,
        "\x03\xe8"
        "done",
        6);
    get_all(t, fd, &in); /* and then it closes */
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1000 client, saying done\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void closes_of_every_kind_are_answered_alike(void **state)
{
    static const struct {
        const char *payload;
        size_t len;
        const char *told;
    } table[] = {
        {"", 0, "close 1005 client\n"},
        {"\x03\xe8", 2, "close 1000 client\n"},
        {"\x03\xf4", 2, "close 1012 client\n"},
        {"\x0f\xa0up", 4, "close 4000 client, saying up\n"},
        {"\x03\xe8gateway_lost", 14,
            "close 1000 client, saying gateway_lost\n"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct test *t = serve(&proto_websocket);
        struct buf in = {0};
        int fd = dial_upgraded(t, &in);

        put_frame(t, fd, 0x88, table[i].payload, table[i].len);
        expect_frame(t, fd, &in, 0x88, table[i].payload, table[i].len);
        get_all(t, fd, &in);
        UNTIL(t, t->closed == 1);
        assert_true(heard(t, table[i].told));
        close(fd);
        buf_fini(&in);
        finish(t);
    }
}

static void every_ping_is_answered(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    char data[126];
    int fd = dial_upgraded(t, &in);

    memset(data, 'p', sizeof(data));
    for (size_t i = 0; i <= 125; i++)
        put_frame(t, fd, 0x89, data, i);
    for (size_t i = 0; i <= 125; i++)
        expect_frame(t, fd, &in, 0x8a, data, i);
    assert_int_equal(t->messages, 0);
    close(fd);
    buf_fini(&in);
    finish(t);
}

/* Names that another server's parser took for the beginning of others. */
static void headers_of_any_name_harm_no_other(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial(t);

    put_str(t, fd,
        "GET / HTTP/1.1\r\nX-A: 1\r\nHost: h\r\nX-Auth: t\r\n"
        "Upgrade: h2c, websocket\r\nSec-W: x\r\nConnection: keep-alive\r\n"
        "Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: " KEY "\r\nC: y\r\n\r\n");
    get(t, fd, &in, 129);
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    assert_non_null(memmem(
        in.data, in.len, "Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 38));
    assert_true(heard(t, "header x-auth=t\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void our_close_comes_last_and_waits_for_the_answer(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    client_conn_send(t->conn, "one", 3, PROTOCOL_AS_USUAL);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, "kicked");
    assert_int_equal(
        client_conn_send(t->conn, "two", 3, PROTOCOL_AS_USUAL), -ENOTCONN);
    expect_frame(t, fd, &in, 0x81, "one", 3);
    expect_frame(t, fd, &in, 0x88, "\x03\xe8kicked", 8);
    put_text(t, fd, "unheard");
    assert_int_equal(t->closed, 0);
    put_frame(t, fd, 0x88, "\x03\xe8", 2);
    get_all(t, fd, &in);
    assert_int_equal(in.len, 1); /* the NUL of get_all() */
    UNTIL(t, t->closed == 1);
    assert_int_equal(t->messages, 0);
    assert_true(heard(t, "close 1000 kicked, saying kicked\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0}, out = {0};
    int fd = dial_upgraded(t, &in);
    char reason[200] = "";

    for (int i = 0; i < 50; i++)
        strcat(reason, "\xe4\xbd\xa0");
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, reason);
    assert_int_equal(get_frame(t, fd, &in, &out), 0x88);
    assert_int_equal(out.len, 2 + 123);
    close(fd);
    buf_fini(&in);
    buf_fini(&out);
    finish(t);
}

static void a_peer_that_does_not_answer_our_close_is_cut_off(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    client_conn_close(t->conn, CLIENT_CONN_RESTART, 1001, "bye");
    get_all(t, fd, &in); /* 5 s */
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1001 restart, saying bye\n"));
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void who_broke_the_protocol_is_not_waited_for(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int code;
    } table[] = {
        {"\x83\x80\x00\x00\x00\x00", 6, 1002},
        {"\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00z", 15, 1009},
    };
    struct test *t = serve(&proto_websocket);
    struct buf in[2] = {{0}};
    struct clock clock = {0}; /* who is waited for is so for ever */
    int fd[2];

    t->loop.data = &clock;
    for (unsigned i = 0; i < 2; i++) {
        fd[i] = dial_upgraded(t, &in[i]);
        put(t, fd[i], table[i].bytes, table[i].len);
        expect_close(t, fd[i], &in[i], table[i].code);
    }
    UNTIL(t, t->closed == 2); /* though they answer nothing and stay */
    for (unsigned i = 0; i < 2; i++) {
        close(fd[i]);
        buf_fini(&in[i]);
    }
    finish(t);
}

static void close_in_message(struct test *t)
{
    client_conn_send(t->conn, "bye", 3, PROTOCOL_AS_USUAL);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 4000, "enough");
}

static void destroy_in_message(struct test *t)
{
    client_conn_send(t->conn, "lost", 4, PROTOCOL_AS_USUAL);
    client_conn_destroy(t->conn, CLIENT_CONN_DESTROYED);
    client_conn_destroy(t->conn, CLIENT_CONN_TIMEOUT);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, "too late");
}

static void a_client_may_be_closed_in_its_message(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    t->on_message = close_in_message;
    put_text(t, fd, "1");
    put_text(t, fd, "2");
    expect_frame(t, fd, &in, 0x81, "bye", 3);
    expect_close(t, fd, &in, 4000);
    close(fd);
    UNTIL(t, t->closed == 1);
    assert_int_equal(t->messages, 1);
    buf_fini(&in);
    finish(t);
}

static void a_client_may_be_destroyed_in_its_message(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    t->on_message = destroy_in_message;
    put_text(t, fd, "1");
    put_text(t, fd, "2");
    get_all(t, fd, &in);
    assert_int_equal(in.len, 1);
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1006 destroyed\n"));
    assert_int_equal(t->messages, 1);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void a_pong_is_a_sign_of_life(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial_upgraded(t, &in);

    client_conn_ping(t->conn);
    client_conn_ping(t->conn); /* one is under way */
    expect_frame(t, fd, &in, 0x89, "", 0);
    assert_int_equal(t->activity, 0);
    put_frame(t, fd, 0x8a, "", 0);
    UNTIL(t, t->activity == 1);
    assert_int_equal(t->messages, 0);
    client_conn_ping(t->conn);
    expect_frame(t, fd, &in, 0x89, "", 0);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void binary_frames_can_be_asked_for(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0};
    int fd;

    t->conf.send_binary = true;
    t->echo = true;
    start(t);
    fd = dial_upgraded(t, &in);
    put_text(t, fd, "x");
    expect_frame(t, fd, &in, 0x82, "x", 1);
    close(fd);
    buf_fini(&in);
    finish(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_back),
        cmocka_unit_test(a_bad_handshake_is_answered_and_closed),
        cmocka_unit_test(every_answer_says_that_the_connection_closes),
        cmocka_unit_test(an_allowed_origin_and_none_at_all_pass),
        cmocka_unit_test(no_extension_is_accepted_and_a_subprotocol_is),
        cmocka_unit_test(the_ports_own_subprotocols_are_chosen_in_its_order),
        cmocka_unit_test(every_token_is_a_subprotocol_however_long),
        cmocka_unit_test(a_body_of_no_bytes_is_none),
        cmocka_unit_test(too_many_headers_are_refused),
        cmocka_unit_test(as_much_of_headers_as_allowed_is_fine_in_any_pieces),
        cmocka_unit_test(the_request_reaches_the_owner_whole),
        cmocka_unit_test(what_is_sent_in_on_open_follows_the_101),
        cmocka_unit_test(a_client_that_the_owner_refuses_is_answered_503),
        cmocka_unit_test(a_close_in_on_open_follows_the_101),
        cmocka_unit_test(a_message_may_come_with_the_upgrade),
        cmocka_unit_test(fragments_make_one_message),
        cmocka_unit_test(a_message_may_arrive_byte_by_byte),
        cmocka_unit_test(many_messages_in_one_segment_keep_their_order),
        cmocka_unit_test(messages_of_every_size_come_back),
        cmocka_unit_test(what_breaks_the_protocol_is_closed_with_its_code),
        cmocka_unit_test(a_character_may_be_cut_by_fragments),
        cmocka_unit_test(a_message_over_the_limit_closes_with_1009),
        cmocka_unit_test(a_peers_close_is_answered_and_told),
        cmocka_unit_test(closes_of_every_kind_are_answered_alike),
        cmocka_unit_test(every_ping_is_answered),
        cmocka_unit_test(headers_of_any_name_harm_no_other),
        cmocka_unit_test(our_close_comes_last_and_waits_for_the_answer),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
        cmocka_unit_test(a_peer_that_does_not_answer_our_close_is_cut_off),
        cmocka_unit_test(who_broke_the_protocol_is_not_waited_for),
        cmocka_unit_test(a_client_may_be_closed_in_its_message),
        cmocka_unit_test(a_client_may_be_destroyed_in_its_message),
        cmocka_unit_test(a_pong_is_a_sign_of_life),
        cmocka_unit_test(binary_frames_can_be_asked_for),
    };

    return cmocka_run_group_tests_name("clients.port", tests, NULL, NULL);
}
