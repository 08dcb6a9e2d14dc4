/* server: what it says of itself, and whether it will do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "engine/server.h"

static int judge(const char *info, const char *line)
{
    char why[ENGINE_ERROR_SIZE];
    int verdict = server_judge(info, why);

    if (*line)
        assert_non_null(strstr(why, line));
    else
        assert_string_equal(why, "");
    return verdict;
}

static void takes_a_master_that_evicts_nothing(void **state)
{
    assert_int_equal(judge("# Server\r\nredis_version:7.0.15\r\n\r\n"
                           "maxmemory_policy:noeviction\r\nrole:master\r\n",
                         ""),
        0);
    assert_int_equal(judge("redis_version:10.1.0\r\nrole:master", ""), 0);
}

static void knows_an_old_server_and_a_replica(void **state)
{
    assert_int_equal(
        judge("redis_version:5.0.14\r\nrole:master\r\n", "Redis 5.0.14"),
        -ENOTSUP);
    assert_int_equal(
        judge("redis_version:6.0.0\r\nrole:slave\r\n", "READONLY"), -EROFS);
}

static void warns_of_one_that_evicts(void **state)
{
    assert_int_equal(
        judge("redis_version:6.2.0\nrole:master\nmaxmemory_policy:volatile-lru",
            "volatile-lru"),
        0);
}

static void takes_one_that_tells_nothing(void **state)
{
    assert_int_equal(judge("", ""), 0);
    assert_int_equal(judge("redis_versions:1\r\nxrole:slave", ""), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_master_that_evicts_nothing),
        cmocka_unit_test(knows_an_old_server_and_a_replica),
        cmocka_unit_test(warns_of_one_that_evicts),
        cmocka_unit_test(takes_one_that_tells_nothing),
    };

    return cmocka_run_group_tests_name("engine.server", tests, NULL, NULL);
}
