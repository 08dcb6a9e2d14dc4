/* What people see of a script's error. */
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

static struct traceback_style style = {
    .lua_dir = "/usr/share/gwrun/lua", .script = "scripts/events.lua"};

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

static void shows_the_lines_around_and_the_word_that_is_wrong(void **state)
{
    shows("scripts/events.lua:6: attempt to call a nil value (global 'greeet')",
        "scripts/events.lua:6: attempt to call a nil value (global 'greeet')\n"
        "    4 | end\n"
        "    5 | function Events.onMessage(id)\n"
        "  > 6 | \tgreeet(id)\n"
        "      | \t^^^^^^\n"
        "    7 | end");
}

static void points_at_no_word_that_is_there_twice(void **state)
{
    shows("scripts/events.lua:3: attempt to concatenate a nil value (global "
          "'uidd')",
        "scripts/events.lua:3: attempt to concatenate a nil value (global "
        "'uidd')\n"
        "    1 | Events = {}\n"
        "    2 | local function greet(id)\n"
        "  > 3 | \treturn uidd .. id -- uidd?\n"
        "    4 | end\n"
        "    5 | function Events.onMessage(id)");
}

static void keeps_the_callers_that_are_the_script_s(void **state)
{
    shows("scripts/events.lua:3: no\n"
          "stack traceback:\n"
          "\t[C]: in function 'error'\n"
          "\tscripts/events.lua:3: in local 'greet'\n"
          "\t/usr/share/gwrun/lua/gwrun/async.lua:40: in function 'f'\n"
          "\tscripts/events.lua:6: in function <scripts/events.lua:5>\n"
          "\t(...tail calls...)\n"
          "\t[C]: in ?",
        "scripts/events.lua:3: no\n"
        "    1 | Events = {}\n"
        "    2 | local function greet(id)\n"
        "  > 3 | \treturn uidd .. id -- uidd?\n"
        "    4 | end\n"
        "    5 | function Events.onMessage(id)\n"
        "called from\n"
        "\tscripts/events.lua:6: in function <scripts/events.lua:5>");
}

static void says_no_more_when_nobody_else_called(void **state)
{
    shows("scripts/events.lua:7: x\n"
          "stack traceback:\n"
          "\tscripts/events.lua:7: in function <scripts/events.lua:5>",
        "scripts/events.lua:7: x\n"
        "    5 | function Events.onMessage(id)\n"
        "    6 | \tgreeet(id)\n"
        "  > 7 | end");
}

static void finds_the_script_when_the_message_names_nothing(void **state)
{
    shows("/usr/share/gwrun/lua/gwrun/mysql.lua:9: bad table\n"
          "stack traceback:\n"
          "\t/usr/share/gwrun/lua/gwrun/mysql.lua:9: in function 'where'\n"
          "\tscripts/events.lua:6: in function <scripts/events.lua:5>",
        "/usr/share/gwrun/lua/gwrun/mysql.lua:9: bad table\n"
        "    4 | end\n"
        "    5 | function Events.onMessage(id)\n"
        "  > 6 | \tgreeet(id)\n"
        "    7 | end");
}

static void shows_where_a_block_began_that_does_not_end(void **state)
{
    shows("scripts/events.lua:7: 'end' expected (to close 'function' at line "
          "2) near <eof>",
        "scripts/events.lua:7: 'end' expected (to close 'function' at line 2) "
        "near <eof>\n"
        "    2 | local function greet(id)\n"
        "    ...\n"
        "    5 | function Events.onMessage(id)\n"
        "    6 | \tgreeet(id)\n"
        "  > 7 | end");
}

static void shows_the_module_and_not_its_require(void **state)
{
    shows("error loading module 'events' from file 'scripts/events.lua':\n"
          "\tscripts/events.lua:1: '=' expected near '{'",
        "error loading module 'events' from file 'scripts/events.lua':\n"
        "\tscripts/events.lua:1: '=' expected near '{'\n"
        "  > 1 | Events = {}\n"
        "      |          ^\n"
        "    2 | local function greet(id)\n"
        "    3 | \treturn uidd .. id -- uidd?");
}

static void finds_files_whose_names_lua_has_cut(void **state)
{
    const char *lua_dir = style.lua_dir;
    char error[200];

    style.lua_dir = dir; /* as if the script were gwrun's */
    snprintf(error, sizeof(error),
        "no\n"
        "stack traceback:\n"
        "\t...%s/scripts/events.lua:1: in ?\n"
        "\t...elsewhere/scripts/events.lua:2: in ?",
        dir + strlen(dir) - 4);
    shows(error, "no\n"
                 "called from\n"
                 "\t...elsewhere/scripts/events.lua:2: in ?");
    style.lua_dir = lua_dir;
    shows("...ts/events.lua:1: x", "...ts/events.lua:1: x\n"
                                   "  > 1 | Events = {}\n"
                                   "    2 | local function greet(id)\n"
                                   "    3 | \treturn uidd .. id -- uidd?");
}

static void looks_behind_the_name_of_who_failed(void **state)
{
    shows("worker/0: scripts/events.lua:7: x",
        "worker/0: scripts/events.lua:7: x\n"
        "    5 | function Events.onMessage(id)\n"
        "    6 | \tgreeet(id)\n"
        "  > 7 | end");
}

static void survives_what_is_no_error_of_lua(void **state)
{
    shows("", "");
    shows("\n", "");
    shows("plain", "plain");
    shows("nowhere.lua:5: x", "nowhere.lua:5: x");
    shows("scripts/events.lua:99999999999999: x",
        "scripts/events.lua:99999999999999: x");
    shows("scripts:1: a folder", "scripts:1: a folder");
    shows("stack traceback:\n\t[C]: in ?", "");
    shows("[string \"x:1: y\"]:1: z", "[string \"x:1: y\"]:1: z");
}

static void lets_no_error_command_the_terminal(void **state)
{
    shows("\x1b[2Jscripts/x.lua:1: \x07", "?[2Jscripts/x.lua:1: ?");
}

static void paints_when_told_to(void **state)
{
    style.color = true;
    shows("scripts/events.lua:6: 'greeet'",
        "\x1b[1mscripts/events.lua:6:\x1b[m\x1b[1;31m 'greeet'\x1b[m\n"
        "\x1b[2m    4 | \x1b[mend\n"
        "\x1b[2m    5 | \x1b[mfunction Events.onMessage(id)\n"
        "\x1b[1;31m  > 6 | \x1b[m\x1b[1m\tgreeet(id)\x1b[m\n"
        "\x1b[2m      | \x1b[m\t\x1b[1;31m^^^^^^\x1b[m\n"
        "\x1b[2m    7 | \x1b[mend");
    style.color = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_the_lines_around_and_the_word_that_is_wrong),
        cmocka_unit_test(points_at_no_word_that_is_there_twice),
        cmocka_unit_test(keeps_the_callers_that_are_the_script_s),
        cmocka_unit_test(says_no_more_when_nobody_else_called),
        cmocka_unit_test(finds_the_script_when_the_message_names_nothing),
        cmocka_unit_test(shows_where_a_block_began_that_does_not_end),
        cmocka_unit_test(shows_the_module_and_not_its_require),
        cmocka_unit_test(finds_files_whose_names_lua_has_cut),
        cmocka_unit_test(looks_behind_the_name_of_who_failed),
        cmocka_unit_test(survives_what_is_no_error_of_lua),
        cmocka_unit_test(lets_no_error_command_the_terminal),
        cmocka_unit_test(paints_when_told_to),
    };

    return cmocka_run_group_tests_name(
        "cli.traceback", tests, set_up, tear_down);
}
