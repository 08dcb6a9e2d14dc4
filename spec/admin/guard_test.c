/* guard: whose requests are answered, and who has given the key.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "admin/guard.h"

#define KEY "0123456789abcdef"

/* A request of up to three headers, name and value by turns, NULL behind. */
static unsigned judge(const struct admin_conf *conf, const char *method,
    const char *const *headers)
{
    struct guard *g = guard_new(conf);
    struct httphead_field fields[3];
    struct httpcall request = {
        .head = {.method = method, .target = "/", .fields = fields}};
    unsigned status;

    for (size_t i = 0; headers[2 * i]; i++)
        fields[request.head.nfields++] =
            (struct httphead_field){headers[2 * i], headers[2 * i + 1]};
    status = guard_judge(g, &request);
    guard_free(g);
    return status;
}

#define HOST(conf, host) \
    judge(conf, "GET", (const char *const[]){"host", host, NULL})

static void only_its_own_hosts_are_served(void **state)
{
    static const char *const hosts[] = {"gwrun.example.com", NULL};
    const struct admin_conf conf = {.listen = "127.0.0.1:9283", .hosts = hosts};

    assert_int_equal(0, HOST(&conf, "127.0.0.1:9283"));
    assert_int_equal(0, HOST(&conf, "127.0.0.1"));
    assert_int_equal(0, HOST(&conf, "LOCALHOST:80"));
    assert_int_equal(0, HOST(&conf, "GWrun.example.com"));
    assert_int_equal(421, HOST(&conf, "evil.example"));
    assert_int_equal(421, HOST(&conf, "localhost.evil.example"));
    assert_int_equal(421, HOST(&conf, "10.0.0.1:9283"));
    assert_int_equal(421, HOST(&conf, ""));
    assert_int_equal(421, judge(&conf, "GET", (const char *const[]){NULL}));
    assert_int_equal(421, judge(&conf, "GET",
                              (const char *const[]){"host", "localhost", "host",
                                  "localhost", NULL}));
}

static void a_port_on_all_addresses_is_served_by_any_number(void **state)
{
    const struct admin_conf conf = {.listen = "0.0.0.0:9283"};

    assert_int_equal(0, HOST(&conf, "10.0.0.1:9283"));
    assert_int_equal(0, HOST(&conf, "[::1]:9283"));
    assert_int_equal(421, HOST(&conf, "evil.example:9283"));
}

static void other_pages_only_read(void **state)
{
    const struct admin_conf conf = {.listen = "[::1]:9283"};
    static const char *const foreign[] = {
        "host", "[::1]:9283", "origin", "http://evil.example", NULL};
    static const char *const own[] = {
        "host", "[::1]:9283", "origin", "http://[::1]:9283", NULL};
    static const char *const sandboxed[] = {
        "host", "[::1]:9283", "origin", "null", NULL};
    static const char *const sibling[] = {
        "host", "[::1]:9283", "sec-fetch-site", "same-site", NULL};

    assert_int_equal(0, judge(&conf, "GET", foreign));
    assert_int_equal(403, judge(&conf, "POST", foreign));
    assert_int_equal(403, judge(&conf, "DELETE", sandboxed));
    assert_int_equal(403, judge(&conf, "POST", sibling));
    assert_int_equal(0, judge(&conf, "POST", own));
    assert_int_equal(
        0, judge(&conf, "POST", (const char *const[]){"host", "[::1]", NULL}));
}

/* Does a request with this header come from one who is known? */
static bool knows(
    struct guard *g, const char *name, const char *value, uint64_t now)
{
    struct httphead_field field = {name, value};
    const struct httpcall request = {
        .head = {.method = "GET", .fields = &field, .nfields = 1}};

    return guard_knows(g, &request, now);
}

/* Somebody gives a key. */
static unsigned enter(
    struct guard *g, const char *key, uint64_t now, struct buf *cookie)
{
    const struct httpcall request = {
        .body = (const uint8_t *)key, .body_len = strlen(key)};

