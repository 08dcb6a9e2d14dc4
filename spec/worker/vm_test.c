/* Loading a script: what is accepted, what is refused and why. */
#include "vm_fixture.h"

/* The script must not load, and the error must name it and have text in it. */
static void expect_refused(const char *script, const char *text)
{
    char *error;
    struct vm *vm = open_vm_for(script, NULL, &error);

    assert_non_null(error);
    if (!strstr(error, text))
        fail_msg("want \"%s\" in: %s", text, error);
    if (!strstr(error, "events.lua"))
        fail_msg("no script name in: %s", error);
    free(error);
    vm_close(vm);
}

static void refuses_broken_scripts_with_a_reason(void **state)
{
    fixture.conf.handler_timeout = 0.05;
    expect_refused("Events = {", "unexpected symbol near <eof>");
    expect_refused(
        "local function f() error 'boom' end f()", "boom\nstack traceback:");
    expect_refused("x = 1", "the global \"Events\" is missing");
    expect_refused("Events = 5", "the global \"Events\" is not a table");
    expect_refused("Events = {}", "the table \"Events\" is without a callback");
    expect_refused("Events = { onMessage = 'text' }",
        "Events.onMessage is a string, it must be a function");
    expect_refused(
        "Events = { onMessage = print, onWorkerStart = function() error "
        "'no database' end }",
        "no database\nstack traceback:");
    expect_refused("while true do end", "handler exceeded 0.05 s");
    expect_refused("wait 'x'", "cannot wait here: the script is being loaded");
    expect_refused("\x1bLua", "attempt to load a binary chunk");
}

static void a_missing_script_is_an_error(void **state)
{
    struct vm_env env = {.turn = fixture.turn, .conf = &fixture.conf};
    struct loaded l = {0};
    struct vm *vm = vm_open(&env, on_vm_loaded, &l);

    run_until_set(&l.done);
    assert_non_null(strstr(l.error, "cannot open"));
    free(l.error);
    vm_close(vm);
}

static void too_little_memory_is_an_error(void **state)
{
    for (size_t max = 100; max < 300000; max += max / 16 + 1) {
        struct vm_env env = {.turn = fixture.turn, .conf = &fixture.conf};
        struct loaded l = {0};
        struct vm *vm;

        fixture_script("Events = { onMessage = print }");
        fixture.conf.memory_max = max;
        vm = vm_open(&env, on_vm_loaded, &l);
        run_until_set(&l.done);
        if (l.error && !strstr(l.error, "not enough memory"))
            fail_msg("%zu: %s", max, l.error);
        free(l.error);
        vm_close(vm);
    }
}

static void knows_the_worker(void **state)
{
    struct vm *vm =
        open_vm("Events = { onWorkerStart = function(worker) note(worker.id) "
                "note(worker.name) end }");

    assert_string_equal(notes(), "3 W ");
    assert_int_equal(vm_worker_index(vm), 3);
    assert_ptr_equal(vm_of(vm_state(vm)), vm);
    assert_true(vm_is_open(vm));
    vm_close(vm);
}

static void on_worker_start_may_wait(void **state)
{
    struct vm_env env = {.turn = fixture.turn, .conf = &fixture.conf};
    struct loaded l = {0};
    struct vm *vm;

    fixture_script("Events = { onWorkerStart = function() wait 'x' end }");
    vm = vm_open(&env, on_vm_loaded, &l);
    run_turns(3);
    assert_false(l.done);
    assert_true(wake("x"));
    run_until_set(&l.done);
    assert_null(l.error);
    vm_close(vm);
}

static void finds_modules_beside_the_script(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/helper.lua", fixture.dir);
    fixture_write(path, "return { answer = 42 }");
    vm_close(open_vm("note(require('helper').answer) Events = { onMessage = "
                     "print }"));
    assert_string_equal(notes(), "42 ");
}

static void uses_the_configured_table(void **state)
{
    fixture.conf.event_handler = "Chat";
    vm_close(open_vm("Chat = { onClose = print }"));
}

static void finds_inherited_callbacks(void **state)
{
    vm_close(open_vm(
        "Events = setmetatable({}, {__index = { onMessage = print }})"));
}

static int hooks_run;

static void on_close_hook(struct vm_hook *hook)
{
    hooks_run++;
}

static void runs_its_hooks_at_close_once(void **state)
{
    struct vm *vm = open_vm("Events = { onMessage = print }");
    struct vm_hook kept = {.run = on_close_hook};
    struct vm_hook taken_back = {.run = on_close_hook};

    hooks_run = 0;
    vm_at_close(vm, &kept);
    vm_at_close(vm, &taken_back);
    vm_forget_hook(&taken_back);
    vm_close(vm);
    assert_int_equal(hooks_run, 1);
}

static void ignore_end(const char *error, void *arg)
{
    *(bool *)arg = true;
}

static void calls_on_worker_stop(void **state)
{
    struct vm *vm = open_vm(
        "Events = { onWorkerStop = function(worker) note(worker.name) end }");
    bool ended = false;

    vm_stop_script(vm, ignore_end, &ended);
    assert_true(ended);
    assert_string_equal(notes(), "W ");
    vm_close(vm);
}

static int gc_pause(const struct vm *vm)
{
    int pause = lua_gc(vm->L, LUA_GCSETPAUSE, 0);

    lua_gc(vm->L, LUA_GCSETPAUSE, pause);
    return pause;
}

static void a_small_state_is_collected_seldom_until_it_grows(void **state)
{
    struct vm *vm;

    fixture.conf.memory_max = WORKER_MEMORY_MAX;
    vm = open_vm("Events = { onMessage = print }");
    assert_true(gc_pause(vm) > 200);
    vm_tick(vm);
    assert_true(gc_pause(vm) > 200);
    (void)luaL_dostring(vm->L, "big = ('x'):rep(10000000)");
    vm_tick(vm);
    assert_int_equal(gc_pause(vm), 200);
    vm_close(vm);
}

static void the_script_may_set_the_collector_itself(void **state)
{
    struct vm *vm;

    fixture.conf.memory_max = WORKER_MEMORY_MAX;
    vm = open_vm(
        "Events = { onMessage = print } collectgarbage('setpause', 152)");
    assert_int_equal(gc_pause(vm), 152);
    vm_close(vm);
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(refuses_broken_scripts_with_a_reason),
        CASE(a_missing_script_is_an_error),
        CASE(too_little_memory_is_an_error),
        CASE(knows_the_worker),
        CASE(on_worker_start_may_wait),
        CASE(finds_modules_beside_the_script),
        CASE(uses_the_configured_table),
        CASE(finds_inherited_callbacks),
        CASE(runs_its_hooks_at_close_once),
        CASE(calls_on_worker_stop),
        CASE(a_small_state_is_collected_seldom_until_it_grows),
        CASE(the_script_may_set_the_collector_itself),
    };

    return cmocka_run_group_tests_name("worker.vm", tests, NULL, NULL);
}
