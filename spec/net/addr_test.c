#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

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

static void this_machine_is_told_from_others(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } cases[] = {
        {"127.0.0.1:1", true},
        {"127.255.0.1:1", true},
        {"128.0.0.1:1", false},
        {"10.0.0.1:1", false},
        {"[::1]:1", true},
        {"[fe80::1]:1", false},
        {"[::ffff:127.0.0.1]:1", true},
        {"[::ffff:8.8.8.8]:1", false},
    };
    union addr local = {.sa.sa_family = AF_UNIX};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        union addr a;

        assert_int_equal(addr_parse(&a, cases[i].text), 0);
        assert_int_equal(addr_is_loopback(&a), cases[i].want);
    }
    assert_true(addr_is_loopback(&local));
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

static void parses_a_bare_host(void **state)
{
    static const char *const good[] = {"127.0.0.1", "::1", "2001:db8::1"};
    static const char *const bad[] = {"", "1.2.3", "1.2.3.4:80", "[::1]:80",
        "[1.2.3.4]", "[::1", "::1]", "1.2.3.4 ", "unknown",
        "1111111111111111111111111111111111111111111111111111111"};
    char text[ADDR_TEXT_SIZE];
    union addr a;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(addr_parse_host(&a, good[i]), 0);
        assert_int_equal(addr_port(&a), 0);
        assert_string_equal(addr_format_host(text, &a), good[i]);
    }
    assert_int_equal(addr_parse_host(&a, "[::1]"), 0);
    assert_string_equal(addr_format_host(text, &a), "::1");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (addr_parse_host(&a, bad[i]) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
}

static void tells_who_is_in_a_network(void **state)
{
    static const struct {
        const char *net, *host;
        bool want;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"192.168.7.128/25", "192.168.7.128", true},
        {"192.168.7.128/25", "192.168.7.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1/32", "192.0.2.0", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "1.2.3.4", false},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fc00::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8::1", "2001:db8::2", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr_net net;
        union addr a;

        assert_int_equal(addr_net_parse(&net, cases[i].net), 0);
        assert_int_equal(addr_parse_host(&a, cases[i].host), 0);
        if (addr_net_has(&net, &a) != cases[i].want)
            fail_msg("%s in %s", cases[i].host, cases[i].net);
    }
}

static void refuses_what_is_no_network(void **state)
{
    static const char *const bad[] = {"", "/8", "10.0.0.0/", "10.0.0.0/33",
        "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/08x", "10.0.0.1/8",
        "fd00::/129", "fd00::1/64", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1",
        "localhost", "10.0.0.0:80"};
    struct addr_net net;
    union addr none = {.sa = {.sa_family = AF_UNIX}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (addr_net_parse(&net, bad[i]) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(addr_net_parse(&net, "0.0.0.0/0"), 0);
    assert_false(addr_net_has(&net, &none));
}

static void tells_names_from_what_looks_like_an_address(void **state)
{
    static const char *const good[] = {"a:1", "register.internal:1237",
        "my_host-2.x1:65535", "4you.example:80", "1.2.3.x:80"};
    static const char *const bad[] = {"", ":80", "a", "a:", "a:65536", "a:x",
        "1.2.3:80", "127.0.0.1:80", "300.1.1.1:80", "[::1]:80", "::1:80",
        "-a:80", "a..b:80", ".a:80", "a.:80", "a b:80", "a/b:80",
        "\xc3\xa4.de:80"};
    char text[ADDR_NAME_SIZE + 80], name[ADDR_NAME_SIZE];
    uint16_t port;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (addr_parse_name(name, &port, good[i]) < 0)
            fail_msg("%s", good[i]);
        assert_memory_equal(name, good[i], strlen(name));
        assert_int_equal(good[i][strlen(name)], ':');
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (addr_parse_name(name, &port, bad[i]) != -EINVAL)
            fail_msg("%s", bad[i]);
    }
    for (size_t len = 1; len < 320; len++) { /* labels of 60 letters */
        for (size_t i = 0; i < len; i++)
            text[i] = i % 61 == 60 ? '.' : 'a';
        strcpy(text + len, ":1");
        assert_int_equal(addr_parse_name(name, &port, text),
            len <= 253 && len % 61 != 0 ? 0 : -EINVAL);
    }
    memset(text, 'a', 64); /* a label of 64 */
    strcpy(text + 64, ":1");
    assert_int_equal(addr_parse_name(name, &port, text), -EINVAL);
    assert_int_equal(addr_parse_name(name, &port, text + 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_machine_is_told_from_others),
        cmocka_unit_test(prints_what_it_parsed),
        cmocka_unit_test(refuses_what_is_not_numeric_host_and_port),
        cmocka_unit_test(shows_mapped_addresses_as_ipv4),
        cmocka_unit_test(gives_the_host_without_brackets),
        cmocka_unit_test(calls_a_unix_socket_by_its_kind),
        cmocka_unit_test(knows_private_networks),
        cmocka_unit_test(parses_a_bare_ipv4_address),
        cmocka_unit_test(parses_a_bare_host),
        cmocka_unit_test(tells_who_is_in_a_network),
        cmocka_unit_test(refuses_what_is_no_network),
        cmocka_unit_test(tells_names_from_what_looks_like_an_address),
    };

    return cmocka_run_group_tests_name("net.addr", tests, NULL, NULL);
}
