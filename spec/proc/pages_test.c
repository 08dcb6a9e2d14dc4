/* pages: what a process tells outlives it, whole, and nobody waits for it.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/pages.h"

static int fd;
static struct pages *pages;

static int setup(void **state)
{
    fd = pages_create(3);
    assert_true(fd >= 0);
    pages = pages_open(fd);
    assert_non_null(pages);
    return 0;
}

static int teardown(void **state)
{
    pages_close(pages);
    close(fd);
    return 0;
}

static uint64_t number(size_t page, size_t index)
{
    uint64_t numbers[PAGES_NUMBERS];

    page_read(pages_at(pages, page), numbers);
    return numbers[index];
}

static void a_new_page_has_zeros(void **state)
{
    struct page_child child;
    struct pages_system system;

    assert_int_equal(3, pages_count(pages));
    assert_int_equal(0, number(2, PAGES_NUMBERS - 1));
    page_read_child(pages_at(pages, 0), &child);
    assert_string_equal("", child.state);
    assert_false(child.runs);
    pages_read_system(pages, &system);
    assert_int_equal(0, system.pid);
}

static void what_was_written_last_is_read_by_every_mapping(void **state)
{
    struct pages *other = pages_open(fd);
    const struct page_child child = {
        .runs = true, .restarts = 4, .state = "ready", .last_end = "why"};
    struct page_child heard;

    for (uint64_t i = 1; i < 10; i++) {
        page_write(pages_at(other, 1), (uint64_t[]){i, 2 * i}, 2);
        assert_int_equal(i, number(1, 0));
        assert_int_equal(2 * i, number(1, 1));
    }
    assert_int_equal(0, number(0, 0));
    page_write_child(pages_at(other, 1), &child);
    page_read_child(pages_at(pages, 1), &heard);
    assert_memory_equal(&child, &heard, sizeof(child));
    pages_close(other);
}

static void a_dead_process_has_told_what_it_told(void **state)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        page_write(pages_at(pages, 0), (uint64_t[]){7}, 1);
        raise(SIGKILL);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(7, number(0, 0));
}

/* Stopped while it writes: the place that is valid is another one. */
static void a_writer_that_was_stopped_holds_up_nobody(void **state)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        uint64_t numbers[PAGES_NUMBERS];

        for (uint64_t i = 1;; i++) {
            for (size_t k = 0; k < PAGES_NUMBERS; k++)
                numbers[k] = i;
            page_write(pages_at(pages, 0), numbers, PAGES_NUMBERS);
        }
    }
    for (int round = 0; round < 20; round++) {
        uint64_t numbers[PAGES_NUMBERS];
        uint64_t last = number(0, 0);

        while (number(0, 0) == last)
            ; /* it runs */
        kill(pid, SIGSTOP);
        assert_int_equal(pid, waitpid(pid, &status, WUNTRACED));
        page_read(pages_at(pages, 0), numbers);
        for (size_t k = 0; k < PAGES_NUMBERS; k++)
            assert_int_equal(numbers[0], numbers[k]);
        kill(pid, SIGCONT);
    }
    kill(pid, SIGKILL);
    assert_int_equal(pid, waitpid(pid, &status, 0));
}

static void cells_are_told_to_all_who_map_the_pages(void **state)
{
    struct pages *other = pages_open(fd);
    struct page_cells cells = {.seen = 1, .there = 70, .count = PAGES_CELLS};
    struct page_cells heard;

    pages_read_cells(pages, &heard);
    assert_int_equal(0, heard.seen);
    strcpy(cells.rows[PAGES_CELLS - 1].name, "a");
    pages_write_cells(other, &cells);
    pages_read_cells(pages, &heard);
    assert_int_equal(70, heard.there);
    assert_string_equal("a", heard.rows[PAGES_CELLS - 1].name);
    pages_close(other);
}

/* Whoever writes may be broken into: all that is read ends. */
static void cells_that_do_not_end_are_cut(void **state)
{
    struct page_cells cells = {.seen = 1, .count = PAGES_CELLS + 1};
    struct page_cells heard;

    for (size_t i = 0; i < PAGES_CELLS; i++) {
        memset(cells.rows[i].name, 'x', sizeof(cells.rows[i].name));
        memset(cells.rows[i].version, 'x', sizeof(cells.rows[i].version));
    }
    pages_write_cells(pages, &cells);
    pages_read_cells(pages, &heard);
    assert_int_equal(PAGES_CELLS, heard.count);
    for (size_t i = 0; i < PAGES_CELLS; i++) {
        assert_int_equal(PAGES_CELL_SIZE - 1, strlen(heard.rows[i].name));
        assert_int_equal(31, strlen(heard.rows[i].version));
    }
}

static void a_wish_for_cells_holds_for_some_seconds(void **state)
{
    assert_false(pages_cells_are_wanted(pages, 0));
    assert_false(pages_cells_are_wanted(pages, 100000));
    pages_want_cells(pages, 100000);
    assert_true(pages_cells_are_wanted(pages, 100000));
    assert_true(pages_cells_are_wanted(pages, 100000 + PAGES_CELLS_FRESH - 1));
    assert_false(pages_cells_are_wanted(pages, 100000 + PAGES_CELLS_FRESH));
}

static void only_pages_are_mapped(void **state)
{
    int ends[2];

    assert_null(pages_open(-1));
    assert_int_equal(0, pipe(ends));
    assert_null(pages_open(ends[0]));
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_page_has_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_was_written_last_is_read_by_every_mapping, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_dead_process_has_told_what_it_told, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_writer_that_was_stopped_holds_up_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(
            cells_are_told_to_all_who_map_the_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(
            cells_that_do_not_end_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_wish_for_cells_holds_for_some_seconds, setup, teardown),
        cmocka_unit_test(only_pages_are_mapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
