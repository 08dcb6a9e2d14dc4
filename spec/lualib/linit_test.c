/* What a new state offers, and what it refuses. */
#include "script.h"

static char log_path[96];

static int serve(void **state)
{
    fixture_setup(state);
    snprintf(log_path, sizeof(log_path), "%s/log", fixture.dir);
    log_open(log_path);
    return 0;
}

static int unserve(void **state)
{
    script_end();
    log_open("/dev/null");
    unlink(log_path);
    return fixture_teardown(state);
}

static void load(const char *text)
{
    char script[4096];

    snprintf(script, sizeof(script),
        "Events = { onMessage = print } "
        "local function e(f, ...) "
        "note((select(2, pcall(f, ...)):gsub('^.-lua:%%d+: ', ''))) end %s",
        text);
    script_load(script);
}

/* The log's lines without their heads. */
static const char *logged(void)
{
    static char text[4096];
    char line[2048];
    FILE *f = fopen(log_path, "r");

    assert_non_null(f);
    text[0] = '\0';
    while (fgets(line, sizeof(line), f)) {
        const char *rest = strstr(line, "] ");

        strcat(text, rest ? rest + 2 : line);
    }
    fclose(f);
    return text;
}

static void refuses_what_would_end_or_stop_the_worker(void **state)
{
    load("e(os.exit) e(os.execute, 'ls') e(io.popen, 'ls') e(io.read) "
         "e(io.lines) e(os.setlocale, 'C') note(io.stdin) note(debug.sethook)");
    assert_string_equal(notes(),
        "os.exit is not available: it would end the worker for all clients; "
        "return or call error() to end this handler, and use 'gwrun stop' to "
        "stop the system "
        "os.execute is not available: the whole worker would wait for the "
        "command; let another program run it "
        "io.popen is not available: the whole worker would wait for the "
        "command; let another program run it "
        "io.read is not available: a worker has no standard input; open a "
        "file with io.open "
        "io.lines needs a file name: a worker has no standard input; open a "
        "file with io.open "
        "os.setlocale is not available: it would change how the whole "
        "process writes numbers nil nil ");
}

static void loads_text_but_no_bytecode(void **state)
{
    load("note(load 'return 1' ()) note(load('return x', 'n', 't', { x = 2 }) "
         "()) local code = string.dump(load 'return 1') "
         "note(select(2, load(code))) note(select(2, load(code, 'n', 'b')))");
    assert_string_equal(notes(),
        "1 2 attempt to load a binary chunk (mode is 't') only text chunks "
        "can be loaded ");
}

static void requires_modules_beside_the_script(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/helper.lua", fixture.dir);
    fixture_write(path, "local name = ... return { name = name }");
    load("note(require('helper').name) note(require 'helper' == require "
         "'helper') note((select(2, pcall(require, 'nowhere')):match "
         "\"module 'nowhere' not found\"))");
    assert_string_equal(notes(), "helper true module 'nowhere' not found ");
}

static void refuses_files_of_bytecode(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/helper.lua", fixture.dir);
    fixture_write(path, "\x1bLuaxxxx");
    load("note((select(2, pcall(require, 'helper')):match 'binary chunk')) "
         "local path = package.searchpath('helper', package.path) "
         "note((select(2, loadfile(path)):match 'binary chunk')) "
         "note((select(2, loadfile(path, 'b')))) "
         "note((select(2, pcall(dofile, path)):match 'binary chunk'))");
    assert_string_equal(notes(),
        "binary chunk binary chunk only text chunks can be loaded "
        "binary chunk ");
}

static void has_cjson(void **state)
{
    load("local cjson = require 'cjson' note(cjson.encode { 1 }) "
         "note(cjson.decode '{\"a\":[\"x\"]}'.a[1]) "
         "note(require('cjson.safe').decode '{' == nil)");
    assert_string_equal(notes(), "[1] x true ");
}

static void prints_one_safe_line(void **state)
{
    load("print('a', 1, nil, 'x\\ny\\27[2J\\r\\0z\\194\\155\\u{202E}\\255') "
         "Log.warn 'careful' Log.debug 'hidden' Log.error('你好') "
         "warn 'x\\ny\\27[2J'");
    assert_string_equal(logged(),
        "notice print: a\t1\tnil\tx\\ny\\x1b[2J\\x0d\\x00z\\xc2\\x9b"
        "\\xe2\\x80\\xae\\xff\n"
        "warn script: careful\n"
        "error script: 你好\n"
        "warn vm: lua warning: \"x\\ny\\x1b[2J\"\n");
}

/* The memory of a name that is free is soon another text's. */
static void keeps_the_names_of_fields_that_are_removed(void **state)
{
    load("local fields, kept, name = {}, {}, ('k'):rep(20) "
         "fields[name], fields.z = setmetatable({}, { __tostring = function() "
         "fields[('k'):rep(20)] = nil collectgarbage() collectgarbage() "
         "for i = 1, 2000 do kept[i] = ('%020d'):format(i) end "
         "return 'v' end }), 1 name = nil "
         "Log.with(fields).warn 'removed'");
    assert_string_equal(
        logged(), "warn script: removed kkkkkkkkkkkkkkkkkkkk=v z=1\n");
}

static void leaves_globals_to_the_script(void **state)
{
    load("x = 1 note(x) note(y) note(type(Gateway)) note(type(Timer)) "
         "note(_SESSION) note(_SERVER)");
    assert_string_equal(notes(), "1 nil table table nil nil ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve, unserve)
    static const struct CMUnitTest tests[] = {
        TEST(refuses_what_would_end_or_stop_the_worker),
        TEST(loads_text_but_no_bytecode),
        TEST(requires_modules_beside_the_script),
        TEST(refuses_files_of_bytecode),
        TEST(has_cjson),
        TEST(prints_one_safe_line),
        TEST(keeps_the_names_of_fields_that_are_removed),
        TEST(leaves_globals_to_the_script),
    };

    return cmocka_run_group_tests_name("lualib.linit", tests, NULL, NULL);
}
