/* ws: against a fake server that says exactly what a test wants. */
#include "../net/testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/turn.h"
#include "upstream/wsdial.h"
#include "util/buf.h"

#define GUID    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define FOREVER (600 * 1000) /* ms */

static struct testloop t;
static struct turn *turn;
static struct ws *ws;
static union addr addr;
static int listening;
static int peer;
static struct buf heard; /* of the client, what no test has read */
static int changes;
static struct wsdial_request request;

static void on_change(struct ws *w, void *arg)
{
    assert_ptr_equal(w, ws);
    assert_ptr_equal(arg, &changes);
    changes++;
}

static int setup(void **state)
{
    testloop_open(&t);
    turn = turn_new(&t.loop);
    listening = testloop_bind(&addr);
    assert_int_equal(listen(listening, 8), 0);
    fcntl(listening, F_SETFL, O_NONBLOCK);
    peer = -1;
    ws = NULL;
    changes = 0;
    memset(&heard, 0, sizeof(heard));
    memset(&request, 0, sizeof(request));
    request.host = "127.0.0.1";
    request.port = addr_port(&addr);
    request.path = "/feed?token=1";
    request.connect_ms = FOREVER;
    request.message_max = 100000;
    request.queue_max = 100000;
    return 0;
}

static int teardown(void **state)
{
    if (ws)
        ws_free(ws);
    if (peer >= 0)
        close(peer);
    if (listening >= 0)
        close(listening);
    buf_fini(&heard);
    turn_close(turn);
    testloop_close(&t);
    return 0;
}

/* ---- the server ---- */

static bool accepted(void)
{
    if (peer < 0)
        peer = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    return peer >= 0;
}

static void hear(void)
{
    ssize_t n;

    while ((n = recv(peer, buf_reserve(&heard, 65536), 65536, 0)) > 0)
        buf_commit(&heard, (size_t)n);
}

static bool heard_head(void)
{
    hear();
    return memmem(heard.data, heard.len, "\r\n\r\n", 4) != NULL;
}

static bool heard_bytes(size_t n)
{
    hear();
    return heard.len >= n;
}

static bool has_hung_up(void)
{
    char byte;
    ssize_t n;

    hear();
    n = recv(peer, &byte, 1, 0);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void say(const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(peer, p, len, MSG_NOSIGNAL);

        assert_true(n > 0 || errno == EAGAIN);
        if (n < 0) {
            assert_false(t.expired);
            uv_run(&t.loop, UV_RUN_NOWAIT);
            continue;
        }
        p += n;
        len -= (size_t)n;
    }
}

#define SAY(text) say(text, sizeof(text) - 1)

static bool is_state(enum ws_state state)
{
    return ws_state(ws) == state;
}

static void begin(void)
{
    assert_int_equal(wsdial_open(&ws, turn, &request, on_change, &changes), 0);
    assert_true(is_state(WS_CONNECTING));
}

static void meet(void)
{
    begin();
    testloop_until(&t, accepted());
    testloop_until(&t, heard_head());
    buf_append_byte(&heard, '\0');
}

/* The value that the client wants to see for its key. */
static void accept_key(char out[64])
{
    const char *key = strstr((char *)heard.data, "Sec-WebSocket-Key: ");
    unsigned char hash[EVP_MAX_MD_SIZE];
    char text[128];
    unsigned len;

    assert_non_null(key);
    snprintf(text, sizeof(text), "%.24s" GUID, key + 19);
    EVP_Digest(text, strlen(text), hash, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)out, hash, (int)len);
}

static void welcome(const char *more, const char *frames, size_t len)
{
    struct buf out = {0};
    char key[64];

    accept_key(key);
    buf_printf(&out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
        key, more);
    buf_append(&out, frames, len);
    buf_clear(&heard);
    say(out.data, out.len);
    buf_fini(&out);
}

static void open_ws(void)
{
    meet();
    welcome("", NULL, 0);
    testloop_until(&t, is_state(WS_OPEN));
}

/* ---- what came ---- */

static bool took(const char *text, bool binary)
{
    struct ws_message *m = ws_take(ws);
    bool same;

    if (!m)
        return false;
    same = m->len == strlen(text) && memcmp(m->data, text, m->len) == 0 &&
           m->binary == binary;
    free(m);
    assert_true(same);
    return true;
}

static void fails(int err, const char *text)
{
    const char *why;

    testloop_until(&t, is_state(WS_CLOSED));
    assert_int_equal(ws_error(ws, &why), err);
    if (!strstr(why, text))
        fail_msg("%s", why);
}

