/* Keys of the push API, and the door that asks for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clients/apigate.h"
#include "clients/apikeys.h"

#define KEY "0123456789abcdef"
/* Of KEY. */
#define HASH "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"

static const char *find(const struct apikeys *k, const char *key)
{
    return apikeys_find(k, key, strlen(key));
}

static void a_key_has_its_name_and_its_calls(void **state)
{
    char err[256];
    struct apikeys *k = apikeys_parse("# nobody\n\n"
                                      "  shop\t" KEY "  \r\n"
                                      "desk another-key-of-16 sendToUid,\t"
                                      "isOnline , getSession\n"
                                      "desk sha256:" HASH "0",
        err);

    assert_null(k);
    assert_string_equal(
        err, "line 5: 64 hexadecimal digits are due behind sha256:");
    k = apikeys_parse("  shop\t" KEY "  \r\n"
                      "desk another-key-of-16 sendToUid,\tisOnline , "
                      "getSession",
        err);
    assert_non_null(k);
    assert_string_equal(find(k, KEY), "shop");
    assert_string_equal(
        find(k, "another-key-of-16"), "desk sendToUid,isOnline,getSession");
    assert_null(find(k, KEY "0"));
    assert_null(find(k, ""));
    apikeys_free(k);
    k = apikeys_parse("shop sha256:" HASH, err);
    assert_string_equal(find(k, KEY), "shop");
    assert_null(find(k, HASH));
    apikeys_free(k);
}

static void what_is_wrong_with_a_file_is_said_and_shows_no_key(void **state)
{
    static const struct {
        const char *text, *err;
    } table[] = {
        {"", "there is no key in it; write lines \"name key\""},
        {"# shop " KEY, "there is no key in it; write lines \"name key\""},
        {"shop", "line 1: no key behind the name"},
        {"shop 0123456789abcde", "line 1: a key has at least 16 characters"},
        {"shop " KEY "\xc3\xa4", "line 1: a key has ASCII characters only"},
        {"sh\"op " KEY,
            "line 1: a name has letters, digits, \".\", \"_\" and \"-\""},
        {"\n\nshop sha256:12",
            "line 3: 64 hexadecimal digits are due behind sha256:"},
        {"shop " KEY "\ndesk sha256:" HASH, "line 2: this key has stood above"},
        {"shop " KEY "\nshop " KEY "1\nshop " KEY "2",
            "line 3: the third key of this name"},
        {"shop " KEY " sendToUds",
            "line 1: \"sendToUds\" is no call of the API; did you mean "
            "\"sendToUid\"?"},
        {"shop " KEY " everything",
            "line 1: \"everything\" is no call of the API"},
    };
    char err[256];

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_null(apikeys_parse(table[i].text, err));
        assert_string_equal(err, table[i].err);
    }
}

static struct apigate *g;

static unsigned judge(
    const char *target, const char *key, const char *peer, uint64_t now)
{
    struct httphead_field fields[] = {
        {"content-type", "Application/JSON ; charset=utf-8"},
        {"authorization", key}};
    const struct httphead head = {.method = "POST",
        .target = target,
        .fields = fields,
        .nfields = key ? 2 : 1};
    union addr a;

    assert_int_equal(addr_parse_host(&a, peer), 0);
    return apigate_judge(g, &head, &a, now).status;
}

#define CALL "/api/sendToUid"

static void guesses_are_forgotten_after_a_minute(void **state)
{
    static const struct apigate_conf conf = {
        .path = "/api", .keys = "shop " KEY};
    char err[256];

    g = apigate_new(&conf, err);
    assert_non_null(g);
    assert_int_equal(judge(CALL, "Bearer " KEY, "127.0.0.1", 0), 0);
    assert_int_equal(judge(CALL, "bearer  " KEY, "10.0.0.1", 0), 0);
    assert_int_equal(judge(CALL, "Bearer " KEY, "8.8.8.8", 0), 403);
    for (unsigned i = 0; i < APIGATE_GUESSES; i++)
        assert_int_equal(judge(CALL, "Bearer x", "10.0.0.1", 1000 + i), 401);
    assert_int_equal(judge(CALL, NULL, "10.0.0.1", 2000), 429);
    assert_int_equal(judge(CALL, NULL, "10.0.0.2", 2000), 401);
    assert_int_equal(judge(CALL, "Bearer " KEY, "10.0.0.1", 2000), 0);
    assert_int_equal(judge(CALL, NULL, "10.0.0.1", 999 + APIGATE_WINDOW), 429);
    assert_int_equal(judge(CALL, NULL, "10.0.0.1", 1000 + APIGATE_WINDOW), 401);
    apigate_free(g);
}

