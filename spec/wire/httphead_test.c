/* Request heads: cut at every length, what is refused, what is kept as sent. */
#include "vectors.h"

#include <errno.h>
#include <stdio.h>

#include "wire/httphead.h"

#define REQUEST                                                     \
    "GET /chat?room=1&a=%20 HTTP/1.1\r\nHost: example.org:8283\r\n" \
    "X-Token:  a b \t\r\nEmpty:\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"

#define FIELDS_MAX 16

static int parse_bytes(struct httphead *h, char *data, size_t len)
{
    static struct httphead_field fields[FIELDS_MAX];

    h->fields = fields;
    h->max = FIELDS_MAX;
    return httphead_parse(h, data, len);
}

static int parse(struct httphead *h, char *copy, const char *text)
{
    strcpy(copy, text);
    return parse_bytes(h, copy, strlen(text));
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
    assert_int_equal(parse_bytes(&h, copy, 26), -EPROTO);
}

static void headers_are_counted(void **state)
{
    char text[4096] = "GET / HTTP/1.1\r\n";
    char copy[4096];
    struct httphead h;

    for (int i = 0; i < FIELDS_MAX; i++)
        strcat(text, "a: b\r\n");
    strcpy(copy, text);
    strcat(copy, "\r\n");
    assert_int_equal(parse_bytes(&h, copy, strlen(copy)), 0);
    assert_int_equal(h.nfields, FIELDS_MAX);
    strcat(text, "a: b\r\n\r\n");
    assert_int_equal(parse(&h, copy, text), -EMSGSIZE);
}

/* As variables of PHP both would be HTTP_X_USER_ID. */
static void a_name_with_an_underscore_passes_for_no_other(void **state)
{
    char copy[128];
    struct httphead h;

    assert_int_equal(parse(&h, copy,
                         "GET / HTTP/1.1\r\nX_User_Id: attacker\r\n"
                         "X-User-Id: proxy\r\nx-user_id: attacker\r\n\r\n"),
        0);
    assert_int_equal(h.nfields, 1);
    assert_string_equal(h.fields[0].name, "x-user-id");
    assert_string_equal(h.fields[0].value, "proxy");
    assert_int_equal(
        parse(&h, copy, "GET / HTTP/1.1\r\nX_User: \x01\r\n\r\n"), -EPROTO);
}

static void a_header_that_counts_once_is_told_from_a_repeated_one(void **state)
{
    char copy[128];
    struct httphead h;
    const char *value;

    assert_int_equal(
        parse(&h, copy, "GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n"), 0);
    assert_false(httphead_find_only(&h, "a", &value));
    assert_null(value);
    assert_true(httphead_find_only(&h, "b", &value));
    assert_string_equal(value, "2");
    assert_true(httphead_find_only(&h, "c", &value));
    assert_null(value);
}

static void a_list_goes_on_in_further_lines(void **state)
{
    static const char *const want[] = {"a", "b", "c", "d", "e"};
    char copy[128];
    struct httphead h;
    struct httphead_list list = {.head = &h, .name = "x"};
    const char *text;
    size_t len, n = 0;

    assert_int_equal(parse(&h, copy,
                         "GET / HTTP/1.1\r\nX: a,\tb ,,\r\nY: z\r\nX:\r\n"
                         "X: , \r\nX: c, d rest, e\r\n\r\n"),
        0);
    while (httphead_next(&list, &text, &len)) {
        assert_true(n < sizeof(want) / sizeof(want[0]));
        assert_int_equal(len, 1);
        assert_memory_equal(text, want[n++], len);
    }
    assert_int_equal(n, 5);
    assert_false(httphead_next(&list, &text, &len));
    list = (struct httphead_list){.head = &h, .name = "none"};
    assert_false(httphead_next(&list, &text, &len));
}

static void tokens_are_those_of_rfc_9110(void **state)
{
    static const char all[] = "!#$%&'*+-.^_`|~0123456789"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz";

    assert_true(httphead_is_token(all, strlen(all)));
    assert_false(httphead_is_token("", 0));
    for (int c = 0; c < 256; c++) {
        char one = (char)c;

        assert_int_equal(
            httphead_is_token(&one, 1), c != 0 && strchr(all, c) != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_ends_at_its_empty_line),
        cmocka_unit_test(names_become_lower_case_and_values_are_trimmed),
        cmocka_unit_test(both_versions_are_told_apart),
        cmocka_unit_test(what_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(headers_are_counted),
        cmocka_unit_test(a_name_with_an_underscore_passes_for_no_other),
        cmocka_unit_test(a_header_that_counts_once_is_told_from_a_repeated_one),
        cmocka_unit_test(a_list_goes_on_in_further_lines),
        cmocka_unit_test(tokens_are_those_of_rfc_9110),
    };

    return cmocka_run_group_tests_name("wire.httphead", tests, NULL, NULL);
}
