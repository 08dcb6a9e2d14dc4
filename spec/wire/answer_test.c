/* What a script says to a handshake: read as written, and whatever else may
 * come from a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "wire/answer.h"

static void put_str(struct buf *out, enum answer_kind kind, const char *text)
{
    answer_put(out, kind, text, strlen(text));
}

static void put_header(struct buf *out, const char *name, const char *value)
{
    answer_put_header(out, name, strlen(name), value, strlen(value));
}

static const char *parse(struct answer *a, const struct buf *b)
{
    return answer_parse(a, b->data, b->len);
}

/* An answer with one part. */
static bool takes(unsigned status, enum answer_kind kind, const char *text)
{
    struct buf b = {0};
    struct answer a;
    bool good;

    answer_put_status(&b, status);
    put_str(&b, kind, text);
    good = parse(&a, &b) == NULL;
    buf_fini(&b);
    return good;
}

static void reads_what_it_writes(void **state)
{
    struct buf b = {0};
    struct answer_part part;
    struct answer a;
    size_t at = 0, start;

    answer_put_status(&b, 0);
    put_header(&b, "Set-Cookie", "a=1");
    put_header(&b, "X-Empty", "");
    put_str(&b, ANSWER_SUBPROTOCOL, "v2");
    start = answer_begin(&b, ANSWER_SESSION);
    buf_append_str(&b, "a:0:{}");
    assert_int_equal(answer_end(&b, start), 6);
    put_str(&b, ANSWER_UID, "ann");
    put_str(&b, ANSWER_GROUP, "one");
    put_str(&b, ANSWER_GROUP, "two");
    assert_null(parse(&a, &b));
    assert_int_equal(a.status, 0);
    assert_true(answer_next(&a, &at, &part));
    assert_int_equal(part.kind, ANSWER_HEADER);
    assert_int_equal(part.len, 15);
    assert_memory_equal(part.data, "Set-Cookie: a=1", part.len);
    assert_true(answer_find(&a, ANSWER_SESSION, &part));
    assert_memory_equal(part.data, "a:0:{}", part.len);
    assert_int_equal(answer_count(&a, ANSWER_GROUP), 2);
    assert_false(answer_find(&a, ANSWER_BODY, &part));
    assert_true(answer_has_header(&a, "set-cookie"));
    assert_true(answer_has_header(&a, "x-empty"));
    assert_false(answer_has_header(&a, "set"));
    assert_false(answer_has_header(&a, "set-cookie2"));
    buf_fini(&b);
}

static void is_big_endian(void **state)
{
    static const uint8_t want[] = {0, 0, 1, 145, 'b', 0, 0, 0, 2, 'n', 'o'};
    struct buf b = {0};

    answer_put_status(&b, 401);
    put_str(&b, ANSWER_BODY, "no");
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
    buf_fini(&b);
}

static void what_is_cut_off_or_made_up_is_refused(void **state)
{
    struct buf b = {0};
    struct answer a;

    answer_put_status(&b, 401);
    put_header(&b, "A", "b");
    put_str(&b, ANSWER_BODY, "no");
    for (size_t len = 0; len < b.len; len++) {
        bool whole = len == 4 || len == 4 + 5 + 4; /* between two parts */

        assert_int_equal(answer_parse(&a, b.data, len) == NULL, whole);
    }
    assert_null(parse(&a, &b));
    buf_append_byte(&b, ANSWER_BODY);
    assert_non_null(parse(&a, &b));
    memset(buf_extend(&b, 4), 0xff, 4); /* a length that is a lie */
    assert_non_null(parse(&a, &b));
    buf_fini(&b);
}

static void a_status_is_0_or_one_of_a_refusal(void **state)
{
    static const unsigned good[] = {0, 300, 302, 401, 599};
    static const unsigned bad[] = {1, 101, 200, 299, 600, 0xffffffff};
    struct buf b = {0};
    struct answer a;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        buf_clear(&b);
        answer_put_status(&b, good[i]);
        assert_null(parse(&a, &b));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buf_clear(&b);
        answer_put_status(&b, bad[i]);
        assert_non_null(parse(&a, &b));
    }
    buf_fini(&b);
}

static void a_refusal_gives_nothing_and_no_other_has_a_body(void **state)
{
    assert_true(takes(401, ANSWER_BODY, "x"));
    assert_false(takes(0, ANSWER_BODY, "x"));
    assert_true(takes(0, ANSWER_SUBPROTOCOL, "x"));
    assert_false(takes(401, ANSWER_SUBPROTOCOL, "x"));
    assert_false(takes(401, ANSWER_SESSION, "a:0:{}"));
    assert_false(takes(401, ANSWER_UID, "x"));
    assert_false(takes(401, ANSWER_GROUP, "x"));
    assert_false(takes(0, 'x', "x"));
    assert_false(takes(401, 'x', "x"));
}

static void what_it_gives_is_checked(void **state)
{
    char name[ANSWER_NAME_MAX + 2];

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_false(takes(0, ANSWER_UID, name));
    assert_true(takes(0, ANSWER_UID, name + 1));
    assert_false(takes(0, ANSWER_UID, ""));
    assert_false(takes(0, ANSWER_GROUP, "0"));
    assert_true(takes(0, ANSWER_GROUP, "00"));
    assert_false(takes(0, ANSWER_SUBPROTOCOL, ""));
    assert_false(takes(0, ANSWER_SUBPROTOCOL, "a b"));
    assert_false(takes(0, ANSWER_SUBPROTOCOL, "a\r\nb"));
    assert_true(takes(0, ANSWER_SESSION, "a:1:{s:1:\"a\";i:1;}"));
    assert_false(takes(0, ANSWER_SESSION, "a:1:{s:1:\"a\";i:1;"));
    assert_false(takes(0, ANSWER_SESSION, "a:0:{}x"));
    assert_false(takes(0, ANSWER_SESSION, "s:1:\"a\";"));
    assert_false(takes(0, ANSWER_SESSION, ""));
}

