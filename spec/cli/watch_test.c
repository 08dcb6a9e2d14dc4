/* Every way in which a script can change is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "cli/watch.h"

static void put(const char *name, const char *text)
{
    FILE *file = fopen(name, "we");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_scripts(void **state)
{
    char folder[TEMPDIR_SIZE];

    tempdir_make(folder);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("room", 0755), 0);
    put("events.lua", "a");
    put("room/chat.lua", "b");
    return 0;
}

static void stays_the_same_without_a_change(void **state)
{
    assert_true(watch_fingerprint(".") == watch_fingerprint("."));
}

static void sees_a_file_written(void **state)
{
    uint64_t before = watch_fingerprint(".");

    put("room/chat.lua", "bb");
    assert_true(watch_fingerprint(".") != before);
}

static void sees_a_file_touched(void **state)
{
    static const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    uint64_t before = watch_fingerprint(".");

    assert_int_equal(utimensat(AT_FDCWD, "events.lua", times, 0), 0);
    assert_true(watch_fingerprint(".") != before);
}

static void sees_files_come_move_and_go(void **state)
{
    uint64_t before = watch_fingerprint(".");
    uint64_t added, moved;

    put("room/a.lua", "c");
    added = watch_fingerprint(".");
    assert_true(added != before);
    assert_int_equal(rename("room/a.lua", "room/new.lua"), 0);
    moved = watch_fingerprint(".");
    assert_true(moved != added);
    assert_int_equal(remove("room/new.lua"), 0);
    assert_true(watch_fingerprint(".") == before);
}

static void looks_at_lua_files_only(void **state)
{
    uint64_t before = watch_fingerprint(".");

    put("room/notes.txt", "x");
    assert_true(watch_fingerprint(".") == before);
    remove("room/notes.txt");
}

static void ends_when_a_link_leads_back(void **state)
{
    assert_int_equal(symlink("..", "room/up"), 0);
    watch_fingerprint(".");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_the_same_without_a_change),
        cmocka_unit_test(sees_a_file_written),
        cmocka_unit_test(sees_a_file_touched),
        cmocka_unit_test(sees_files_come_move_and_go),
        cmocka_unit_test(looks_at_lua_files_only),
        cmocka_unit_test(ends_when_a_link_leads_back),
    };

    return cmocka_run_group_tests_name("cli.watch", tests, make_scripts, NULL);
}