/* The next frame of the client, unmasked; its first byte. */
static unsigned next_frame(char *out, size_t size)
{
    size_t len, head = 6;
    unsigned first;
    uint8_t mask[4];

    testloop_until(&t, heard_bytes(2));
    len = heard.data[1] & 127;
    assert_true(heard.data[1] & 128);
    if (len == 126) {
        testloop_until(&t, heard_bytes(4));
        len = (size_t)heard.data[2] << 8 | heard.data[3];
        head = 8;
    }
    testloop_until(&t, heard_bytes(head + len));
    first = heard.data[0];
    memcpy(mask, heard.data + head - 4, 4);
    assert_true(len < size);
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(heard.data[head + i] ^ mask[i & 3]);
    out[len] = '\0';
    buf_consume(&heard, head + len);
    return first;
}

/* ---- the handshake ---- */

static void asks_as_rfc_6455_says(void **state)
{
    static const char *const headers[] = {"Authorization: Bearer x", "X-A: b"};
    char line[64];

    request.headers = headers;
    request.nheaders = 2;
    request.protocols = "one, two";
    meet();
    snprintf(line, sizeof(line), "Host: 127.0.0.1:%u\r\n", request.port);
    assert_memory_equal(heard.data, "GET /feed?token=1 HTTP/1.1\r\n", 28);
    assert_non_null(strstr((char *)heard.data, line));
    assert_non_null(
        strstr((char *)heard.data, "Sec-WebSocket-Version: 13\r\n"));
    assert_non_null(
        strstr((char *)heard.data, "Sec-WebSocket-Protocol: one, two\r\n"));
    assert_non_null(
        strstr((char *)heard.data, "Authorization: Bearer x\r\nX-A: b\r\n"));
    assert_null(strstr((char *)heard.data, "Extensions"));
    assert_null(strstr((char *)heard.data, "Origin"));
    welcome("Sec-WebSocket-Protocol: two\r\n", NULL, 0);
    testloop_until(&t, changes == 1);
    assert_true(is_state(WS_OPEN));
    assert_string_equal(ws_protocol(ws), "two");
}

/* Should a later version of the library use it, this finds out. */
static void takes_no_proxy_of_the_environment(void **state)
{
    setenv("http_proxy", "127.0.0.1:1", 1);
    open_ws();
    unsetenv("http_proxy");
}

static void refuses(const char *answer, int err, const char *text)
{
    meet();
    say(answer, strlen(answer));
    fails(err, text);
    assert_int_equal(changes, 1);
    assert_int_equal(ws_code(ws), WS_CODE_LOST);
}

static void tells_the_status_of_a_refusal(void **state)
{
    refuses("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", -EPROTO,
        "it answers 403");
}

static void follows_no_redirect(void **state)
{
    refuses("HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n"
            "Content-Length: 0\r\n\r\n",
        -EPROTO, "it answers 302");
}

static void refuses_a_wrong_accept(void **state)
{
    refuses("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        -EPROTO, "Accept");
}

static void has_patience_with_what_is_no_http_until_the_deadline(void **state)
{
    request.connect_ms = 200;
    refuses("SSH-2.0-OpenSSH_9.2\r\n", -ETIMEDOUT, "connect_timeout");
}

static void refuses_another_protocol(void **state)
{
    request.protocols = "one";
    meet();
    welcome("Sec-WebSocket-Protocol: three\r\n", NULL, 0);
    fails(-EPROTO, "PROTOCOL");
}

static void refuses_an_extension(void **state)
{
    meet();
    welcome("Sec-WebSocket-Extensions: permessage-deflate\r\n", NULL, 0);
    fails(-EPROTO, "unknown ext");
}

static void refuses_a_head_without_end(void **state)
{
    static const char line[] =
        "X-Filler: 0123456789012345678901234567890123\r\n";

    meet();
    SAY("HTTP/1.1 101 Switching Protocols\r\n");
    for (int i = 0; i < 100000 && !has_hung_up(); i++) {
        send(peer, line, sizeof(line) - 1, MSG_NOSIGNAL);
        uv_run(&t.loop, UV_RUN_NOWAIT);
    }
    fails(-EPROTO, "wrong");
}

static void tells_that_nobody_is_there(void **state)
{
    close(listening);
    listening = -1;
    begin();
    fails(-ECONNREFUSED, "nobody answers");
    assert_int_equal(changes, 1);
}

static void tells_that_the_server_hung_up(void **state)
{
    meet();
    close(peer);
    peer = -1;
    fails(-ECONNRESET, "hung up");
}

static void gives_a_silent_server_up(void **state)
{
    request.connect_ms = 50;
    begin();
    fails(-ETIMEDOUT, "connect_timeout");
    testloop_until(&t, accepted());
}

static void a_byte_now_and_then_wins_no_time(void **state)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nX-A: ";

    request.connect_ms = 200;
    meet();
    say(answer, sizeof(answer) - 1);
    for (int i = 0; i < 1000 && !is_state(WS_CLOSED); i++) {
        send(peer, "a", 1, MSG_NOSIGNAL);
        uv_run(&t.loop, UV_RUN_ONCE);
    }
    fails(-ETIMEDOUT, "connect_timeout");
}

