/* Request heads: cut at every length, what is refused, what is kept as sent. */
#include "vectors.h"

#include <errno.h>
#include <stdio.h>

#include "wire/httphead.h"

#define REQUEST                                                     \
    "GET /chat?room=1&a=%20 HTTP/1.1\r\nHost: example.org:8283\r\n" \
    "X-Token:  a b \t\r\nEmpty:\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"

static int parse(struct httphead *h, char *copy, const char *text)
{
    strcpy(copy, text);
    return httphead_parse(h, copy, strlen(text));
}

static void a_head_ends_at_its_empty_line(void **state)
{
    size_t len = strlen(REQUEST);

    for (size_t cut = 0; cut < len; cut++) {
        struct bytes b = bytes_copy(REQUEST, cut);

        assert_int_equal(httphead_measure(b.data, b.len, 8192), 0);
        bytes_fini(&b);
    }
    assert_int_equal(httphead_measure(REQUEST "\x81\x80", len + 2, 8192), len);
    assert_int_equal(httphead_measure(REQUEST, len, len), len);
    assert_int_equal(httphead_measure(REQUEST, len, len - 1), -EMSGSIZE);
}

static void names_become_lower_case_and_values_are_trimmed(void **state)
{
    char copy[512];
    struct httphead h;

    assert_int_equal(parse(&h, copy, REQUEST), 0);
    assert_string_equal(h.method, "GET");
    assert_string_equal(h.target, "/chat?room=1&a=%20");
    assert_int_equal(h.nfields, 5);
    assert_string_equal(httphead_find(&h, "host"), "example.org:8283");
    assert_string_equal(httphead_find(&h, "x-token"), "a b");
    assert_string_equal(httphead_find(&h, "empty"), "");
    assert_string_equal(httphead_find(&h, "cookie"), "a=1");
    assert_null(httphead_find(&h, "origin"));
}

static void both_versions_are_told_apart(void **state)
{
    char copy[64];
    struct httphead h;

    assert_int_equal(parse(&h, copy, "GET / HTTP/1.0\r\n\r\n"), 0);
    assert_int_equal(h.minor, 0);
    assert_int_equal(parse(&h, copy, "GET / HTTP/1.1\r\n\r\n"), 0);
    assert_int_equal(h.minor, 1);
}

static void what_can_be_read_in_two_ways_is_refused(void **state)
{
    static const char *const bad[] = {
        "\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /#x HTTP/1.1\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nHOST: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\nmore\r\n\r\n",
    };
    char copy[512];
    struct httphead h;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(&h, copy, bad[i]) != -EPROTO)
            fail_msg("accepted: %s", bad[i]);
    memcpy(copy, "GET / HTTP/1.1\r\nA: \0b\r\n\r\n", 26);
    assert_int_equal(httphead_parse(&h, copy, 26), -EPROTO);
}

static void headers_are_counted(void **state)
{
    char text[4096] = "GET / HTTP/1.1\r\n";
    char copy[4096];
    struct httphead h;

    for (int i = 0; i < HTTPHEAD_FIELDS_MAX; i++)
        strcat(text, "a: b\r\n");
    strcpy(copy, text);
    strcat(copy, "\r\n");
    assert_int_equal(httphead_parse(&h, copy, strlen(copy)), 0);
    assert_int_equal(h.nfields, HTTPHEAD_FIELDS_MAX);
    strcat(text, "a: b\r\n\r\n");
    assert_int_equal(parse(&h, copy, text), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_ends_at_its_empty_line),
        cmocka_unit_test(names_become_lower_case_and_values_are_trimmed),
        cmocka_unit_test(both_versions_are_told_apart),
        cmocka_unit_test(what_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(headers_are_counted),
    };

    return cmocka_run_group_tests_name("wire.httphead", tests, NULL, NULL);
}