    return guard_enter(g, &request, now, cookie);
}

static void the_key_becomes_a_cookie(void **state)
{
    const struct admin_conf conf = {.listen = "[::1]:9283", .key = KEY};
    struct guard *g = guard_new(&conf);
    struct buf cookie = {0};
    char pair[96] = "a=b; ";

    assert_int_equal(403, enter(g, "wrong", 0, &cookie));
    assert_int_equal(0, cookie.len);
    assert_int_equal(0, enter(g, KEY, 0, &cookie));
    buf_append_byte(&cookie, '\0');
    assert_non_null(strstr((char *)cookie.data, "; HttpOnly"));
    assert_non_null(strstr((char *)cookie.data, "; SameSite=Strict"));
    assert_null(strstr((char *)cookie.data, KEY));
    strncat(pair, (char *)cookie.data, strcspn((char *)cookie.data, ";"));
    assert_true(knows(g, "cookie", pair, 1));
    assert_false(knows(g, "cookie", pair, GUARD_SESSION_MS + 1));
    assert_false(knows(g, "cookie", GUARD_COOKIE "=", 1));
    assert_false(knows(g, "cookie", "", 1));
    guard_leave(
        g, &(struct httpcall){
               .head = {.fields = &(struct httphead_field){"cookie", pair},
                   .nfields = 1}});
    assert_false(knows(g, "cookie", pair, 1));
    buf_fini(&cookie);
    guard_free(g);
}

static void programs_send_the_key_itself(void **state)
{
    const struct admin_conf conf = {.listen = "[::1]:9283", .key = KEY};
    const struct admin_conf without = {.listen = "[::1]:9283"};
    struct guard *g = guard_new(&conf);

    assert_true(knows(g, "authorization", "Bearer " KEY, 0));
    assert_false(knows(g, "authorization", "Bearer " KEY "x", 0));
    assert_false(knows(g, "authorization", KEY, 0));
    guard_free(g);
    g = guard_new(&without);
    assert_false(knows(g, "authorization", "Bearer ", 0));
    assert_int_equal(404, enter(g, "", 0, NULL));
    guard_free(g);
}

static void behind_tls_the_cookie_stays_there(void **state)
{
    const struct admin_conf conf = {.listen = "[::1]:9283", .key = KEY};
    const struct httpcall request = {
        .body = (const uint8_t *)KEY, .body_len = strlen(KEY), .tls = true};
    struct guard *g = guard_new(&conf);
    struct buf cookie = {0};

    assert_int_equal(0, guard_enter(g, &request, 0, &cookie));
    buf_append_byte(&cookie, '\0');
    assert_non_null(strstr((char *)cookie.data, "; Secure"));
    buf_fini(&cookie);
    guard_free(g);
}

static void many_wrong_keys_do_not_hold_up_the_right_one(void **state)
{
    const struct admin_conf conf = {.listen = "[::1]:9283", .key = KEY};
    struct guard *g = guard_new(&conf);
    struct buf cookie = {0};

    for (int i = 0; i < GUARD_GUESSES - 1; i++)
        assert_int_equal(403, enter(g, "wrong", 1, &cookie));
    assert_int_equal(429, enter(g, "wrong", 1, &cookie));
    assert_int_equal(0, enter(g, KEY, 1, &cookie));
    assert_int_equal(429, enter(g, "wrong", 1, &cookie));
    assert_int_equal(403, enter(g, "wrong", GUARD_GUESSES_MS + 1, &cookie));
    buf_fini(&cookie);
    guard_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_hosts_are_served),
        cmocka_unit_test(a_port_on_all_addresses_is_served_by_any_number),
        cmocka_unit_test(other_pages_only_read),
        cmocka_unit_test(the_key_becomes_a_cookie),
        cmocka_unit_test(programs_send_the_key_itself),
        cmocka_unit_test(behind_tls_the_cookie_stays_there),
        cmocka_unit_test(many_wrong_keys_do_not_hold_up_the_right_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
