#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/secret.h"

static void knows_equal_from_different(void **state)
{
    assert_true(secret_equal_text("", ""));
    assert_true(secret_equal_text("key", "key"));
    assert_false(secret_equal_text("", "key"));
    assert_false(secret_equal_text("key", ""));
    assert_false(secret_equal_text("ke", "key"));
    assert_false(secret_equal_text("keykey", "key"));
    assert_false(secret_equal_text("kez", "key"));
    assert_false(secret_equal_text("jey", "key"));
}

static void compares_behind_a_nul(void **state)
{
    assert_true(secret_equal("a\0b", 3, "a\0b", 3));
    assert_false(secret_equal("a\0b", 3, "a\0c", 3));
}

static void makes_tokens_that_differ(void **state)
{
    char one[SECRET_TOKEN_SIZE], other[SECRET_TOKEN_SIZE];

    secret_new_token(one);
    secret_new_token(other);
    assert_int_equal(strlen(one), SECRET_TOKEN_SIZE - 1);
    assert_int_equal(strspn(one, "0123456789abcdef"), SECRET_TOKEN_SIZE - 1);
    assert_string_not_equal(one, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_equal_from_different),
        cmocka_unit_test(compares_behind_a_nul),
        cmocka_unit_test(makes_tokens_that_differ),
    };

    return cmocka_run_group_tests_name("util.secret", tests, NULL, NULL);
}