static void what_there_may_be_once_is_there_once(void **state)
{
    static const struct {
        unsigned status;
        enum answer_kind kind;
        const char *text;
    } once[] = {{401, ANSWER_BODY, "x"}, {0, ANSWER_SUBPROTOCOL, "x"},
        {0, ANSWER_UID, "x"}, {0, ANSWER_SESSION, "a:0:{}"}};
    struct buf b = {0};
    struct answer a;

    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        buf_clear(&b);
        answer_put_status(&b, once[i].status);
        put_str(&b, once[i].kind, once[i].text);
        assert_null(parse(&a, &b));
        put_str(&b, once[i].kind, once[i].text);
        assert_non_null(parse(&a, &b));
    }
    buf_fini(&b);
}

/* Whether an answer to a request with that status and these parts is taken. */
static bool replies(unsigned status, const char *kinds)
{
    struct buf b = {0};
    struct answer a;
    bool good;

    answer_put_status(&b, status);
    for (; *kinds; kinds++)
        put_str(&b, (enum answer_kind) * kinds,
            *kinds == ANSWER_SESSION  ? "a:0:{}"
            : *kinds == ANSWER_STREAM ? ""
                                      : "x");
    good = answer_parse_reply(&a, b.data, b.len) == NULL;
    buf_fini(&b);
    return good;
}

static void a_stream_begins_with_what_a_client_has(void **state)
{
    assert_true(replies(200, "b"));
    assert_true(replies(200, "e"));
    assert_true(replies(200, "esuggg"));
    assert_false(replies(201, "e"));
    assert_false(replies(200, "eb"));
    assert_false(replies(200, "ee"));
    assert_false(replies(200, "es"
                              "s"));
    assert_false(replies(200, "ep"));
    assert_false(replies(200, "u"));
    assert_false(replies(200, "sb"));
    assert_false(replies(404, "g"));
}

static void a_file_stands_in_place_of_a_body(void **state)
{
    struct buf b = {0};
    struct answer a;

    assert_true(replies(200, "f"));
    assert_true(replies(404, "f"));
    assert_false(replies(200, "fb"));
    assert_false(replies(200, "ff"));
    assert_false(replies(200, "ef"));
    answer_put_status(&b, 200);
    answer_put(&b, ANSWER_FILE, "a\0b", 3);
    assert_non_null(answer_parse_reply(&a, b.data, b.len));
    buf_clear(&b);
    answer_put_status(&b, 200);
    answer_put(&b, ANSWER_FILE, "", 0);
    assert_non_null(answer_parse_reply(&a, b.data, b.len));
    buf_fini(&b);
    assert_false(takes(401, ANSWER_FILE, "a"));
    assert_false(takes(0, ANSWER_FILE, "a"));
}

static void nothing_of_the_handshake_itself_may_be_set(void **state)
{
    static const char *const good[] = {"Set-Cookie: a=1; Path=/", "a:b",
        "a:", "X-Text: \xc3\xa4\tx", "Sec-WebSocket: x", "Server: x"};
    static const char *const bad[] = {"", ":", ": b", "no colon", "a b: c",
        "a : b", "Upgrade: x", "CONNECTION: close", "content-length: 0",
        "Transfer-Encoding: chunked", "Sec-WebSocket-Accept: x",
        "sec-websocket-extensions: x", "Trailer: x", "a: b\r\nc: d", "a: b\n",
        "a: \x7f", "a\r\nb: c", "a:\x01"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        for (unsigned status = 0; status <= 401; status += 401)
            assert_true(takes(status, ANSWER_HEADER, good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (unsigned status = 0; status <= 401; status += 401)
            assert_false(takes(status, ANSWER_HEADER, bad[i]));
}

static void there_is_a_limit_to_headers_and_body(void **state)
{
    static char text[ANSWER_BODY_MAX + 2];
    struct buf b = {0};
    struct answer a;

    memset(text, 'x', sizeof(text) - 1);
    assert_false(takes(401, ANSWER_BODY, text));
    assert_true(takes(401, ANSWER_BODY, text + 1));
    answer_put_status(&b, 0);
    for (int i = 0; i < ANSWER_HEADERS_MAX; i++)
        put_header(&b, "a", "b");
    assert_null(parse(&a, &b));
    put_header(&b, "a", "b");
    assert_non_null(parse(&a, &b));
    buf_clear(&b);
    answer_put_status(&b, 0);
    answer_put_header(&b, "a", 1, text, ANSWER_HEADERS_LEN_MAX - 3);
    assert_null(parse(&a, &b));
    put_header(&b, "a", "");
    assert_non_null(parse(&a, &b));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(is_big_endian),
        cmocka_unit_test(what_is_cut_off_or_made_up_is_refused),
        cmocka_unit_test(a_status_is_0_or_one_of_a_refusal),
        cmocka_unit_test(a_refusal_gives_nothing_and_no_other_has_a_body),
        cmocka_unit_test(what_it_gives_is_checked),
        cmocka_unit_test(what_there_may_be_once_is_there_once),
        cmocka_unit_test(a_stream_begins_with_what_a_client_has),
        cmocka_unit_test(a_file_stands_in_place_of_a_body),
        cmocka_unit_test(nothing_of_the_handshake_itself_may_be_set),
        cmocka_unit_test(there_is_a_limit_to_headers_and_body),
    };

    return cmocka_run_group_tests_name("wire.answer", tests, NULL, NULL);
}