/* ---- messages ---- */

static void takes_frames_that_come_with_the_101(void **state)
{
    meet();
    welcome("", "\x81\x02hi\x82\x01x\x81\x00", 9);
    testloop_until(&t, is_state(WS_OPEN));
    testloop_until(&t, took("hi", false));
    testloop_until(&t, took("x", true));
    testloop_until(&t, took("", false));
}

static void was_open_though_it_closed_in_the_same_turn(void **state)
{
    meet();
    welcome("", "\x81\x02hi\x88\x02\x03\xe8", 8);
    testloop_until(&t, is_state(WS_CLOSED));
    assert_true(ws_was_open(ws));
    assert_true(took("hi", false));
    assert_int_equal(ws_code(ws), 1000);
}

static void takes_frames_byte_by_byte(void **state)
{
    static const char frames[] =
        "\x81\x05hello\x01\x02he\x89\x01p\x8a\x01q\x80\x03llo\x82\x7e\x00\x03xyz";

    open_ws();
    for (size_t i = 0; i < sizeof(frames) - 1; i++) {
        say(frames + i, 1);
        testloop_turns(&t, 3);
    }
    testloop_until(&t, took("hello", false));
    testloop_until(&t, took("hello", false));
    testloop_until(&t, took("xyz", true));
}

static void answers_a_ping(void **state)
{
    char text[200];

    open_ws();
    SAY("\x89\x03"
        "abc");
    assert_int_equal(next_frame(text, sizeof(text)), 0x8a);
    assert_string_equal(text, "abc");
}

/* What docs/websocket.md names as deviations: they may end with a later version
 * of the library, and that page then has to say so. */
static void takes_a_masked_frame_and_answers_the_first_of_many_pings(
    void **state)
{
    char text[200];

    open_ws();
    SAY("\x81\x82\1\2\3\4ik\x89\x01"
        "a\x89\x01"
        "b\x81\x01"
        "c");
    testloop_until(&t, took("hi", false));
    testloop_until(&t, took("c", false));
    assert_int_equal(next_frame(text, sizeof(text)), 0x8a);
    assert_string_equal(text, "a");
}

static void masks_and_sends_what_it_is_given(void **state)
{
    char text[1000], large[601];

    open_ws();
    memset(large, 'l', 600);
    large[600] = '\0';
    assert_int_equal(ws_send(ws, "text", 4, false), 0);
    assert_int_equal(ws_send(ws, "", 0, true), 0);
    assert_int_equal(ws_send(ws, large, 600, true), 0);
    assert_int_equal(next_frame(text, sizeof(text)), 0x81);
    assert_string_equal(text, "text");
    assert_int_equal(next_frame(text, sizeof(text)), 0x82);
    assert_string_equal(text, "");
    assert_int_equal(next_frame(text, sizeof(text)), 0x82);
    assert_string_equal(text, large);
}

static void sends_no_more_than_the_queue_takes(void **state)
{
    static char large[50000];
    char text[10];

    request.queue_max = 2 * (sizeof(large) + WS_OVERHEAD) + 4 + WS_OVERHEAD - 1;
    open_ws();
    assert_int_equal(ws_send(ws, large, sizeof(large), true), 0);
    assert_int_equal(ws_send(ws, large, sizeof(large), true), 0);
    assert_int_equal(ws_send(ws, "more", 4, true), -ENOBUFS);
    testloop_until(&t, heard_bytes(2 * (sizeof(large) + 8)));
    buf_clear(&heard);
    testloop_turns(&t, 3);
    assert_int_equal(ws_send(ws, "more", 4, false), 0);
    next_frame(text, sizeof(text));
    assert_string_equal(text, "more");
}

