/* What people see of a script's error, with the files that it names; the words
 * themselves are in spec/lua/traceback_spec.lua. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "cli/traceback.h"

static char dir[TEMPDIR_SIZE];
static char lua_dir[PATH_MAX]; /* of this program */

static struct traceback_style style = {
    .lua_dir = lua_dir, .script = "scripts/events.lua"};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void shows(const char *error, const char *want)
{
    char *got = traceback_show(error, &style);

    assert_string_equal(got, want);
    free(got);
}

static int set_up(void **state)
{
    if (!realpath("lua", lua_dir))
        return -1;
    tempdir_make(dir);
    if (chdir(dir) < 0 || mkdir("scripts", 0755) < 0)
        return -1;
    write_file("scripts/events.lua", "Events = {}\n"
                                     "local function greet(id)\n"
                                     "\treturn uidd .. id -- uidd?\n"
                                     "end\n"
                                     "function Events.onMessage(id)\n"
                                     "\tgreeet(id)\n"
                                     "end\n");
    return 0;
}

static int tear_down(void **state)
{
    return chdir("/");
}

static void shows_the_source_and_the_script_s_frames(void **state)
{
    shows(
        "scripts/events.lua:6: attempt to call a nil value (global 'greeet')\n"
        "stack traceback:\n"
        "\t[C]: in ?\n"
        "\tscripts/events.lua:2: in ?",
        "scripts/events.lua:6: attempt to call a nil value (global 'greeet')\n"
        "    4 | end\n"
        "    5 | function Events.onMessage(id)\n"
        "  > 6 | \tgreeet(id)\n"
        "      | \t^^^^^^\n"
        "    7 | end\n"
        "called from\n"
        "\tscripts/events.lua:2: in ?");
}

static void leaves_gwrun_s_own_code_out(void **state)
{
    char error[PATH_MAX + 100];

    snprintf(error, sizeof(error),
        "no\nstack traceback:\n\t%s/gwrun/async.lua:1: in ?", lua_dir);
    shows(error, "no");
}

static void reads_nothing_but_files_of_a_decent_size(void **state)
{
    char *got;

    write_file("scripts/large.lua", "x");
    assert_int_equal(truncate("scripts/large.lua", TRACEBACK_FILE_MAX), 0);
    got = traceback_show("scripts/large.lua:1: x", &style);
    assert_non_null(strstr(got, "  > 1 | x?"));
    free(got);
    assert_int_equal(truncate("scripts/large.lua", TRACEBACK_FILE_MAX + 1), 0);
    shows("scripts/large.lua:1: x", "scripts/large.lua:1: x");
    shows("scripts:1: a folder", "scripts:1: a folder");
    shows("/dev/zero:1: a device", "/dev/zero:1: a device");
}

static void lets_no_error_command_the_terminal(void **state)
{
    shows("\x1b[2Jscripts/x.lua:1: \x07", "?[2Jscripts/x.lua:1: ?");
    shows("x: \xc2\x9b\xe2\x80\xae\xff 你好\t", "x: ?????? 你好\t");
}

static void shows_all_of_it_without_its_lua_half(void **state)
{
    style.lua_dir = "/nonexistent";
    shows("scripts/events.lua:7: x\x07\nstack traceback:\n\t[C]: in ?",
        "scripts/events.lua:7: x?\nstack traceback:\n\t[C]: in ?");
    style.lua_dir = lua_dir;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_the_source_and_the_script_s_frames),
        cmocka_unit_test(leaves_gwrun_s_own_code_out),
        cmocka_unit_test(reads_nothing_but_files_of_a_decent_size),
        cmocka_unit_test(lets_no_error_command_the_terminal),
        cmocka_unit_test(shows_all_of_it_without_its_lua_half),
    };

    return cmocka_run_group_tests_name(
        "cli.traceback", tests, set_up, tear_down);
}
