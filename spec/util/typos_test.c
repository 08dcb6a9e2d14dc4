#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/typos.h"

static void letters_that_differ_count(void **state)
{
    assert_int_equal(typos_count("headers", "headers"), 0);
    assert_int_equal(typos_count("heders", "headers"), 1);
    assert_int_equal(typos_count("haeders", "headers"), 1);
    assert_int_equal(typos_count("lanIp", "lan_ip"), 0);
}

static void the_nearest_word_was_meant(void **state)
{
    static const char *const known[] = {"status", "headers", "uid", NULL};

    assert_string_equal(typos_meant("heders", known), "headers");
    assert_string_equal(typos_meant("Status", known), "status");
    assert_string_equal(typos_meant("udi", known), "uid");
    assert_null(typos_meant("cookies", known));
    assert_null(typos_meant("xyz", known)); /* all of uid is another */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_that_differ_count),
        cmocka_unit_test(the_nearest_word_was_meant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