/* More than sockets buffer, to a server that begins to read late. */
static void sends_in_order_to_a_slow_reader(void **state)
{
    static uint8_t data[60000];
    size_t frame = sizeof(data) + 8;

    request.queue_max = 100 * (sizeof(data) + WS_OVERHEAD);
    open_ws();
    for (int i = 0; i < 100; i++) {
        memset(data, i, sizeof(data));
        assert_int_equal(ws_send(ws, data, sizeof(data), true), 0);
    }
    testloop_turns(&t, 20);
    for (int i = 0; i < 100; i++) {
        testloop_until(&t, heard_bytes(frame));
        assert_int_equal(heard.data[0], 0x82);
        assert_int_equal(heard.data[8] ^ heard.data[4], i);
        assert_int_equal(heard.data[frame - 1] ^ heard.data[7], i);
        buf_consume(&heard, frame);
    }
}

static void stops_reading_when_nobody_takes(void **state)
{
    static char frame[4 + 30000] = "\x82\x7e\x75\x30";
    const int count = 400;
    int sent = 0, taken = 0, held = 0;
    size_t offset = 0;

    open_ws();
    while (taken < count) {
        struct ws_message *m;
        ssize_t n;

        assert_false(t.expired);
        n = sent == count ? -1
                          : send(peer, frame + offset, sizeof(frame) - offset,
                                MSG_NOSIGNAL);
        if (n > 0 && (offset += (size_t)n) == sizeof(frame)) {
            sent++;
            offset = 0;
        }
        uv_run(&t.loop, UV_RUN_NOWAIT);
        if (n > 0)
            continue;
        held = 0; /* the pipe is full: take what there is */
        while ((m = ws_take(ws)) != NULL) {
            assert_int_equal(m->len, 30000);
            free(m);
            taken++;
            held++;
        }
        assert_true(held * 30000 < 2 * WS_WAITING_MAX);
    }
}

/* ---- what is wrong ---- */

static void breaks(const char *frames, size_t len, const char *text)
{
    open_ws();
    say(frames, len);
    fails(-EPROTO, text);
    testloop_until(&t, has_hung_up() || heard_bytes(2));
}

#define BREAKS(frames, text) breaks(frames, sizeof(frames) - 1, text)

static void refuses_an_unknown_opcode(void **state)
{
    BREAKS("\x83\x00", "broke the protocol");
}

static void refuses_reserved_bits(void **state)
{
    BREAKS("\xc1\x01x", "broke the protocol");
}

static void refuses_a_continuation_of_nothing(void **state)
{
    BREAKS("\x80\x01x", "broke the protocol");
}

static void refuses_a_message_within_a_message(void **state)
{
    BREAKS("\x01\x01x\x81\x01y", "broke the protocol");
}

static void refuses_a_fragmented_ping(void **state)
{
    BREAKS("\x09\x01x", "broke the protocol");
}

static void refuses_a_large_ping(void **state)
{
    BREAKS("\x89\x7e\x01\x00", "broke the protocol");
}

static void refuses_a_negative_length(void **state)
{
    BREAKS("\x82\x7f\x80\0\0\0\0\0\0\0", "broke the protocol");
}

static void refuses_text_that_is_not_utf8(void **state)
{
    BREAKS("\x81\x02\xc3\x28", "UTF-8");
}

static void refuses_text_that_ends_inside_a_character(void **state)
{
    BREAKS("\x01\x01\xc3\x80\x00", "UTF-8");
}

static void takes_characters_cut_by_frames(void **state)
{
    open_ws();
    SAY("\x01\x01\xc3\x89\x00\x80\x01\xa4");
    testloop_until(&t, took("\xc3\xa4", false));
}

static void refuses_a_close_frame_of_one_byte(void **state)
{
    BREAKS("\x88\x01x", "Close frame");
}

static void refuses_by_the_announced_length(void **state)
{
    static char part[WS_WAITING_MAX];
    char text[200];

    open_ws();
    SAY("\x82\x7f\x40\0\0\0\0\0\0\0"); /* 2^62 bytes */
    say(part, 20000);
    fails(-EMSGSIZE, "too large");
    assert_int_equal(ws_code(ws), 1009);
    assert_int_equal(next_frame(text, sizeof(text)), 0x88);
    assert_memory_equal(text, "\x03\xf1", 2);
}

