#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/superglobals.h"
#include "wire/frame.h"
#include "wire/params.h"
#include "wire/phpser.h"

static void expect_query(const char *query, const char *want)
{
    struct buf out = {0};

    params_put_query(&out, query);
    assert_int_equal(phpser_check(out.data, out.len), 0);
    buf_append_byte(&out, 0);
    assert_string_equal(out.data, want);
    buf_fini(&out);
}

static void expect_cookies(const char *header, const char *want)
{
    struct buf out = {0};

    params_put_cookies(&out, header);
    buf_append_byte(&out, 0);
    assert_string_equal(out.data, want);
    buf_fini(&out);
}

/* What PHP's serialize() gives for parse_str() of the same text. */
static void nests_names_as_php(void **state)
{
    static const struct {
        const char *query;
        const char *want;
    } cases[] = {
        {"", "a:0:{}"},
        {"a=1", "a:1:{s:1:\"a\";s:1:\"1\";}"},
        {"a", "a:1:{s:1:\"a\";s:0:\"\";}"},
        {"&&a=1&&", "a:1:{s:1:\"a\";s:1:\"1\";}"},
        {"=x", "a:0:{}"},
        {"a=1&b=2&a=3", "a:2:{s:1:\"a\";s:1:\"3\";s:1:\"b\";s:1:\"2\";}"},
        {"7=x&07=y", "a:2:{i:7;s:1:\"x\";s:2:\"07\";s:1:\"y\";}"},
        {"a[]=1&a[]=2", "a:1:{s:1:\"a\";a:2:{i:0;s:1:\"1\";i:1;s:1:\"2\";}}"},
        {"a[5]=1&a[]=2&a[k]=3&a[]=4",
            "a:1:{s:1:\"a\";a:4:{i:5;s:1:\"1\";i:6;s:1:\"2\";s:1:\"k\";"
            "s:1:\"3\";i:7;s:1:\"4\";}}"},
        {"a[b][c]=1&a[b][d]=2",
            "a:1:{s:1:\"a\";a:1:{s:1:\"b\";a:2:{s:1:\"c\";s:1:\"1\";"
            "s:1:\"d\";s:1:\"2\";}}}"},
        {"a[][x]=1&a[][x]=2",
            "a:1:{s:1:\"a\";a:2:{i:0;a:1:{s:1:\"x\";s:1:\"1\";}i:1;"
            "a:1:{s:1:\"x\";s:1:\"2\";}}}"},
        {"a=1&a[x]=2", "a:1:{s:1:\"a\";a:1:{s:1:\"x\";s:1:\"2\";}}"},
        {"a[x]=2&a=1", "a:1:{s:1:\"a\";s:1:\"1\";}"},
        {"a.b=1&c d=2&+e=3",
            "a:3:{s:3:\"a_b\";s:1:\"1\";s:3:\"c_d\";s:1:\"2\";s:1:\"e\";"
            "s:1:\"3\";}"},
        {"a%5Bk%5D=%E6%88%BF+x%zz",
            "a:1:{s:1:\"a\";a:1:{s:1:\"k\";s:8:\"\xe6\x88\xbf x%zz\";}}"},
        {"a[b=1", "a:1:{s:3:\"a_b\";s:1:\"1\";}"},
        {"a[b]c=1", "a:1:{s:1:\"a\";a:1:{s:1:\"b\";s:1:\"1\";}}"},
        {"[a]=1", "a:0:{}"},
        {"a[b.c]=1", "a:1:{s:1:\"a\";a:1:{s:3:\"b.c\";s:1:\"1\";}}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_query(cases[i].query, cases[i].want);
}

static void leaves_out_what_is_too_deep_or_too_much(void **state)
{
    struct buf query = {0};
    struct buf out = {0};
    struct phpser_reader r;
    struct phpser_token token;

    buf_append_str(&query, "a");
    for (int i = 0; i < PARAMS_DEPTH_MAX; i++)
        buf_append_str(&query, "[x]");
    buf_append(&query, "=1", 3);
    expect_query((const char *)query.data, "a:0:{}");
    assert_int_equal(params_put_query(&out, (const char *)query.data), 1);
    assert_int_equal(params_put_query(&out, "a=1&[b]=2&=3&&a[b"), 0);
    buf_clear(&query);
    buf_clear(&out);
    for (int i = 0; i < PARAMS_VARS_MAX + 100; i++)
        buf_printf(&query, "k%d=v&&", i);
    buf_append_byte(&query, 0);
    assert_int_equal(params_put_query(&out, (const char *)query.data), 100);
    phpser_read(&r, out.data, out.len);
    assert_int_equal(phpser_next(&r, &token), 1);
    assert_int_equal(token.count, PARAMS_VARS_MAX);
    buf_fini(&query);
    buf_fini(&out);
}

static void splits_cookies_as_workerman(void **state)
{
    expect_cookies("", "a:0:{}");
    expect_cookies("a=1; b=x%20y+z;c=d=e; flag; 7=n; s p = v",
        "a:5:{s:1:\"a\";s:1:\"1\";s:1:\"b\";s:7:\"x%20y+z\";s:1:\"c\";"
        "s:3:\"d=e\";i:7;s:1:\"n\";s:3:\"s p\";s:2:\" v\";}");
    expect_cookies("a=1; b=2; a=3; =4",
        "a:3:{s:1:\"a\";s:1:\"3\";s:1:\"b\";s:1:\"2\";s:0:\"\";s:1:\"4\";}");
    expect_cookies("a[b]=1", "a:1:{s:4:\"a[b]\";s:1:\"1\";}");
}

/* The first ON_WEBSOCKET_CONNECT that GatewayWorker was seen to send. */
static void is_what_gatewayworker_sends(void **state)
{
    static const struct httphead_field headers[] = {
        {"sec-websocket-version", "13"},
        {"sec-websocket-key", "eItgFTssJETrRPxv/IeNJg=="},
        {"connection", "Upgrade"},
        {"upgrade", "websocket"},
        {"sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits"},
        {"host", "127.0.0.1:8282"},
    };
    const struct client_conn_request request = {
        "/?n=0", "/", "n=0", headers, 6, NULL, NULL};
    json_t *root = json_load_file(
        "spec/vectors/gatewayworker-conversations.json", 0, NULL);
    const char *hex = json_string_value(json_object_get(
        json_array_get(json_object_get(root, "worker_link"), 2), "hex"));
    struct buf want = {0};
    struct buf got = {0};
    union addr peer;
    struct frame f;

    for (; *hex; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};

        buf_append_byte(&want, (uint8_t)strtoul(digits, NULL, 16));
    }
    assert_int_equal(frame_decode(&f, want.data, want.len), 0);
    assert_int_equal(f.flag, 0);
    assert_int_equal(addr_parse(&peer, "127.0.0.1:58304"), 0);
    superglobals_put(&got, &request, &peer, 8282);
    assert_int_equal(got.len, f.body_len);
    assert_memory_equal(got.data, f.body, f.body_len);
    buf_fini(&want);
    buf_fini(&got);
    json_decref(root);
}

static void joins_repeated_headers_and_tells_ipv6(void **state)
{
    static const struct httphead_field headers[] = {
        {"x-real-ip", "1"}, {"host", "h"}, {"x-real-ip", "2"}};
    const struct client_conn_request request = {
        "/", "/", "", headers, 3, NULL, NULL};
    struct buf out = {0};
    union addr peer;

    assert_int_equal(addr_parse(&peer, "[2001:db8::1]:77"), 0);
    superglobals_put(&out, &request, &peer, 8282);
    assert_int_equal(phpser_check(out.data, out.len), 0);
    buf_append_byte(&out, 0);
    assert_non_null(
        strstr((char *)out.data, "s:14:\"HTTP_X_REAL_IP\";s:3:\"1,2\";"));
    assert_non_null(
        strstr((char *)out.data, "s:11:\"REMOTE_ADDR\";s:11:\"2001:db8::1\";"));
    buf_fini(&out);
}

/* Browsers over HTTP/2, and proxies from it, split them (RFC 9113 8.2.3). */
static void cookies_of_all_their_lines_count(void **state)
{
    static const struct httphead_field headers[] = {
        {"cookie", "a=1; b=2"}, {"host", "h"}, {"cookie", "c=3"}};
    const struct client_conn_request request = {
        "/", "/", "", headers, 3, NULL, NULL};
    struct buf out = {0};
    union addr peer;

    assert_int_equal(addr_parse(&peer, "192.0.2.1:77"), 0);
    superglobals_put(&out, &request, &peer, 8282);
    assert_int_equal(phpser_check(out.data, out.len), 0);
    buf_append_byte(&out, 0);
    assert_non_null(strstr(
        (char *)out.data, "s:11:\"HTTP_COOKIE\";s:13:\"a=1; b=2; c=3\";"));
    assert_non_null(strstr((char *)out.data,
        "s:6:\"cookie\";a:3:{s:1:\"a\";s:1:\"1\";s:1:\"b\";s:1:\"2\";"
        "s:1:\"c\";s:1:\"3\";}"));
    buf_fini(&out);
}

static void says_how_many_names_it_leaves_out(void **state)
{
    struct httphead_field cookies = {.name = "cookie"};
    struct client_conn_request request = {.uri = "/",
        .path = "/",
        .query = "a=1",
        .headers = &cookies,
        .nheaders = 1};
    struct buf query = {0};
    struct buf names = {0};
    struct buf out = {0};
    union addr peer;

    for (int i = 0; i < PARAMS_VARS_MAX + 7; i++) {
        buf_printf(&names, "k%d=v; ", i);
        buf_printf(&query, "k%d&", i);
    }
    buf_append_byte(&names, 0);
    buf_append_byte(&query, 0);
    cookies.value = "a=1";
    assert_int_equal(addr_parse(&peer, "192.0.2.1:77"), 0);
    assert_int_equal(superglobals_put(&out, &request, &peer, 8282), 0);
    cookies.value = (const char *)names.data;
    assert_int_equal(superglobals_put(&out, &request, &peer, 8282), 7);
    request.query = (const char *)query.data;
    assert_int_equal(
        superglobals_put_question(&out, &request, &peer, 8282), 14);
    buf_fini(&query);
    buf_fini(&names);
    buf_fini(&out);
}

static void tells_the_subprotocol_that_was_chosen(void **state)
{
    struct client_conn_request request = {.uri = "/", .path = "/", .query = ""};
    struct buf out = {0};
    union addr peer;

    request.subprotocol = "v2";
    assert_int_equal(addr_parse(&peer, "192.0.2.1:77"), 0);
    superglobals_put(&out, &request, &peer, 8282);
    assert_int_equal(phpser_check(out.data, out.len), 0);
    buf_append_byte(&out, 0);
    assert_non_null(
        strstr((char *)out.data, "s:18:\"WEBSOCKET_PROTOCOL\";s:2:\"v2\";"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nests_names_as_php),
        cmocka_unit_test(leaves_out_what_is_too_deep_or_too_much),
        cmocka_unit_test(splits_cookies_as_workerman),
        cmocka_unit_test(is_what_gatewayworker_sends),
        cmocka_unit_test(joins_repeated_headers_and_tells_ipv6),
        cmocka_unit_test(cookies_of_all_their_lines_count),
        cmocka_unit_test(says_how_many_names_it_leaves_out),
        cmocka_unit_test(tells_the_subprotocol_that_was_chosen),
    };

    return cmocka_run_group_tests_name(
        "gateway.superglobals", tests, NULL, NULL);
}
