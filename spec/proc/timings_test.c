/* timings: how long callbacks took, by their name.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proc/timings.h"

static void times_of_a_name_count_together(void **state)
{
    struct timings t = {0};

    timings_note(&t, "onMessage", 100000);
    timings_note(&t, "onConnect", 1);
    timings_note(&t, "onMessage", 100001);
    timings_note(&t, "onMessage", UINT64_C(1) << 40);
    assert_int_equal(2, timings_count(&t));
    assert_string_equal("onMessage", t.rows[0].name);
    assert_string_equal("onConnect", t.rows[1].name);
    assert_int_equal(1, atomic_load(&t.rows[0].counts[0]));
    assert_int_equal(1, atomic_load(&t.rows[0].counts[1]));
    assert_int_equal(1, atomic_load(&t.rows[0].counts[HISTOGRAM_BOUNDS]));
    assert_int_equal((UINT64_C(1) << 40) + 200001, atomic_load(&t.rows[0].sum));
}

static void names_are_limited(void **state)
{
    struct timings t = {0};
    char name[16];

    for (int i = 0; i < TIMINGS_MAX + 3; i++) {
        snprintf(name, sizeof(name), "on%d", i);
        timings_note(&t, name, 1);
    }
    timings_note(&t, "a name that is longer than there is room for", 1);
    assert_int_equal(TIMINGS_MAX, timings_count(&t));
    atomic_store(&t.count, 1000); /* somebody writes nonsense */
    assert_int_equal(TIMINGS_MAX, timings_count(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_of_a_name_count_together),
        cmocka_unit_test(names_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
