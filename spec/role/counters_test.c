/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/gateway.h"
#include "role/counters.h"
#include "worker/worker.h"

static void numbers_of_each_width_are_told(void **state)
{
    const struct gateway_status gateway = {
        .clients = 3, .accepting = true, .port.bytes_in = UINT64_C(1) << 40};
    const struct worker_status worker = {
        .generation = UINT32_MAX, .shared_full = 7};
    json_t *numbers = json_object();

    counters_put(numbers, counters_gateway, &gateway);
    assert_int_equal(3, ctlmsg_int(numbers, "clients", -1));
    assert_int_equal(0, ctlmsg_int(numbers, "workers", -1));
    assert_int_equal(INT64_C(1) << 40, ctlmsg_int(numbers, "bytes_in", -1));
    assert_true(json_is_true(json_object_get(numbers, "accepting")));
    counters_put(numbers, counters_worker, &worker);
    assert_int_equal(UINT32_MAX, ctlmsg_int(numbers, "generation", -1));
    assert_int_equal(7, ctlmsg_int(numbers, "shared_full", -1));
    json_decref(numbers);
}

static void names_keep_the_order_of_their_table(void **state)
{
    const struct counters_process process = {.memory = 1};
    json_t *numbers = json_object();
    const struct counter *row = counters_process;
    const char *name;
    json_t *number;

    counters_put(numbers, counters_process, &process);
    json_object_foreach(numbers, name, number)
    {
        assert_string_equal(row->name, name);
        row++;
    }
    assert_int_equal(COUNTERS_HISTOGRAM, row->kind); /* for metrics only */
    assert_null(row[1].name);
    json_decref(numbers);
}

static void what_was_counted_before_is_added(void **state)
{
    const struct gateway_status gateway = {
        .clients = 3, .accepting = true, .port.bytes_in = 10};
    size_t n = counters_width(counters_gateway);
    uint64_t before[PAGES_NUMBERS], after[PAGES_NUMBERS];
    size_t at = 0;

    assert_true(counters_width(counters_process) + n <= PAGES_NUMBERS);
    for (size_t i = 0; i < PAGES_NUMBERS; i++)
        before[i] = 100;
    counters_fill(after, counters_gateway, &gateway, before);
    for (const struct counter *row = counters_gateway; row->name; row++) {
        if (strcmp(row->name, "clients") == 0)
            assert_int_equal(3, after[at]);
        else if (strcmp(row->name, "accepting") == 0)
            assert_int_equal(1, after[at]);
        else if (strcmp(row->name, "bytes_in") == 0)
            assert_int_equal(110, after[at]);
        else
            assert_int_equal(row->kind == COUNTERS_GAUGE ? 0 : 100, after[at]);
        at += row->kind == COUNTERS_HISTOGRAM ? HISTOGRAM_BOUNDS + 2 : 1;
    }
    assert_int_equal(n, at);
}

static void a_histogram_takes_a_number_a_bucket(void **state)
{
    struct counters_process process = {.log_dropped = 7};
    uint64_t before[PAGES_NUMBERS] = {0}, after[PAGES_NUMBERS];

    assert_int_equal(
        3 + HISTOGRAM_BOUNDS + 2, counters_width(counters_process));
    histogram_add(&process.turns, 1);
    histogram_add(&process.turns, 100000);
    histogram_add(&process.turns, 100001);
    histogram_add(&process.turns, UINT64_C(1) << 40);
    before[3] = 40;
    counters_fill(after, counters_process, &process, before);
    assert_int_equal(7, after[2]);
    assert_int_equal(42, after[3]);
    assert_int_equal(1, after[4]);
    assert_int_equal(1, after[3 + HISTOGRAM_BOUNDS]);
    assert_int_equal((UINT64_C(1) << 40) + 200002, after[4 + HISTOGRAM_BOUNDS]);
}

static const struct counter *const tables[] = {counters_process,
    counters_gateway, counters_worker, counters_program, counters_register};

static void every_number_has_a_kind_and_a_unit(void **state)
{
    static const char *const units[] = {
        "", "bytes", "milliseconds", "boolean", "seconds", NULL};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct counter *row = tables[i]; row->name; row++) {
            const char *const *unit = units;

            assert_true(row->help && *row->help);
            assert_true(row->kind == COUNTERS_HISTOGRAM ||
                        strcmp(row->unit, "seconds") != 0);
            assert_int_equal(row->kind == COUNTERS_HISTOGRAM,
                row->size == sizeof(struct histogram));
            while (*unit && strcmp(*unit, row->unit) != 0)
                unit++;
            assert_non_null(*unit);
            assert_int_equal(
                row->size == sizeof(bool), strcmp(row->unit, "boolean") == 0);
            if (row->kind == COUNTERS_COUNTER) /* never wraps */
                assert_int_equal(row->size, sizeof(uint64_t));
            if (strstr(row->help, "at this moment"))
                assert_int_equal(row->kind, COUNTERS_GAUGE);
        }
    }
}

static void no_process_tells_two_numbers_of_one_name(void **state)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct counter *row = tables[i]; row->name; row++) {
            for (const struct counter *c = row + 1; c->name; c++)
                assert_string_not_equal(row->name, c->name);
            for (const struct counter *c = tables[0]; i > 0 && c->name; c++)
                assert_string_not_equal(row->name, c->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_each_width_are_told),
        cmocka_unit_test(names_keep_the_order_of_their_table),
        cmocka_unit_test(what_was_counted_before_is_added),
        cmocka_unit_test(a_histogram_takes_a_number_a_bucket),
        cmocka_unit_test(every_number_has_a_kind_and_a_unit),
        cmocka_unit_test(no_process_tells_two_numbers_of_one_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
