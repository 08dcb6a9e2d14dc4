/* Questions about handshakes, with a raw socket as the worker: it may know
 * answers with parts or not, and send whatever it likes. */
#include "gateway_fixture.h"
#include "wire/answer.h"
#include "wire/bigendian.h"

static const char *const knows_parts[] = {
    "handshake", "handshake_answer", "on_handshake", NULL};
static const char *const older[] = {"handshake", "on_handshake", NULL};

#define UPGRADE                                     \
    "GET / HTTP/1.1\r\nHost: x\r\n"                 \
    "Connection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\n"                 \
    "Sec-WebSocket-Protocol: v1, v2\r\n"            \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static struct test *t;
static struct peer *worker;

static void serve_with(const char *const *features)
{
    t = prepare(&proto_websocket);
    t->conf.session_max = 4096;
    t->conf.groups_max = 3;
    start(t);
    worker = join_as(t, "w:0", features);
}

static void end_all(void)
{
    hang_up(worker);
    finish(t);
}

/* The next packet for the worker; its bytes stay until forget(). */
static size_t next(struct frame *f)
{
    size_t len;

    UNTIL(t, (len = packet_len(worker)) > 0)
    assert_false(worker->ended);
    assert_int_equal(frame_decode(f, worker->in.data, len), 0);
    return len;
}

static void forget(size_t len)
{
    buf_consume(&worker->in, len);
}

/* A client asks; the number of the question, and the length of its limits. */
static uint32_t ask(struct peer **client, size_t *ext_len)
{
    struct frame f;
    size_t len;

    *client = dial(t, &t->outer);
    put_str(*client, UPGRADE);
    len = next(&f);
    if (f.cmd == FRAME_HANDSHAKE_WATCH) {
        forget(len);
        len = next(&f);
    }
    assert_int_equal(f.cmd, FRAME_HANDSHAKE);
    if (f.ext_len == 8) {
        assert_int_equal(get32(f.ext), 4096);
        assert_int_equal(get32(f.ext + 4), 3);
    }
    *ext_len = f.ext_len;
    forget(len);
    return f.connection_id;
}

static void answer(uint32_t number, const struct buf *body)
{
    struct frame f = {.cmd = FRAME_HANDSHAKE,
        .connection_id = number,
        .body = body->data,
        .body_len = body->len};
    struct buf out = {0};

    frame_encode(&out, &f);
    put(worker, out.data, out.len);
    buf_fini(&out);
}

/* Of the answer that the client gets. */
static void expect_head(
    struct peer *client, const char *begin, const char *part)
{
    UNTIL(t, client->in.len > 0 &&
                 memmem(client->in.data, client->in.len, "\r\n\r\n", 4))
    take(client);
    assert_memory_equal(client->in.data, begin, strlen(begin));
    assert_non_null(
        memmem(client->in.data, client->in.len, part, strlen(part)));
}

static void put_part(struct buf *b, enum answer_kind kind, const char *text)
{
    answer_put(b, kind, text, strlen(text));
}

/* Ask, answer with b, which is cleared, and look at what the client gets. */
static void expect_answer_to(struct buf *b, const char *begin, const char *part)
{
    struct peer *client;
    size_t ext_len;
    uint32_t number = ask(&client, &ext_len);

    assert_int_equal(ext_len, 8);
    answer(number, b);
    buf_fini(b);
    expect_head(client, begin, part);
    hang_up(client);
}

static void a_client_begins_with_what_the_script_gave_it(void **state)
{
    struct peer *client;
    struct frame f;
    struct buf b = {0};
    size_t ext_len, len;
    uint32_t number;

    serve_with(knows_parts);
    number = ask(&client, &ext_len);
    answer_put_status(&b, 0);
    put_part(&b, ANSWER_HEADER, "Set-Cookie: a=1");
    put_part(&b, ANSWER_SUBPROTOCOL, "v2");
    put_part(&b, ANSWER_SESSION, "a:1:{s:1:\"a\";i:1;}");
    put_part(&b, ANSWER_UID, "ann");
    put_part(&b, ANSWER_GROUP, "one");
    put_part(&b, ANSWER_GROUP, "two");
    answer(number, &b);
    answer(number, &b); /* once more is ignored */
    len = next(&f);
    assert_int_equal(f.cmd, FRAME_ON_CONNECT);
    assert_int_equal(f.ext_len, 18);
    assert_memory_equal(f.ext, "a:1:{s:1:\"a\";i:1;}", 18);
    forget(len);
    expect_head(client, "HTTP/1.1 101", "\r\nSet-Cookie: a=1\r\n");
    expect_head(client, "HTTP/1.1 101", "\r\nSec-WebSocket-Protocol: v2\r\n");
    assert_int_equal(status(t).clients, 1);
    assert_int_equal(status(t).groups, 2);
    assert_int_equal(status(t).uids, 1);
    len = next(&f);
    assert_non_null(
        memmem(f.body, f.body_len, "WEBSOCKET_PROTOCOL\";s:2:\"v2", 27));
    forget(len);
    buf_fini(&b);
    hang_up(client);
    expect_event(worker, "ON_CLOSE 1 ");
    assert_int_equal(status(t).groups + status(t).uids, 0);
    end_all();
}

