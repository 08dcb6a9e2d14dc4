/* exposition: what Prometheus is told of pages.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <time.h>
#include <unistd.h>

#include "admin/exposition.h"
#include "util/alloc.h"
#include "util/histogram.h"

static const struct counter common[] = {
    {"cpu_ms", "CPU time used, in milliseconds", COUNTERS_COUNTER,
        "milliseconds", 0, 8},
    {NULL, NULL, 0, NULL, 0, 0},
};
static const struct counter own[] = {
    {"messages", "a \\ and\na line", COUNTERS_COUNTER, "", 0, 8},
    {"took", "how long it took", COUNTERS_HISTOGRAM, "seconds", 0,
        sizeof(struct histogram)},
    {"queued", "bytes that wait", COUNTERS_GAUGE, "bytes", 0, 8},
    {"sampled", "how many", COUNTERS_HISTOGRAM, "bytes", 0,
        sizeof(struct histogram)},
    {NULL, NULL, 0, NULL, 0, 0},
};

static struct pages *make_pages(size_t count)
{
    int fd = pages_create(count);
    struct pages *pages = pages_open(fd);

    assert_non_null(pages);
    close(fd);
    return pages;
}

/* The text of the system; the caller frees it. */
static char *tell(const struct admin_system *system)
{
    struct snapshot s;
    struct buf out = {0};
    char *text;

    snapshot_take(&s, system, 5000);
    exposition_put(&out, &s);
    text = xstrndup((char *)out.data, out.len);
    buf_fini(&out);
    snapshot_fini(&s);
    return text;
}

static void assert_has(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("\"%s\" is not in:\n%s", line, text);
}

static void numbers_have_names_units_and_labels(void **state)
{
    const struct admin_process process = {.role = "worker",
        .slot = 3,
        .name = "a\"b",
        .listen = "",
        .tables = {common, own}};
    const struct admin_system system = {
        .pages = make_pages(1), .processes = &process};
    uint64_t numbers[PAGES_NUMBERS] = {1234, 77};
    struct page_child child = {
        .runs = true, .answers = true, .state = "ready", .began = 2000};
    char *text;

    numbers[2] = 1;                    /* up to 100 µs */
    numbers[2 + HISTOGRAM_BOUNDS] = 2; /* longer than all */
    numbers[3 + HISTOGRAM_BOUNDS] = 30000050000;
    numbers[4 + HISTOGRAM_BOUNDS] = 9;
    numbers[5 + HISTOGRAM_BOUNDS + 1] = 4; /* up to 4 KiB */
    numbers[6 + 2 * HISTOGRAM_BOUNDS] = 9000;
    page_write(pages_at(system.pages, 0), numbers, PAGES_NUMBERS);
    page_write_child(pages_at(system.pages, 0), &child);
    text = tell(&system);
#define LABELS "role=\"worker\",name=\"a\\\"b\",slot=\"3\""
    assert_has(text, "gwrun_process_cpu_seconds_total{" LABELS "} 1.234\n");
    assert_has(text, "# HELP gwrun_process_cpu_seconds_total CPU time used\n");
    assert_has(
        text, "# HELP gwrun_worker_messages_total a \\\\ and\\na line\n");
    assert_has(text, "# TYPE gwrun_worker_messages_total counter\n"
                     "gwrun_worker_messages_total{" LABELS "} 77\n");
    assert_has(text, "# TYPE gwrun_worker_took_seconds histogram\n");
    assert_has(
        text, "gwrun_worker_took_seconds_bucket{" LABELS ",le=\"0.0001\"} 1\n");
    assert_has(
        text, "gwrun_worker_took_seconds_bucket{" LABELS ",le=\"10\"} 1\n");
    assert_has(
        text, "gwrun_worker_took_seconds_bucket{" LABELS ",le=\"+Inf\"} 3\n");
    assert_has(
        text, "gwrun_worker_took_seconds_sum{" LABELS "} 30.000050000\n");
    assert_has(text, "gwrun_worker_took_seconds_count{" LABELS "} 3\n");
    assert_has(
        text, "gwrun_worker_sampled_bytes_bucket{" LABELS ",le=\"1024\"} 0\n");
    assert_has(
        text, "gwrun_worker_sampled_bytes_bucket{" LABELS ",le=\"4096\"} 4\n");
    assert_has(text, "gwrun_worker_sampled_bytes_bucket{" LABELS
                     ",le=\"1099511627776\"} 4\n");
    assert_has(text, "gwrun_worker_sampled_bytes_sum{" LABELS "} 9000\n");
    assert_has(text, "# TYPE gwrun_worker_queued_bytes gauge\n"
                     "gwrun_worker_queued_bytes{" LABELS "} 9\n");
    assert_has(text, "gwrun_process_up{" LABELS "} 1\n");
    assert_has(text, "gwrun_process_uptime_seconds{" LABELS "} 3.000\n");
    free(text);
    pages_close(system.pages);
}

static void the_dead_are_counted_and_not_measured(void **state)
{
    const struct admin_process process = {
        .role = "worker", .name = "w", .listen = "", .tables = {common, own}};
    const struct admin_system system = {
        .pages = make_pages(1), .processes = &process};
    char *text;

    page_write(pages_at(system.pages, 0), (uint64_t[]){1, 77}, 2);
    text = tell(&system);
    assert_has(
        text, "gwrun_process_up{role=\"worker\",name=\"w\",slot=\"0\"} 0");
    assert_has(text,
        "gwrun_worker_messages_total{role=\"worker\",name=\"w\",slot=\"0\"} 77");
    assert_null(strstr(text, "gwrun_worker_queued_bytes{"));
    free(text);
    pages_close(system.pages);
}

static double cost_of(size_t count)
{
    struct admin_process *processes = xcalloc(count, sizeof(*processes));
    struct admin_system system = {
        .pages = make_pages(count), .processes = processes};
    struct timespec from, to;

    for (size_t i = 0; i < count; i++)
        processes[i] = (struct admin_process){.role = "worker",
            .slot = (unsigned)i,
            .name = "w",
            .listen = "",
            .tables = {common, own}};
    free(tell(&system)); /* the pages are there now */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 20; i++)
        free(tell(&system));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    pages_close(system.pages);
    free(processes);
    return (double)(to.tv_sec - from.tv_sec) +
           (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

/* Its cost is that of its length: ten times as much, and what a busy machine
 * adds. */
static void many_processes_cost_what_they_are(void **state)
{
    double best = 1000;

    for (int i = 0; i < 10 && best > 15; i++) {
        double ratio = cost_of(400) / cost_of(40);

        best = ratio < best ? ratio : best;
    }
    assert_true(best <= 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_names_units_and_labels),
        cmocka_unit_test(the_dead_are_counted_and_not_measured),
        cmocka_unit_test(many_processes_cost_what_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
