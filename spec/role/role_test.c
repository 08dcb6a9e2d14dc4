/* role: the states of each kind of role, alone on a loop. */
#include "../net/testloop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/tempdir.h"
#include "role/role.h"
#include "util/alloc.h"

static struct testloop t;
static struct config config;
static struct role *role;
static char dir[TEMPDIR_SIZE];

static struct heard {
    int ready, stopped, ended, prepared;
    int status;    /* of a program that ended */
    char *failed;  /* owned */
    char *refused; /* owned; what role_prepare() led to, NULL: it worked */
} heard;

static void on_ready(void *arg)
{
    heard.ready++;
}

static void on_failed(const char *message, void *arg)
{
    heard.failed = xstrdup(message);
}

static void on_stopped(void *arg)
{
    heard.stopped++;
}

static void on_ended(int status, void *arg)
{
    heard.ended++;
    heard.status = status;
}

static void on_prepared(const char *message, void *arg)
{
    heard.prepared++;
    free(heard.refused);
    heard.refused = message ? xstrdup(message) : NULL;
}

static const struct role_events events = {.on_ready = on_ready,
    .on_failed = on_failed,
    .on_stopped = on_stopped,
    .on_ended = on_ended,
    .on_prepared = on_prepared};

static int set_up(void **state)
{
    testloop_open(&t);
    memset(&heard, 0, sizeof(heard));
    memset(&config, 0, sizeof(config));
    role = NULL;
    return 0;
}

static int tear_down(void **state)
{
    if (role)
        role_free(role);
    testloop_close(&t);
    config_free(&config);
    free(heard.failed);
    free(heard.refused);
    return 0;
}

static void load(const char *text)
{
    char *wrong = NULL;

    config_load(&config, "test", text, &wrong);
    assert_null(wrong);
}

static void start(const struct role_slot *slot)
{
    char err[256];

    assert_int_equal(
        role_new(&role, &t.loop, slot, &config, &events, NULL, err), 0);
    assert_int_equal(role_state(role), ROLE_STARTING);
    assert_int_equal(heard.ready, 0);
}

/* A worker in slot 0, of this script. */
static void start_worker(const char *script)
{
    const struct role_slot slot = {.kind = "worker"};

    load("return { workers = { name = 'w', script = 'Makefile' },"
         " register_address = '127.0.0.1:1' }");
    config.workers[0].conf.script_text = script;
    config.workers[0].conf.lua_dir = "lua";
    start(&slot);
}

static void reload_with(const char *script)
{
    int before = heard.prepared;
    char err[256];

    config.workers[0].conf.script_text = script;
    assert_int_equal(role_prepare(role, NULL, err), 1);
    assert_int_equal(role_state(role), ROLE_PREPARING);
    testloop_spin(&t, heard.prepared > before);
}

static void a_register_is_ready_at_once_and_stops(void **state)
{
    union addr addr;
    const struct role_slot slot = {
        .kind = "register", .fds = {testloop_bind(&addr), -1, -1, -1}};
    char err[256];

    load("return { register = { listen = '127.0.0.1:1' } }");
    start(&slot);
    testloop_spin(&t, heard.ready);
    assert_int_equal(role_state(role), ROLE_READY);
    assert_null(role_gateway(role));
    assert_null(role_worker(role));
    assert_int_equal(role_prepare(role, NULL, err), 0);
    assert_int_equal(role_state(role), ROLE_PREPARED);
    role_commit(role);
    assert_int_equal(role_state(role), ROLE_READY);
    role_stop(role, false, 0);
    assert_int_equal(role_state(role), ROLE_STOPPING);
    testloop_spin(&t, heard.stopped);
    assert_int_equal(role_state(role), ROLE_STOPPED);
    assert_int_equal(heard.ready, 1);
}

static void a_worker_takes_or_drops_what_it_prepared(void **state)
{
    start_worker("Events = { onMessage = print }");
    testloop_spin(&t, heard.ready);
    assert_int_equal(role_state(role), ROLE_READY);
    reload_with("Events = { onMessage = print } -- anew");
    assert_null(heard.refused);
    assert_int_equal(role_state(role), ROLE_PREPARED);
    role_commit(role);
    assert_int_equal(role_state(role), ROLE_READY);
    reload_with("Events = { onMessage = print } -- once more");
    role_abort(role);
    assert_int_equal(role_state(role), ROLE_READY);
    reload_with("error 'no'");
    assert_non_null(strstr(heard.refused, "no"));
    assert_int_equal(role_state(role), ROLE_READY);
    role_stop(role, false, 1);
    testloop_spin(&t, heard.stopped);
    assert_int_equal(role_state(role), ROLE_STOPPED);
}

static void a_worker_whose_script_is_wrong_has_failed(void **state)
{
    start_worker("error 'no'");
    testloop_spin(&t, heard.failed);
    assert_int_equal(role_state(role), ROLE_FAILED);
    assert_int_equal(heard.ready, 0);
}

static void a_reload_does_not_bring_back_what_stops(void **state)
{
    char err[256];

    start_worker("Events = { onMessage = print }");
    testloop_spin(&t, heard.ready);
    role_stop(role, true, 1);
    role_prepare(role, NULL, err);
    assert_int_equal(role_state(role), ROLE_STOPPING);
    role_commit(role);
    assert_int_equal(role_state(role), ROLE_STOPPING);
    role_stop(role, false, 1);
    testloop_spin(&t, heard.stopped);
    assert_int_equal(heard.stopped, 1);
}

static void a_program_that_has_ended_may_begin_again(void **state)
{
    const struct role_slot slot = {.kind = "program"};
    char text[400], path[TEMPDIR_SIZE + 20], err[256];
    FILE *file;

    tempdir_make(dir);
    snprintf(path, sizeof(path), "%s/program.lua", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("os.exit(3)", file);
    fclose(file);
    snprintf(text, sizeof(text),
        "return { programs = { { name = 'p', file = '%s' } },"
        " register_address = '127.0.0.1:1' }",
        path);
    load(text);
    config.programs[0].conf.lua_dir = "lua";
    start(&slot);
    testloop_spin(&t, heard.ended);
    assert_int_equal(heard.status, 3);
    assert_int_equal(role_state(role), ROLE_STOPPED);
    assert_int_equal(role_prepare(role, NULL, err), 1);
    assert_int_equal(heard.prepared, 1);
    assert_null(heard.refused);
    role_commit(role);
    assert_int_equal(role_state(role), ROLE_READY);
    testloop_spin(&t, heard.ended == 2);
}

static void there_are_no_other_roles_and_no_other_slots(void **state)
{
    struct role_slot slot = {.kind = "governor", .number = 7};
    char err[256] = "";

    assert_int_equal(
        role_new(&role, &t.loop, &slot, &config, &events, NULL, err), -EINVAL);
    assert_string_equal(err, "there is no role \"governor\"");
    slot.kind = "worker";
    assert_int_equal(
        role_new(&role, &t.loop, &slot, &config, &events, NULL, err), -EINVAL);
    assert_string_equal(err, "the configuration has no worker 7");
    assert_null(role);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_register_is_ready_at_once_and_stops),
        TEST(a_worker_takes_or_drops_what_it_prepared),
        TEST(a_worker_whose_script_is_wrong_has_failed),
        TEST(a_reload_does_not_bring_back_what_stops),
        TEST(a_program_that_has_ended_may_begin_again),
        TEST(there_are_no_other_roles_and_no_other_slots),
    };

    return cmocka_run_group_tests_name("role.role", tests, NULL, NULL);
}
