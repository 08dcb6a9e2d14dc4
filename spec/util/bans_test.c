/* Names that are not let in for some time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util/bans.h"

static bool has(struct bans *b, const char *name)
{
    return bans_have(b, name, strlen(name));
}

static int set(struct bans *b, const char *name, double seconds)
{
    return bans_set(b, name, strlen(name), seconds);
}

static void holds_until_it_is_lifted(void **state)
{
    struct bans b = {0};

    assert_false(has(&b, "ann"));
    assert_int_equal(set(&b, "ann", 0), 0); /* nothing to lift */
    assert_int_equal(set(&b, "ann", 3600), 0);
    assert_int_equal(set(&b, "ann", 7200), 0);
    assert_true(has(&b, "ann"));
    assert_false(has(&b, "an"));
    assert_false(has(&b, "anna"));
    assert_int_equal(set(&b, "ann", 0), 0);
    assert_false(has(&b, "ann"));
    bans_fini(&b);
}

static void is_over_when_its_time_is(void **state)
{
    struct bans b = {0};

    set(&b, "ann", 1e-9); /* over at once */
    assert_false(has(&b, "ann"));
    assert_null(b.map);
    bans_fini(&b);
}

static void has_room_for_so_many_at_a_time(void **state)
{
    struct bans b = {0};
    char name[16];

    for (int i = 0; i < BANS_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(set(&b, name, i == 7 ? 1e-9 : 3600), 0);
    }
    assert_int_equal(
        set(&b, "ann", 3600), 0); /* in place of one that is over */
    assert_int_equal(set(&b, "bob", 3600), -ENOSPC);
    assert_int_equal(set(&b, "ann", 7200), 0);
    assert_true(has(&b, "8"));
    bans_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_until_it_is_lifted),
        cmocka_unit_test(is_over_when_its_time_is),
        cmocka_unit_test(has_room_for_so_many_at_a_time),
    };

    return cmocka_run_group_tests_name("util.bans", tests, NULL, NULL);
}