static void so_many_addresses_are_remembered_and_no_more(void **state)
{
    static const struct apigate_conf conf = {
        .path = "/api", .keys = "shop " KEY};
    char err[256], peer[32];

    g = apigate_new(&conf, err);
    for (unsigned i = 0; i < APIGATE_GUESSES; i++)
        assert_int_equal(judge(CALL, NULL, "10.255.0.1", 0), 401);
    assert_int_equal(judge(CALL, NULL, "10.255.0.1", 0), 429);
    for (unsigned i = 0; i < APIGATE_ADDRESSES + 1; i++) {
        snprintf(peer, sizeof(peer), "10.0.%u.%u", i / 256, i % 256);
        assert_int_equal(judge(CALL, NULL, peer, 0), 401);
    }
    assert_int_equal(judge(CALL, NULL, "10.255.0.1", 0), 401);
    apigate_free(g);
}

static void networks_that_may_call_are_those_that_are_listed(void **state)
{
    static const char *const allow[] = {"192.0.2.0/24", NULL};
    static const char *const wrong[] = {"192.0.2.1/24", NULL};
    const struct apigate_conf conf = {
        .path = "/api", .keys = "shop " KEY, .allow = allow};
    const struct apigate_conf bad = {
        .path = "/api", .keys = "shop " KEY, .allow = wrong};
    char err[256];

    assert_null(apigate_new(&bad, err));
    assert_string_equal(err, "api.allow: \"192.0.2.1/24\" is not a network");
    g = apigate_new(&conf, err);
    assert_int_equal(judge(CALL, "Bearer " KEY, "192.0.2.7", 0), 0);
    assert_int_equal(judge(CALL, "Bearer " KEY, "127.0.0.1", 0), 403);
    apigate_free(g);
}

static void new_keys_count_once_they_are_taken(void **state)
{
    static const struct apigate_conf conf = {
        .path = "/api", .keys = "shop " KEY};
    char err[256];

    g = apigate_new(&conf, err);
    assert_int_equal(apigate_prepare(g, "shop short", err), -EINVAL);
    apigate_settle(g, true);
    assert_int_equal(judge(CALL, "Bearer " KEY, "127.0.0.1", 0), 0);
    assert_int_equal(apigate_prepare(g, "shop " KEY "1", err), 0);
    apigate_settle(g, false);
    assert_int_equal(judge(CALL, "Bearer " KEY, "127.0.0.1", 0), 0);
    assert_int_equal(apigate_prepare(g, "shop " KEY "1", err), 0);
    assert_int_equal(apigate_prepare(g, "shop " KEY "2", err), 0);
    apigate_settle(g, true);
    assert_int_equal(judge(CALL, "Bearer " KEY, "127.0.0.1", 0), 401);
    assert_int_equal(judge(CALL, "Bearer " KEY "2", "127.0.0.1", 0), 0);
    apigate_free(g);
}

static void a_path_ends_where_it_ends(void **state)
{
    static const struct apigate_conf conf = {
        .path = "/api", .keys = "shop " KEY};
    char err[256];

    g = apigate_new(&conf, err);
    assert_true(apigate_has(g, "/api"));
    assert_true(apigate_has(g, "/api/"));
    assert_true(apigate_has(g, "/api?a=1"));
    assert_true(apigate_has(g, "/api/a/b"));
    assert_false(apigate_has(g, "/apis"));
    assert_false(apigate_has(g, "/ap"));
    assert_false(apigate_has(g, "/"));
    assert_int_equal(judge("/api/", "Bearer " KEY, "127.0.0.1", 0), 404);
    assert_int_equal(judge("/api/a/b", "Bearer " KEY, "127.0.0.1", 0), 404);
    assert_int_equal(judge("/api/a?b", "Bearer " KEY, "127.0.0.1", 0), 404);
    apigate_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_its_name_and_its_calls),
        cmocka_unit_test(what_is_wrong_with_a_file_is_said_and_shows_no_key),
        cmocka_unit_test(guesses_are_forgotten_after_a_minute),
        cmocka_unit_test(so_many_addresses_are_remembered_and_no_more),
        cmocka_unit_test(networks_that_may_call_are_those_that_are_listed),
        cmocka_unit_test(new_keys_count_once_they_are_taken),
        cmocka_unit_test(a_path_ends_where_it_ends),
    };

    return cmocka_run_group_tests_name("clients.apigate", tests, NULL, NULL);
}
