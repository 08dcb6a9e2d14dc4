/* Workers that follow a crash: what they run when the files on disk do not load
 * any more. */
#include <sys/mman.h>

#include "vm_fixture.h"

static char helper[128];
static bool ready, failed;
static char failure[1024];

static void on_ready(void *arg)
{
    ready = true;
}

static void on_failed(const char *message, void *arg)
{
    assert_false(failed);
    failed = true;
    snprintf(failure, sizeof(failure), "%s", message);
}

static const struct worker_events events = {
    .on_ready = on_ready,
    .on_failed = on_failed,
};

static void open_libs(lua_State *L)
{
    fixture_open_libs(L);
    lua_register(L, "loadfile", sources_loadfile);
    lua_register(L, "has_source", sources_has);
    lua_pushstring(L, helper);
    lua_setglobal(L, "helper");
}

static int setup(void **state)
{
    fixture_setup(state);
    snprintf(helper, sizeof(helper), "%s/helper.lua", fixture.dir);
    fixture.conf.open_libs = open_libs;
    fixture.conf.sources_fd = memfd_create("sources", MFD_CLOEXEC);
    assert_true(fixture.conf.sources_fd > 0);
    return 0;
}

static int teardown(void **state)
{
    close(fixture.conf.sources_fd);
    return fixture_teardown(state);
}

static bool is_loaded(void *arg)
{
    return ready || failed;
}

/* A worker from its start until it serves or cannot. */
static struct worker *start(void)
{
    struct worker *w;

    ready = failed = false;
    w = worker_new(&fixture.loop, &fixture.conf, 0, &events, NULL);
    run_until(is_loaded, NULL);
    return w;
}

/* What such a worker notes while it loads. */
static const char *noted_by_a_worker(void)
{
    struct worker *w = start();

    worker_free(w);
    assert_true(ready != failed);
    return notes();
}

static const char script[] =
    "note((assert(loadfile(helper))())) Events = { onMessage = note }";

static void write_files(const char *script_text, const char *helper_text)
{
    fixture_script(script_text);
    fixture_write(helper, helper_text);
}

static void runs_what_ran_before_when_the_disk_is_broken(void **state)
{
    write_files(script, "return 'first'");
    assert_string_equal(noted_by_a_worker(), "first ");
    write_files("note 'broken' oops", "return 'second'");
    assert_string_equal(noted_by_a_worker(), "first ");
    unlink(helper);
    assert_string_equal(noted_by_a_worker(), "first ");
    write_files("note 'broken' error 'oops'", "return 'second'");
    assert_string_equal(noted_by_a_worker(), "broken first ");
    assert_true(ready);
}

static void prefers_the_disk(void **state)
{
    write_files(script, "return 'first'");
    noted_by_a_worker();
    write_files(script, "return 'second'");
    assert_string_equal(noted_by_a_worker(), "second ");
    write_files(script, "oops");
    assert_string_equal(noted_by_a_worker(), "second ");
}

static void fails_when_nothing_was_kept(void **state)
{
    write_files("oops", "");
    assert_string_equal(noted_by_a_worker(), "");
    assert_true(failed);
}

static void open_libs_without_database(lua_State *L)
{
    open_libs(L);
    lua_pushboolean(L, true);
    lua_setglobal(L, "no_database");
}

static void does_not_try_the_same_twice(void **state)
{
    write_files("note 'once' Events = { onMessage = note, onWorkerStart = "
                "function() if no_database then error 'down' end end }",
        "");
    assert_string_equal(noted_by_a_worker(), "once ");
    fixture.conf.open_libs = open_libs_without_database;
    assert_string_equal(noted_by_a_worker(), "once ");
    assert_true(failed);
    assert_non_null(strstr(failure, "down"));
}

static void on_prepared(const char *message, void *arg)
{
    *(bool *)arg = true;
}

static void keeps_what_a_reload_committed(void **state)
{
    bool prepared = false;
    struct worker *w;

    write_files(script, "return 'first'");
    w = start();
    fixture_write(helper, "return 'second'");
    assert_int_equal(worker_prepare(w, on_prepared, &prepared), 0);
    run_until_set(&prepared);
    worker_abort(w);
    write_files("oops", "oops");
    notes();
    assert_string_equal(noted_by_a_worker(), "first ");
    write_files(script, "return 'third'");
    prepared = false;
    assert_int_equal(worker_prepare(w, on_prepared, &prepared), 0);
    run_until_set(&prepared);
    worker_commit(w);
    worker_free(w);
    notes();
    fixture_script("oops");
    assert_string_equal(noted_by_a_worker(), "third ");
}

static void knows_what_was_not_written_to_its_end(void **state)
{
    write_files(script, "return 'first'");
    noted_by_a_worker();
    assert_int_equal(
        pwrite(fixture.conf.sources_fd, "\0\0\0\0", 4, 0), 4); /* no length */
    fixture_script("oops");
    noted_by_a_worker();
    assert_true(failed);
}

/* What lua itself does with a file's first bytes. */
static void replays_a_file_as_lua_loads_it(void **state)
{
    write_files(script, "\xEF\xBB\xBF#!/usr/bin/lua\n"
                        "return debug.getinfo(1, 'S').source:match '[^/]+$' .. "
                        "debug.getinfo(1, 'l').currentline");
    assert_string_equal(noted_by_a_worker(), "helper.lua2 ");
    fixture_script("oops");
    assert_string_equal(noted_by_a_worker(), "helper.lua2 ");
    write_files(script, "");
    noted_by_a_worker();
    fixture_script("oops");
    assert_string_equal(noted_by_a_worker(), "nil ");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(runs_what_ran_before_when_the_disk_is_broken),
        CASE(prefers_the_disk),
        CASE(fails_when_nothing_was_kept),
        CASE(does_not_try_the_same_twice),
        CASE(keeps_what_a_reload_committed),
        CASE(knows_what_was_not_written_to_its_end),
        CASE(replays_a_file_as_lua_loads_it),
    };

    return cmocka_run_group_tests_name("worker.sources", tests, NULL, NULL);
}
