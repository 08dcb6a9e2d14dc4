/* X-Forwarded-For and X-Real-IP, honest, forged and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clients/forwarded.h"
#include "util/buf.h"

static const char *const nets[] = {"10.0.0.0/8", "192.0.2.1", "fd00::/8", NULL};

/* The client that peer speaks for with these headers, as text. */
static const char *found(
    const char *peer, const char *forwarded_for, const char *real_ip)
{
    static char text[ADDR_TEXT_SIZE];
    struct forwarded_trust t;
    const char *bad = NULL;
    union addr a;

    assert_int_equal(forwarded_trust_init(&t, nets, &bad), 0);
    assert_int_equal(addr_parse(&a, peer), 0);
    forwarded_find(&t, &a, forwarded_for, real_ip);
    forwarded_trust_fini(&t);
    return addr_format(text, &a);
}

static void takes_the_rightmost_address_that_is_no_proxy(void **state)
{
    static const char *const cases[][2] = {
        {"203.0.113.9", "203.0.113.9:0"},
        {"203.0.113.9, 10.0.0.2", "203.0.113.9:0"},
        {"6.6.6.6, 203.0.113.9", "203.0.113.9:0"},
        {"6.6.6.6,203.0.113.9,10.0.0.2,192.0.2.1", "203.0.113.9:0"},
        {" 203.0.113.9\t,\t10.0.0.2 ", "203.0.113.9:0"},
        {"2001:db8::7, fd00::1", "[2001:db8::7]:0"},
        {"[2001:db8::7], fd00::1", "[2001:db8::7]:0"},
        {"::ffff:203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9:0"},
        /* with ports, as Azure's gateway writes it */
        {"203.0.113.9:4711", "203.0.113.9:4711"},
        {"[2001:db8::7]:4711", "[2001:db8::7]:4711"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(found("10.0.0.1:99", cases[i][0], ""), cases[i][1]);
}

static void takes_the_leftmost_when_all_are_proxies(void **state)
{
    assert_string_equal(
        found("10.0.0.1:99", "10.0.0.9, 10.0.0.2", ""), "10.0.0.9:0");
}

static void believes_nobody_else(void **state)
{
    assert_string_equal(
        found("203.0.113.7:99", "6.6.6.6", "6.6.6.6"), "203.0.113.7:99");
    assert_string_equal(
        found("[2001:db8::1]:99", "6.6.6.6", "6.6.6.6"), "[2001:db8::1]:99");
}

static void stops_at_what_is_no_address(void **state)
{
    static const char *const cases[][2] = {
        {"unknown", "10.0.0.1:99"},
        {"6.6.6.6, unknown", "10.0.0.1:99"},
        {"6.6.6.6, _hidden, 10.0.0.2", "10.0.0.2:0"},
        {"6.6.6.6,", "10.0.0.1:99"},
        {",", "10.0.0.1:99"},
        {"6.6.6.6, , 10.0.0.2", "10.0.0.2:0"},
        {"6.6.6.6 10.0.0.2", "10.0.0.1:99"},
        {"1.2.3.4:99999", "10.0.0.1:99"},
        {"11111111111111111111111111111111111111111111111111111111111111111111",
            "10.0.0.1:99"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(found("10.0.0.1:99", cases[i][0], ""), cases[i][1]);
}

static void takes_real_ip_when_there_is_no_list(void **state)
{
    assert_string_equal(
        found("10.0.0.1:99", "", "203.0.113.9"), "203.0.113.9:0");
    assert_string_equal(
        found("10.0.0.1:99", "203.0.113.9", "6.6.6.6"), "203.0.113.9:0");
    assert_string_equal(found("10.0.0.1:99", "", "nonsense"), "10.0.0.1:99");
    assert_string_equal(found("10.0.0.1:99", "", ""), "10.0.0.1:99");
}

static void reads_no_more_than_fifty_entries(void **state)
{
    struct buf list = {0};

    buf_append_str(&list, "203.0.113.9");
    for (int i = 1; i <= FORWARDED_MAX; i++)
        buf_printf(&list, ", 10.0.0.%d", i);
    buf_append_byte(&list, '\0');
    assert_string_equal(
        found("10.0.0.1:99", (const char *)list.data, ""), "10.0.0.1:0");
    assert_string_equal(
        found("10.0.0.1:99", strrchr((char *)list.data, ',') + 1, ""),
        "10.0.0.50:0");
    buf_fini(&list);
}

static void names_the_entry_that_is_no_network(void **state)
{
    static const char *const wrong[] = {"10.0.0.0/8", "10.0.0.1/8", NULL};
    struct forwarded_trust t;
    const char *bad = NULL;
    union addr a;

    assert_int_equal(forwarded_trust_init(&t, wrong, &bad), -EINVAL);
    assert_ptr_equal(bad, wrong[1]);
    assert_int_equal(forwarded_trust_init(&t, NULL, &bad), 0);
    assert_int_equal(addr_parse(&a, "127.0.0.1:1"), 0);
    assert_false(forwarded_trusts(&t, &a));
    forwarded_trust_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_rightmost_address_that_is_no_proxy),
        cmocka_unit_test(takes_the_leftmost_when_all_are_proxies),
        cmocka_unit_test(believes_nobody_else),
        cmocka_unit_test(stops_at_what_is_no_address),
        cmocka_unit_test(takes_real_ip_when_there_is_no_list),
        cmocka_unit_test(reads_no_more_than_fifty_entries),
        cmocka_unit_test(names_the_entry_that_is_no_network),
    };

    return cmocka_run_group_tests_name("clients.forwarded", tests, NULL, NULL);
}
