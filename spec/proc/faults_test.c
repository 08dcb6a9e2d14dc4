/* faults: errors by the place that their message begins with.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proc/faults.h"

static void errors_of_a_place_count_together(void **state)
{
    struct faults f = {0};

    faults_note(&f, "scripts/events.lua:12: boom\nstack traceback:\n\tx:1: y");
    faults_note(&f, "scripts/events.lua:12: bang: 13:14: x");
    faults_note(&f, "lib/a.lua:7: no");
    assert_int_equal(2, faults_count(&f));
    assert_string_equal("scripts/events.lua:12", f.rows[0].place);
    assert_int_equal(2, atomic_load(&f.rows[0].count));
    assert_string_equal("lib/a.lua:7", f.rows[1].place);
    assert_int_equal(0, atomic_load(&f.others));
}

static void what_has_no_place_counts_among_others(void **state)
{
    struct faults f = {0};

    faults_note(&f, "");
    faults_note(&f, "not enough memory");
    faults_note(&f, "a: b\nevents.lua:1: in a traceback");
    faults_note(&f, "a:12 b");
    assert_int_equal(0, faults_count(&f));
    assert_int_equal(4, atomic_load(&f.others));
}

static void of_a_long_place_the_end_counts(void **state)
{
    struct faults f = {0};
    char text[400];

    memset(text, 'x', sizeof(text));
    snprintf(text + 300, 100, "/events.lua:1234: boom");
    faults_note(&f, text);
    faults_note(&f, text);
    assert_int_equal(1, faults_count(&f));
    assert_int_equal(FAULTS_PLACE_SIZE - 1, strlen(f.rows[0].place));
    assert_non_null(strstr(f.rows[0].place, "/events.lua:1234"));
}

static void places_are_limited(void **state)
{
    struct faults f = {0};
    char text[40];

    for (int i = 1; i <= FAULTS_MAX + 3; i++) {
        snprintf(text, sizeof(text), "events.lua:%d: boom", i);
        faults_note(&f, text);
    }
    faults_note(&f, "events.lua:1: boom");
    assert_int_equal(FAULTS_MAX, faults_count(&f));
    assert_int_equal(2, atomic_load(&f.rows[0].count));
    assert_int_equal(3, atomic_load(&f.others));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_a_place_count_together),
        cmocka_unit_test(what_has_no_place_counts_among_others),
        cmocka_unit_test(of_a_long_place_the_end_counts),
        cmocka_unit_test(places_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
