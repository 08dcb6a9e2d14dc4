#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "net/addr.h"

static void check_text(const char *text, const char *want)
{
    union addr a;
    char out[ADDR_TEXT_SIZE];

    assert_int_equal(addr_parse(&a, text), 0);
    assert_string_equal(addr_format(out, &a), want);
}

static void prints_what_it_parsed(void **state)
{
    check_text("127.0.0.1:80", "127.0.0.1:80");
    check_text("0.0.0.0:0", "0.0.0.0:0");
    check_text("255.255.255.255:65535", "255.255.255.255:65535");
    check_text("[::1]:8283", "[::1]:8283");
    check_text("[::]:1", "[::]:1");
    check_text("[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
        "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

static void refuses_what_is_not_numeric_host_and_port(void **state)
{
    static const char *const bad[] = {"", ":", "127.0.0.1", "127.0.0.1:", ":80",
        "127.0.0.1:65536", "127.0.0.1:99999999999", "127.0.0.1:-1",
        "127.0.0.1:+1", "127.0.0.1: 80", "127.0.0.1:80x", "localhost:80",
        "127.1:80", "::1:80", "[]:80", "[::1]80", "[127.0.0.1]:80", "[::1:80",
        "1111111111111111111111111111111111111111111111111111111.0.0.1:80"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        union addr a;

        assert_int_equal(addr_parse(&a, bad[i]), -EINVAL);
    }
}

static void shows_mapped_addresses_as_ipv4(void **state)
{
    union addr a;
    char out[ADDR_TEXT_SIZE];

    assert_int_equal(addr_parse(&a, "[::ffff:10.1.2.3]:99"), 0);
    assert_string_equal(addr_format(out, &a), "10.1.2.3:99");
    assert_string_equal(addr_format_host(out, &a), "10.1.2.3");
    assert_int_equal(addr_ipv4(&a), 0x0a010203);
    addr_unmap(&a);
    assert_int_equal(a.sa.sa_family, AF_INET);
    assert_int_equal(addr_port(&a), 99);
    assert_int_equal(addr_ipv4(&a), 0x0a010203);
}

static void gives_the_host_without_brackets(void **state)
{
    union addr a;
    char out[ADDR_TEXT_SIZE];

    assert_int_equal(addr_parse(&a, "[fe80::1]:99"), 0);
    assert_string_equal(addr_format_host(out, &a), "fe80::1");
    assert_int_equal(addr_ipv4(&a), 0);
    assert_int_equal(addr_port(&a), 99);
}

static void calls_a_unix_socket_by_its_kind(void **state)
{
    union addr a = {.sa = {.sa_family = AF_UNIX}};
    char out[ADDR_TEXT_SIZE];

    assert_string_equal(addr_format(out, &a), "unix");
    assert_int_equal(addr_port(&a), 0);
    assert_true(addr_is_private(&a));
}

static void knows_private_networks(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } cases[] = {
        {"127.0.0.1:1", true},
        {"10.255.0.1:1", true},
        {"172.15.0.1:1", false},
        {"172.16.0.1:1", true},
        {"172.31.255.255:1", true},
        {"172.32.0.1:1", false},
        {"192.168.7.7:1", true},
        {"192.169.0.1:1", false},
        {"169.254.1.1:1", true},
        {"8.8.8.8:1", false},
        {"0.0.0.0:1", false},
        {"[::1]:1", true},
        {"[::]:1", false},
        {"[fe80::1]:1", true},
        {"[fd12::1]:1", true},
        {"[2001:db8::1]:1", false},
        {"[::ffff:10.0.0.1]:1", true},
        {"[::ffff:8.8.8.8]:1", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        union addr a;

        assert_int_equal(addr_parse(&a, cases[i].text), 0);
        assert_int_equal(addr_is_private(&a), cases[i].want);
    }
}

static void parses_a_bare_ipv4_address(void **state)
{
    uint32_t ip;

    assert_int_equal(addr_parse_ipv4(&ip, "192.168.0.1"), 0);
    assert_int_equal(ip, 0xc0a80001);
    assert_int_equal(addr_parse_ipv4(&ip, "192.168.0"), -EINVAL);
    assert_int_equal(addr_parse_ipv4(&ip, "::1"), -EINVAL);
    assert_int_equal(addr_parse_ipv4(&ip, "192.168.0.1:80"), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_what_it_parsed),
        cmocka_unit_test(refuses_what_is_not_numeric_host_and_port),
        cmocka_unit_test(shows_mapped_addresses_as_ipv4),
        cmocka_unit_test(gives_the_host_without_brackets),
        cmocka_unit_test(calls_a_unix_socket_by_its_kind),
        cmocka_unit_test(knows_private_networks),
        cmocka_unit_test(parses_a_bare_ipv4_address),
    };

    return cmocka_run_group_tests_name("net.addr", tests, NULL, NULL);
}
