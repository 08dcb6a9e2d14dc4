/* series: what a script counts, found again by whoever comes after it.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "proc/series.h"

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct series));
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void values_go_on_under_their_name(void **state)
{
    struct series *s = *state;
    int family = series_family(s, SERIES_COUNTER, "orders", "help");
    int row = series_row(s, (unsigned)family, "kind=\"buy\"", 10);

    assert_int_equal(0, family);
    series_add(s, (unsigned)row, 1);
    series_add(s, (unsigned)row, 0.5);
    assert_int_equal(
        family, series_family(s, SERIES_COUNTER, "orders", "other help"));
    assert_int_equal(row, series_row(s, (unsigned)family, "kind=\"buy\"", 10));
    assert_true(series_number(&s->rows[row]) == 1.5);
    assert_int_equal(1, series_rows(s));
    assert_int_equal(1, series_families(s));
}

static void series_differ_by_family_and_labels(void **state)
{
    struct series *s = *state;
    int a = series_family(s, SERIES_GAUGE, "a", "");
    int b = series_family(s, SERIES_GAUGE, "b", "");

    assert_int_equal(0, series_row(s, (unsigned)a, "", 0));
    assert_int_equal(1, series_row(s, (unsigned)b, "", 0));
    assert_int_equal(2, series_row(s, (unsigned)b, "x=\"1\"", 5));
    assert_int_equal(3, series_row(s, (unsigned)b, "x=\"1\",y=\"2\"", 11));
    assert_int_equal(2, series_row(s, (unsigned)b, "x=\"1\"", 5));
}

static void another_type_is_refused(void **state)
{
    struct series *s = *state;

    assert_int_equal(0, series_family(s, SERIES_GAUGE, "a", ""));
    assert_int_equal(-EEXIST, series_family(s, SERIES_COUNTER, "a", ""));
}

static void no_more_than_there_is_room_for(void **state)
{
    struct series *s = *state;
    char text[SERIES_LABELS_SIZE + 1];

    for (int i = 0; i < SERIES_FAMILIES_MAX; i++) {
        snprintf(text, sizeof(text), "f%d", i);
        assert_int_equal(i, series_family(s, SERIES_GAUGE, text, ""));
    }
    assert_int_equal(-ENOSPC, series_family(s, SERIES_GAUGE, "more", ""));
    for (int i = 0; i < SERIES_MAX; i++) {
        int len = snprintf(text, sizeof(text), "x=\"%d\"", i);

        assert_int_equal(i, series_row(s, 0, text, (size_t)len));
    }
    assert_int_equal(-ENOSPC, series_row(s, 0, "", 0));
    assert_int_equal(0, series_row(s, 0, "x=\"0\"", 5));
    assert_int_equal(1, atomic_load(&s->refused));
    memset(text, 'x', sizeof(text));
    text[SERIES_LABELS_SIZE] = '\0';
    assert_int_equal(-EMSGSIZE, series_row(s, 0, text, SERIES_LABELS_SIZE));
    assert_int_equal(-EMSGSIZE, series_family(s, SERIES_GAUGE, text, ""));
}

static void a_histogram_counts_by_size(void **state)
{
    struct series *s = *state;
    int family = series_family(s, SERIES_HISTOGRAM, "took", "");
    int row = series_row(s, (unsigned)family, "", 0);
    struct series_value *v = &s->rows[row].value;

    series_observe(s, (unsigned)row, 0.0001);
    series_observe(s, (unsigned)row, 0.25);
    series_observe(s, (unsigned)row, 100);
    assert_int_equal(1, atomic_load(&v->counts[0]));
    assert_int_equal(1, atomic_load(&v->counts[10]));
    assert_int_equal(1, atomic_load(&v->counts[HISTOGRAM_BOUNDS]));
    assert_true(series_number(&s->rows[row]) > 100.25);
}

/* Whatever stands there, and though more is added meanwhile. */
static void a_copy_can_be_trusted(void **state)
{
    struct series *s = *state;
    struct series_copy c;

    series_row(
        s, (unsigned)series_family(s, SERIES_COUNTER, "a", "help"), "", 0);
    series_row(s, 0, "x=\"1\"", 5);
    memset(s->families[0].name, 'n', sizeof(s->families[0].name));
    memset(s->families[0].help, 'h', sizeof(s->families[0].help));
    s->families[0].type = 77777;
    memset(s->rows[0].labels, 'l', sizeof(s->rows[0].labels));
    s->rows[1].family = 9;
    atomic_store(&s->nfamilies, 1);
    series_copy(&c, s);
    series_family(s, SERIES_GAUGE, "b", "");
    assert_int_equal(1, c.nfamilies);
    assert_int_equal(SERIES_NAME_SIZE - 1, strlen(c.families[0].name));
    assert_int_equal(SERIES_HELP_SIZE - 1, strlen(c.families[0].help));
    assert_true(c.families[0].type <= SERIES_HISTOGRAM);
    assert_int_equal(1, c.nrows);
    assert_int_equal(SERIES_LABELS_SIZE - 1, strlen(c.rows[0].labels));
    series_copy_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            values_go_on_under_their_name, setup, teardown),
        cmocka_unit_test_setup_teardown(
            series_differ_by_family_and_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(
            another_type_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            no_more_than_there_is_room_for, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_histogram_counts_by_size, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_can_be_trusted, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