static void a_refusal_is_as_the_script_says(void **state)
{
    struct buf b = {0};

    serve_with(knows_parts);
    answer_put_status(&b, 302);
    put_part(&b, ANSWER_HEADER, "Location: /x");
    expect_answer_to(&b, "HTTP/1.1 302 Found\r\n", "\r\nLocation: /x\r\n");
    answer_put_status(&b, 401);
    put_part(&b, ANSWER_HEADER, "Content-Type: text/html");
    put_part(&b, ANSWER_HEADER, "server: mine");
    put_part(&b, ANSWER_BODY, "<p>");
    expect_answer_to(&b, "HTTP/1.1 401 Unauthorized\r\ndate: ",
        " GMT\r\nContent-Type: text/html\r\nserver: mine\r\n"
        "content-length: 3\r\nconnection: close\r\n\r\n<p>");
    assert_int_equal(status(t).clients, 0);
    end_all();
}

static void what_no_worker_may_say_is_500(void **state)
{
    static const char five[] = "HTTP/1.1 500 ";
    struct buf b = {0};

    serve_with(knows_parts);
    expect_answer_to(&b, five, "close"); /* nothing at all */
    answer_put_status(&b, 200);
    expect_answer_to(&b, five, "close");
    answer_put_status(&b, 0);
    put_part(&b, ANSWER_HEADER, "Upgrade: h2c");
    expect_answer_to(&b, five, "close");
    answer_put_status(&b, 0);
    put_part(&b, ANSWER_SUBPROTOCOL, "v3"); /* was not offered */
    expect_answer_to(&b, five, "close");
    answer_put_status(&b, 0);
    for (int i = 0; i < 4; i++)
        put_part(&b, ANSWER_GROUP, "g");
    expect_answer_to(&b, five, "close");
    answer_put_status(&b, 0);
    buf_append(&b, "s\0\0\x10\x18", 5);
    buf_append_str(&b, "a:1:{i:0;s:4096:\"");
    memset(buf_extend(&b, 4096), 'x', 4096);
    buf_append_str(&b, "\";}");
    put32(b.data + 5, (uint32_t)(b.len - 9));
    expect_answer_to(&b, five, "close");
    assert_int_equal(status(t).clients, 0);
    assert_int_equal(status(t).uids, 0);
    end_all();
}

static void an_older_worker_is_asked_and_heard_as_before(void **state)
{
    struct peer *client;
    size_t ext_len;
    uint32_t number;

    serve_with(older);
    number = ask(&client, &ext_len);
    assert_int_equal(ext_len, 0);
    command(worker, FRAME_HANDSHAKE, number, "", "401 who are you");
    expect_head(client, "HTTP/1.1 401 who are you\r\n", "\r\n\r\nwho are you");
    hang_up(client);
    number = ask(&client, &ext_len);
    command(worker, FRAME_HANDSHAKE, number, "", "0 ");
    expect_head(client, "HTTP/1.1 101", "\r\nSec-WebSocket-Protocol: v1\r\n");
    hang_up(client);
    expect_event(worker, "ON_CONNECT 1 ");
    end_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_begins_with_what_the_script_gave_it),
        cmocka_unit_test(a_refusal_is_as_the_script_says),
        cmocka_unit_test(what_no_worker_may_say_is_500),
        cmocka_unit_test(an_older_worker_is_asked_and_heard_as_before),
    };

    return cmocka_run_group_tests_name("gateway.admissions", tests, NULL, NULL);
}