/* It sends on after that. The library's buffer has an end (valgrind sees). */
static void ends_with_who_sends_on_after_a_refusal(void **state)
{
    static char part[20000];

    open_ws();
    memset(part, '\xff', sizeof(part));
    SAY("\x81\x7f\0\0\0\0\0\1\x38\x80"); /* 80000 bytes of text */
    for (int i = 0; i < 4; i++)
        say(part, sizeof(part));
    SAY("\x82\x7f\0\0\0\0\7\0\0\0");
    for (int i = 0; i < 10; i++)
        say(part, sizeof(part));
    fails(-EPROTO, "UTF-8");
    ws_free(ws);
    ws = NULL;
    while (!has_hung_up()) {
        assert_false(t.expired);
        send(peer, part, sizeof(part), MSG_NOSIGNAL);
        uv_run(&t.loop, UV_RUN_NOWAIT);
        hear();
    }
}

static void refuses_by_the_sum_of_fragments(void **state)
{
    request.message_max = 10;
    open_ws();
    SAY("\x01\x06"
        "abcdef\x80\x05ghijk");
    fails(-EMSGSIZE, "too large");
}

static void gives_what_came_before_the_end(void **state)
{
    open_ws();
    SAY("\x81\x01"
        "a\x81\x01"
        "b\xff");
    fails(-EPROTO, "broke the protocol");
    assert_true(took("a", false));
    assert_true(took("b", false));
    assert_false(took("", false));
}

static void tells_that_the_connection_was_lost(void **state)
{
    open_ws();
    close(peer);
    peer = -1;
    fails(-ECONNRESET, "lost");
    assert_int_equal(ws_code(ws), WS_CODE_LOST);
}

/* ---- the end ---- */

static void closes_with_code_and_reason(void **state)
{
    char text[200];
    const char *why;

    open_ws();
    ws_send(ws, "last", 4, false);
    ws_shut(ws, 4001, "done", 4);
    assert_int_equal(ws_send(ws, "late", 4, false), -ENOTCONN);
    assert_int_equal(next_frame(text, sizeof(text)), 0x81);
    assert_int_equal(next_frame(text, sizeof(text)), 0x88);
    assert_string_equal(text, "\x0f\xa1"
                              "done");
    assert_true(is_state(WS_CLOSING));
    SAY("\x88\x02\x0f\xa1");
    testloop_until(&t, is_state(WS_CLOSED));
    assert_int_equal(ws_error(ws, &why), 0);
    assert_int_equal(ws_code(ws), 4001);
    testloop_until(&t, has_hung_up());
}

static void answers_a_close_frame(void **state)
{
    char text[200];
    const char *why;
    size_t len;

    open_ws();
    SAY("\x81\x01"
        "a\x88\x06\x0f\xa2more");
    assert_int_equal(next_frame(text, sizeof(text)), 0x88);
    testloop_until(&t, is_state(WS_CLOSED));
    assert_int_equal(ws_error(ws, &why), 0);
    assert_int_equal(ws_code(ws), 4002);
    assert_memory_equal(ws_reason(ws, &len), "more", 4);
    assert_int_equal(len, 4);
    assert_true(took("a", false));
}

static void takes_a_close_frame_without_a_code(void **state)
{
    const char *why;

    open_ws();
    SAY("\x88\x00");
    testloop_until(&t, is_state(WS_CLOSED));
    assert_int_equal(ws_error(ws, &why), 0);
    assert_int_equal(ws_code(ws), WS_CODE_NONE);
}

static void says_goodbye_when_its_owner_goes(void **state)
{
    char text[200];

    open_ws();
    ws_free(ws);
    ws = NULL;
    assert_int_equal(next_frame(text, sizeof(text)), 0x88);
    assert_memory_equal(text, "\x03\xe9", 2);
    SAY("\x88\x02\x03\xe9");
    testloop_until(&t, has_hung_up());
}

static void waits_for_no_answer_for_ever_when_its_owner_has_gone(void **state)
{
    open_ws();
    ws_free(ws);
    ws = NULL;
    testloop_until(&t, has_hung_up());
}

static void ends_at_once_while_it_connects(void **state)
{
    meet();
    ws_free(ws);
    ws = NULL;
    testloop_until(&t, has_hung_up());
}

static void ends_while_it_looks_up(void **state)
{
    begin();
    ws_free(ws);
    ws = NULL;
}

static void ends_while_it_closes(void **state)
{
    open_ws();
    ws_shut(ws, 1000, NULL, 0);
    ws_free(ws);
    ws = NULL;
    testloop_until(&t, has_hung_up());
}

