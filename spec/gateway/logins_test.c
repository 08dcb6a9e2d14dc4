/* logins: the newest of a uid, while it is fresh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "gateway/logins.h"

#define NOW 1000000

static struct logins logins;

static int teardown(void **state)
{
    logins_fini(&logins);
    memset(&logins, 0, sizeof(logins));
    return 0;
}

static bool note(const char *uid, uint64_t time, uint32_t id, uint64_t now)
{
    return logins_note(&logins, uid, strlen(uid), time, id, now);
}

static uint64_t newest(const char *uid, uint64_t now, uint32_t *connection)
{
    return logins_newest(&logins, uid, strlen(uid), now, connection);
}

static void knows_the_newest_whatever_comes_first(void **state)
{
    uint32_t connection;

    assert_true(note("ann", 50, 7, NOW));
    assert_false(note("ann", 49, 0, NOW));
    assert_false(note("ann", 50, 0, NOW)); /* the same once more */
    assert_true(newest("ann", NOW, &connection) == 50);
    assert_int_equal(connection, 7);
    assert_true(note("ann", 51, 0, NOW));
    assert_true(newest("ann", NOW, &connection) == 51);
    assert_int_equal(connection, 0);
    assert_true(newest("bob", NOW, &connection) == 0);
}

static void compares_no_times_that_lie_far_apart(void **state)
{
    uint32_t connection;
    uint64_t later = NOW + LOGINS_FRESH * 1000;

    assert_true(note("ann", 50, 7, NOW));
    assert_false(note("ann", 1, 8, later - 1));
    assert_true(note("ann", 1, 8, later));
    assert_true(newest("ann", later, &connection) == 1);
}

static void forgets_the_oldest_for_one_more(void **state)
{
    uint32_t connection;
    char uid[16];

    for (int i = 0; i <= LOGINS_MAX; i++) {
        snprintf(uid, sizeof(uid), "u%d", i);
        assert_true(note(uid, 5, 1, NOW));
    }
    assert_true(newest("u0", NOW, &connection) == 0);
    assert_true(newest("u1", NOW, &connection) == 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(knows_the_newest_whatever_comes_first),
        TEST(compares_no_times_that_lie_far_apart),
        TEST(forgets_the_oldest_for_one_more),
    };

    return cmocka_run_group_tests_name("gateway.logins", tests, NULL, NULL);
}
