/* redisslot: against the specification's check value and a server's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "upstream/redisslot.h"

static unsigned slot(const char *key)
{
    return redisslot_of(key, strlen(key));
}

static void agrees_with_the_server(void **state)
{
    assert_int_equal(slot("123456789"), 0x31c3); /* below 16384 as it is */
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("foo"), 12182); /* CLUSTER KEYSLOT, Redis 7.0.15 */
    assert_int_equal(slot("bar"), 5061);
    assert_int_equal(slot("hello"), 866);
    assert_int_equal(slot("\xc3\xa4\xff"), 12525);
    assert_int_equal(redisslot_of("a\0b", 3), 8383);
}

static void hashes_only_the_tag_if_there_is_one(void **state)
{
    assert_int_equal(slot("{foo}"), slot("foo"));
    assert_int_equal(slot("user:{foo}:name"), slot("foo"));
    assert_int_equal(slot("a{foo}{bar}"), slot("foo"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_equal(slot("{foo"), 13308);
    assert_int_equal(slot("{}foo"), 9500); /* an empty one is none */
    assert_int_equal(slot("{}{foo}"), 2263);
    assert_int_equal(slot("}foo{bar}"), slot("bar"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_server),
        cmocka_unit_test(hashes_only_the_tag_if_there_is_one),
    };

    return cmocka_run_group_tests_name("upstream.redisslot", tests, NULL, NULL);
}