/* ---- signs of life ---- */

static void pings(void **state)
{
    char text[200];

    request.ping_ms = 20;
    open_ws();
    assert_int_equal(next_frame(text, sizeof(text)), 0x89);
    SAY("\x8a\x00");
    assert_int_equal(next_frame(text, sizeof(text)), 0x89);
}

static void gives_up_who_gives_no_sign_of_life(void **state)
{
    request.idle_ms = 50;
    open_ws();
    fails(-ETIMEDOUT, "too long");
    testloop_until(&t, has_hung_up());
}

/* ---- limits ---- */

static void refuses_what_the_library_would_cut(void **state)
{
    char text[WSDIAL_PATH_MAX + 2];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    request.path = text;
    assert_int_equal(
        wsdial_open(&ws, turn, &request, on_change, &changes), -ENAMETOOLONG);
    request.path = "/";
    request.host = text;
    assert_int_equal(
        wsdial_open(&ws, turn, &request, on_change, &changes), -ENAMETOOLONG);
    ws = NULL;
}

static void needs_a_ca_file_that_can_be_read(void **state)
{
    request.ca_file = "/nowhere/ca.pem";
    assert_int_equal(
        wsdial_open(&ws, turn, &request, on_change, &changes), -ENOENT);
    ws = NULL;
}

static void has_so_many_connections_and_no_more(void **state)
{
    static struct ws *list[256];

    for (int i = 0; i < 256; i++)
        assert_int_equal(
            wsdial_open(&list[i], turn, &request, on_change, &changes), 0);
    assert_int_equal(
        wsdial_open(&ws, turn, &request, on_change, &changes), -ENOBUFS);
    for (int i = 0; i < 256; i++)
        ws_free(list[i]);
    ws = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_as_rfc_6455_says),
        TEST(takes_no_proxy_of_the_environment),
        TEST(tells_the_status_of_a_refusal),
        TEST(follows_no_redirect),
        TEST(refuses_a_wrong_accept),
        TEST(has_patience_with_what_is_no_http_until_the_deadline),
        TEST(refuses_another_protocol),
        TEST(refuses_an_extension),
        TEST(refuses_a_head_without_end),
        TEST(tells_that_nobody_is_there),
        TEST(tells_that_the_server_hung_up),
        TEST(gives_a_silent_server_up),
        TEST(a_byte_now_and_then_wins_no_time),
        TEST(takes_frames_that_come_with_the_101),
        TEST(was_open_though_it_closed_in_the_same_turn),
        TEST(takes_frames_byte_by_byte),
        TEST(answers_a_ping),
        TEST(takes_a_masked_frame_and_answers_the_first_of_many_pings),
        TEST(masks_and_sends_what_it_is_given),
        TEST(sends_no_more_than_the_queue_takes),
        TEST(sends_in_order_to_a_slow_reader),
        TEST(stops_reading_when_nobody_takes),
        TEST(refuses_an_unknown_opcode),
        TEST(refuses_reserved_bits),
        TEST(refuses_a_continuation_of_nothing),
        TEST(refuses_a_message_within_a_message),
        TEST(refuses_a_fragmented_ping),
        TEST(refuses_a_large_ping),
        TEST(refuses_a_negative_length),
        TEST(refuses_text_that_is_not_utf8),
        TEST(refuses_text_that_ends_inside_a_character),
        TEST(takes_characters_cut_by_frames),
        TEST(refuses_a_close_frame_of_one_byte),
        TEST(refuses_by_the_announced_length),
        TEST(ends_with_who_sends_on_after_a_refusal),
        TEST(refuses_by_the_sum_of_fragments),
        TEST(gives_what_came_before_the_end),
        TEST(tells_that_the_connection_was_lost),
        TEST(closes_with_code_and_reason),
        TEST(answers_a_close_frame),
        TEST(takes_a_close_frame_without_a_code),
        TEST(says_goodbye_when_its_owner_goes),
        TEST(waits_for_no_answer_for_ever_when_its_owner_has_gone),
        TEST(ends_at_once_while_it_connects),
        TEST(ends_while_it_looks_up),
        TEST(ends_while_it_closes),
        TEST(pings),
        TEST(gives_up_who_gives_no_sign_of_life),
        TEST(refuses_what_the_library_would_cut),
        TEST(needs_a_ca_file_that_can_be_read),
        TEST(has_so_many_connections_and_no_more),
    };

    return cmocka_run_group_tests_name("upstream.ws", tests, NULL, NULL);
}
