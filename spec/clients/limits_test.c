/* Connections in all and per address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "clients/limits.h"

static int enter(struct limits *l, const char *address, struct limit **out)
{
    union addr a;

    int result = limits_enter(l);

    assert_int_equal(addr_parse(&a, address), 0);
    if (result == 0)
        result = limits_count(l, &a, out);
    if (result < 0)
        limits_leave(l, NULL);
    return result;
}

static void an_ipv6_customer_is_his_64_bits(void **state)
{
    static const struct {
        const char *first, *second;
        int result;
    } table[] = {
        {"1.2.3.4:1", "1.2.3.4:2", -EAGAIN},
        {"1.2.3.4:1", "1.2.3.5:1", 0},
        {"[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::9]:1", -EAGAIN},
        {"[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", 0},
        {"1.2.3.4:1", "[::ffff:1.2.3.4]:1", -EAGAIN},
        {"1.2.3.4:1", "[102:304::]:1", 0},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct limits l = {.max = 10, .max_per_ip = 1};
        struct limit *first, *second;

        assert_int_equal(enter(&l, table[i].first, &first), 0);
        assert_int_equal(enter(&l, table[i].second, &second), table[i].result);
        if (table[i].result == 0)
            limits_leave(&l, second);
        limits_leave(&l, first);
        assert_int_equal(enter(&l, table[i].second, &second), 0);
        limits_fini(&l);
    }
}

static void all_together_have_a_limit_too(void **state)
{
    struct limits l = {.max = 2};
    struct limit *a, *b, *c;

    assert_int_equal(enter(&l, "1.1.1.1:1", &a), 0);
    assert_int_equal(enter(&l, "1.1.1.1:2", &b), 0);
    assert_int_equal(enter(&l, "2.2.2.2:1", &c), -EAGAIN);
    limits_leave(&l, a);
    assert_int_equal(enter(&l, "2.2.2.2:1", &c), 0);
    limits_fini(&l);
}

static int ban(struct limits *l, const char *host, double seconds)
{
    union addr a;

    assert_int_equal(addr_parse_host(&a, host), 0);
    return limits_ban(l, &a, seconds);
}

static void a_banned_household_does_not_come_in(void **state)
{
    struct limits l = {.max = 10};
    struct limit *limit;

    assert_int_equal(ban(&l, "1.2.3.4", 3600), 0);
    assert_int_equal(ban(&l, "2001:db8::1", 3600), 0);
    assert_int_equal(enter(&l, "1.2.3.4:1", &limit), -EPERM);
    assert_int_equal(enter(&l, "[::ffff:1.2.3.4]:1", &limit), -EPERM);
    assert_int_equal(enter(&l, "[2001:db8::9:9]:1", &limit), -EPERM);
    assert_int_equal(enter(&l, "1.2.3.5:1", &limit), 0);
    limits_leave(&l, limit);
    assert_int_equal(ban(&l, "1.2.3.4", 0), 0);
    assert_int_equal(enter(&l, "1.2.3.4:1", &limit), 0);
    limits_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_banned_household_does_not_come_in),
        cmocka_unit_test(an_ipv6_customer_is_his_64_bits),
        cmocka_unit_test(all_together_have_a_limit_too),
    };

    return cmocka_run_group_tests_name("clients.limits", tests, NULL, NULL);
}
