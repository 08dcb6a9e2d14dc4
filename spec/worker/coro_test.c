/* Coroutines that wait, end, fail and are stopped. */
#include "vm_fixture.h"

#define SCRIPT "Events = { onMessage = function() end }\n"

struct result {
    bool ended;
    char *error; /* owned */
};

static void on_done(const char *error, void *arg)
{
    struct result *r = arg;

    assert_false(r->ended);
    r->ended = true;
    free(r->error);
    r->error = error ? xstrdup(error) : NULL;
}

static int run_code(lua_State *L)
{
    const char *code = lua_touserdata(L, 1);

    if (luaL_loadstring(L, code) != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 0, 0, session_end);
    return 0;
}

static void start(struct vm *vm, const char *code, struct result *r)
{
    r->ended = false;
    coro_start(vm, "test", run_code, (void *)code, NULL, on_done, r);
}

/* code must end at once, with an error that has text in it. */
static void expect_error(struct vm *vm, const char *code, const char *text)
{
    struct result r = {0};

    start(vm, code, &r);
    assert_true(r.ended);
    assert_non_null(r.error);
    if (!strstr(r.error, text))
        fail_msg("want \"%s\" in: %s", text, r.error);
    free(r.error);
}

static void expect_success(struct vm *vm, const char *code)
{
    struct result r = {0};

    start(vm, code, &r);
    assert_true(r.ended);
    if (r.error)
        fail_msg("%s", r.error);
}

static void runs_a_body_to_its_end(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    expect_success(vm, "note 'ran'");
    assert_string_equal(notes(), "ran ");
    vm_close(vm);
}

static void waits_and_goes_on(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct result r = {0};

    start(vm, "note 'a' note(wait 'x') note 'b'", &r);
    assert_false(r.ended);
    assert_string_equal(notes(), "a ");
    assert_true(wake("x"));
    assert_true(r.ended);
    assert_null(r.error);
    assert_string_equal(notes(), "waited b ");
    vm_close(vm);
}

static void uses_a_coroutine_again(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct result r = {0};

    expect_success(vm, "first = coroutine.running()");
    expect_success(vm, "assert(first == coroutine.running())");
    start(vm, "wait 'x'", &r);
    assert_int_equal(vm->nbusy, 1);
    expect_success(vm, "assert(first ~= coroutine.running())");
    wake("x");
    assert_int_equal(vm->nbusy, 0);
    assert_int_equal(vm->nidle, 2);
    vm_close(vm);
}

static void reports_an_error_with_its_traceback(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    expect_error(
        vm, "local function inner() error('boom') end inner()", "boom\nstack");
    expect_error(vm, "local function inner() error('boom') end inner()",
        "in local 'inner'");
    expect_error(vm, "error({ code = 42 })", "{code = 42}");
    expect_error(vm, "error(nil)", "nil");
    expect_error(vm, "error(setmetatable({}, {__tostring = error}))", "{}");
    expect_success(vm, "note 'alive'");
    vm_close(vm);
}

static void closes_variables_of_what_failed(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    expect_error(vm,
        "local x <close> = setmetatable({}, {__close = function() note 'closed'"
        " end}) error 'boom'",
        "boom");
    assert_string_equal(notes(), "closed ");
    vm_close(vm);
}

static void an_error_after_a_wait_is_reported(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct result r = {0};

    start(vm, "pcall(wait, 'x') note 'caught' wait 'y' error 'late'", &r);
    wake("x");
    assert_string_equal(notes(), "caught ");
    wake("y");
    assert_true(r.ended);
    assert_non_null(strstr(r.error, "late"));
    free(r.error);
    vm_close(vm);
}

static void refuses_to_wait_where_it_cannot(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    expect_error(vm, "table.sort({2, 1}, function() wait 'x' end)",
        "cannot wait here: this is inside a metamethod");
    expect_error(vm, "coroutine.wrap(function() wait 'x' end)()",
        "cannot wait here: this is a coroutine of the script's own");
    expect_error(vm, "coroutine.yield()", "coroutine.yield() outside of");
    assert_true(list_empty(&fixture.waits));
    vm_close(vm);
}

/* The operation that it waits for would wake what is not there any more. */
static void lets_no_script_go_on_with_what_waits(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct result r = {0};

    start(vm, "thread = coroutine.running() note(wait 'x')", &r);
    expect_error(vm, "coroutine.resume(thread)", "this coroutine is gwrun's");
    expect_error(vm, "coroutine.close(thread)", "this coroutine is gwrun's");
    expect_success(vm, "assert(coroutine.status(thread) == 'suspended')"
                       "collectgarbage()");
    assert_false(r.ended);
    wake("x");
    assert_true(r.ended);
    assert_null(r.error);
    assert_string_equal(notes(), "waited ");
    vm_close(vm);
}

static void cancels_what_waits_when_the_vm_closes(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct result r = {0};

    start(vm, "wait 'x' note 'never'", &r);
    vm_close(vm);
    assert_int_equal(fixture.cancelled, 1);
    assert_false(r.ended);
    assert_string_equal(notes(), "");
}

static void stops_endless_loops(void **state)
{
    static const char *const loops[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, type) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true "
        "do end end)) end",
        "while true do load(function() while true do end end) end",
        "while true do pcall(coroutine.wrap(function() while true do end end)) "
        "end",
        "local co = coroutine.create(function() local x <close> = setmetatable("
        "{}, {__close = function() while true do end end}) coroutine.yield() "
        "end) coroutine.resume(co) coroutine.close(co)",
        "pcall(coroutine.wrap(error)) while true do end",
        "local t = setmetatable({}, {__index = function() while true do end "
        "end}) return t.x",
        "local x <close> = setmetatable({}, {__close = function() while true "
        "do end end}) while true do end",
        "xpcall(function() while true do end end, function() while true do end "
        "end)",
        "xpcall(error, function() while true do end end)",
        "xpcall(error, coroutine.wrap(function() while true do end end))",
        "xpcall(function() while true do end end, function() while true do "
        "pcall(function() while true do end end) end end)",
        "coroutine.wrap(function() local x <close> = setmetatable({}, {__close "
        "= function() while true do end end}) while true do end end)()",
        "local co = coroutine.create(function() local x <close> = setmetatable("
        "{}, {__close = function() while true do end end}) while true do end "
        "end) while true do coroutine.resume(co) coroutine.close(co) end",
        "setmetatable({}, {__gc = function() while true do end end}) "
        "collectgarbage()",
        "setmetatable({}, {__gc = setmetatable({}, {__call = function() while "
        "true do end end})}) collectgarbage()",
        "debug.setmetatable({}, {__gc = function() while true do pcall("
        "function() while true do end end) end end}) collectgarbage()",
        "for i = 1, 1000 do setmetatable({}, {__gc = function() while true do "
        "end end}) end collectgarbage()",
        "string.gsub('x', '.', function() while true do end end)",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "load('while true do end')()",
        "load(function() while true do end end)",
        "for _ in function() while true do end end do end",
        "tostring(setmetatable({}, {__tostring = function() while true do end "
        "end}))",
        "error(setmetatable({}, {__tostring = function() while true do end "
        "end}))",
        "package.preload.x = function() while true do end end require 'x'",
        "package.searchers[1] = function() while true do end end require 'y'",
    };
    struct vm *vm;

    fixture.conf.handler_timeout = 0.05;
    vm = open_vm(SCRIPT);
    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
        expect_error(vm, loops[i], "handler exceeded 0.05 s");
        assert_int_equal(vm->starved, 0);
    }
    expect_success(vm, "local n = 0 for i = 1, 1000000 do n = n + 1 end");
    vm_close(vm);
}

static void closes_nothing_that_the_deadline_has_ended(void **state)
{
    struct vm *vm;

    fixture.conf.handler_timeout = 0.05;
    vm = open_vm(SCRIPT);
    expect_error(vm,
        "ended = coroutine.create(function() local x <close> = setmetatable({}, "
        "{__close = function() while true do end end}) while true do end end) "
        "coroutine.resume(ended)",
        "handler exceeded");
    expect_success(vm, "local ok, why = coroutine.close(ended) assert(not ok "
                       "and why:find 'handler_timeout')");
    expect_success(vm, "assert(not coroutine.resume(ended))");
    expect_error(vm, "error 'boom'", "boom\nstack traceback");
    vm_close(vm);
}

static void says_where_the_deadline_ended_a_handler(void **state)
{
    struct vm *vm;

    fixture.conf.handler_timeout = 0.05;
    vm = open_vm(SCRIPT);
    expect_error(vm,
        "local function spin() while true do end end\nlocal ok = pcall(spin)\n",
        ":1: handler exceeded 0.05 s of computing without a wait\nstack "
        "traceback:");
    expect_error(vm,
        "local function spin() while true do end end\nlocal ok = pcall(spin)\n",
        "in function 'pcall'");
    expect_error(vm,
        "local x <close> = setmetatable({}, {__close = function() while true "
        "do end end}) error 'boom'",
        "boom"); /* that came first */
    vm_close(vm);
}

static void finalizers_end_with_the_deadline_at_the_end_too(void **state)
{
    struct vm *vm;

    fixture.conf.handler_timeout = 0.05;
    vm = open_vm(SCRIPT);
    expect_success(vm, "for i = 1, 3 do _G[i] = setmetatable({}, {__gc = "
                       "function() while true do end end}) end");
    vm_close(vm);
}

static void finalizers_work_as_in_lua(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    expect_success(vm,
        "setmetatable({'a'}, {__gc = function(t) note(t[1]) end})"
        "collectgarbage()");
    assert_string_equal(notes(), "a ");
    expect_success(vm,
        "local t = setmetatable({}, {__gc = function() error 'boom' end}) t = "
        "nil collectgarbage() local m = {__gc = true} m.__index = m "
        "setmetatable({}, m) assert(getmetatable(setmetatable({}, m)) == m) "
        "assert(not pcall(setmetatable, 1, m)) assert(not pcall(setmetatable, "
        "{})) assert(not pcall(setmetatable, setmetatable({}, {__metatable = "
        "1}), m)) collectgarbage()");
    expect_success(vm,
        "local m = {__gc = function() note 'm' end} for i = 1, 3 "
        "do setmetatable({}, m) end collectgarbage()");
    assert_string_equal(notes(), "m m m ");
    expect_error(vm, "setmetatable(nil, {})",
        ":1: bad argument #1 to 'setmetatable' (table expected, got nil)");
    expect_error(vm, "setmetatable({}, 1)", ":1: bad argument #2 to 'setmetat");
    expect_success(vm,
        "assert(debug.setmetatable(nil, {__index = type}) == nil)"
        "assert((nil).x == 'nil') debug.setmetatable(nil, nil)");
    vm_close(vm);
}

/* A count hook would slow every instruction down. */
static void runs_without_a_hook_until_the_deadline(void **state)
{
    struct vm *vm;

    fixture.conf.handler_timeout = 0.05;
    vm = open_vm(SCRIPT);
    expect_success(vm, "assert(debug.gethook() == nil)");
    expect_success(vm, "outliving = coroutine.wrap(function() while true do "
                       "coroutine.yield(debug.gethook()) end end) "
                       "assert(outliving() == nil)");
    expect_error(vm, "while true do outliving() end", "handler exceeded");
    expect_success(vm, "assert(debug.gethook() == nil)");
    vm_close(vm);
}

static void passes_errors_and_values_through_coroutines(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    expect_success(vm, "local f = coroutine.wrap(function(a) local b = "
                       "coroutine.yield(a + 1) error({b}) end) "
                       "assert(f(1) == 2) local ok, e = pcall(f, 'x') "
                       "assert(not ok and e[1] == 'x')");
    expect_error(
        vm, "coroutine.wrap(function() error 'inside' end)()", "inside");
    expect_error(vm, "local f = coroutine.wrap(type) f(1) f()",
        "cannot resume dead coroutine");
    expect_error(vm, "coroutine.wrap()", "function expected");
    expect_success(vm,
        "local closed local f = coroutine.wrap(function() local x <close> = "
        "setmetatable({}, {__close = function(_, e) closed = e end}) error "
        "'x' end) assert(not pcall(f)) assert(closed:find 'x')");
    vm_close(vm);
}

static void counts_no_time_of_waits_and_other_handlers(void **state)
{
    static const char busy[] =
        "for i = 1, 10 do local t = os.clock() repeat until os.clock() - t > "
        "0.05 wait 'x' end";
    struct vm *vm;
    struct result r = {0};

    fixture.conf.handler_timeout = 0.4;
    vm = open_vm(SCRIPT);
    start(vm, busy, &r);
    for (int i = 0; i < 10; i++)
        wake("x");
    assert_true(r.ended);
    if (r.error)
        fail_msg("%s", r.error);
    vm_close(vm);
}

static void stays_overdue_when_it_waits_while_unwinding(void **state)
{
    struct vm *vm;
    struct result r = {0};

    fixture.conf.handler_timeout = 0.05;
    vm = open_vm(SCRIPT);
    start(vm,
        "pcall(function() local x <close> = setmetatable({}, {__close = "
        "function() wait 'x' end}) while true do end end) note 'swallowed'",
        &r);
    wake("x");
    assert_true(r.ended);
    assert_non_null(strstr(r.error, "handler exceeded"));
    assert_string_equal(notes(), "");
    free(r.error);
    vm_close(vm);
}

static void remember_line(
    enum log_level level, const char *who, const char *text, void *arg)
{
    snprintf(arg, 256, "%s", text);
}

static void tells_what_nothing_else_could_run_beside(void **state)
{
    struct vm *vm;
    struct result r = {0};
    char line[256] = "";

    fixture.conf.slow_handler = 60; /* real time, not the processor's */
    vm = open_vm(SCRIPT);
    log_set_sink(remember_line, line);
    expect_success(vm, "note 'quick'");
    assert_string_equal(line, "");
    fixture.conf.slow_handler = 0.03;
    start(vm,
        "local till = os.clock() + 0.1\nwhile os.clock() < till do end\n"
        "wait 'x'",
        &r);
    assert_non_null(strstr(line, "nothing else could run ms="));
    assert_non_null(strstr(line, "in=\"test\" client=- at="));
    assert_string_equal(strrchr(line, ':'), ":3");
    line[0] = '\0';
    fixture.conf.slow_handler = 60;
    wake("x");
    assert_string_equal(line, "");
    log_set_sink(NULL, NULL);
    vm_close(vm);
}

static void a_memory_bomb_is_an_error(void **state)
{
    struct vm *vm;

    vm = open_vm(SCRIPT);
    expect_error(vm, "local s = ('x'):rep(1e9)", "not enough memory");
    expect_error(vm, "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "not enough memory");
    expect_error(
        vm, "local s = 'x' while true do s = s .. s end", "not enough memory");
    expect_success(vm,
        "local ok, why = pcall(string.rep, 'x', 1e9) assert(not ok and "
        "why == 'not enough memory')");
    assert_true(vm->heap.used < fixture.conf.memory_max);
    vm_close(vm);
}

static int told_full;

static void on_full(struct vm *vm, void *arg)
{
    told_full++;
}

/* Forget what was kept, and have nobody told yet. */
static void watch_memory(struct vm *vm)
{
    told_full = 0;
    vm->heap.max = 2 * fixture.conf.memory_max;
    expect_success(vm, "keep = {} collectgarbage()");
    vm->heap.max = fixture.conf.memory_max;
    vm->full_errors = 0;
    vm_when_full(vm, on_full, NULL);
}

#define KEEP "for i = 1, 1e9 do keep[#keep + 1] = {} end"

static void a_memory_full_of_live_data_is_told_once(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    size_t max = fixture.conf.memory_max;

    watch_memory(vm);
    for (int i = 1; i < VM_FULL_ERRORS; i++)
        expect_error(vm, KEEP, "not enough memory");
    assert_int_equal(told_full, 0);
    expect_error(vm, KEEP, "not enough memory");
    assert_int_equal(told_full, 1);
    assert_true(vm->heap.max > max); /* for what waits */
    expect_error(vm, KEEP, "not enough memory");
    assert_int_equal(told_full, 1);
    vm_close(vm);
}

static void errors_that_the_script_catches_tell_of_a_full_memory_too(
    void **state)
{
    static const char *const scripts[] = {
        "assert(not pcall(function() " KEEP " end))",
        "assert(not xpcall(function() " KEEP " end, type))",
        "assert(not coroutine.resume(coroutine.create(function() " KEEP
        " end)))",
    };
    struct vm *vm = open_vm(SCRIPT);

    for (size_t s = 0; s < sizeof(scripts) / sizeof(scripts[0]); s++) {
        watch_memory(vm);
        for (int i = 0; i < VM_FULL_ERRORS; i++) {
            struct result r = {0};

            start(vm, scripts[s], &r);
            free(r.error); /* there may be no memory to begin with, either */
        }
        assert_int_equal(told_full, 1);
    }
    vm_close(vm);
}

static void a_table_that_cannot_grow_any_more_fills_the_memory(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    watch_memory(vm);
    for (int i = 0; i < VM_FULL_ERRORS; i++)
        expect_error(vm,
            "n = n or 0 while true do n = n + 1 keep[n * 1000003] = n end",
            "not enough memory");
    assert_int_equal(told_full, 1);
    vm_close(vm);
}

static void handlers_that_ask_for_too_much_do_not_fill_the_memory(void **state)
{
    struct vm *vm = open_vm(SCRIPT);

    watch_memory(vm);
    for (int i = 0; i < 2 * VM_FULL_ERRORS; i++) {
        expect_error(vm, "local s = ('x'):rep(1e9)", "not enough memory");
        expect_error(vm, "local keep = {} " KEEP, "not enough memory");
        expect_error(vm, "error('not enough memory', 0)", "not enough");
    }
    assert_int_equal(told_full, 0);
    /* Nor do rare ones beside much that lives. */
    expect_success(vm, "keep = ('x'):rep(6000000)");
    for (int i = 0; i < 2 * VM_FULL_ERRORS; i++) {
        expect_error(vm, "local s = ('x'):rep(1e9)", "not enough memory");
        for (int k = 0; k < VM_FULL_ROW; k++)
            expect_success(vm, "assert(keep)");
    }
    assert_int_equal(told_full, 0);
    for (int i = 0; i < VM_FULL_ERRORS; i++)
        expect_error(vm, "local s = ('x'):rep(1e9)", "not enough memory");
    assert_int_equal(told_full, 1);
    vm_close(vm);
}

static void keep_bytes(struct vm *vm, size_t bytes)
{
    char *code = xasprintf("keep = ('x'):rep(%zu) collectgarbage()", bytes);

    vm->heap.max = 3 * fixture.conf.memory_max;
    expect_success(vm, code);
    vm->heap.max = fixture.conf.memory_max;
    free(code);
}

/* A second in which handlers that had to collect ran for so long. */
static void pass_second(struct vm *vm, double scarce)
{
    vm->scarce = scarce;
    vm->scarce_since = clock_now(&fixture.loop) - VM_SCARCE_MS;
    vm_tick(vm);
}

static void a_memory_in_which_most_time_is_collecting_is_told(void **state)
{
    static const char garbage[] = "for i = 1, 1e5 do local t = {} end";
    struct vm *vm = open_vm(SCRIPT);

    watch_memory(vm);
    keep_bytes(vm, fixture.conf.memory_max / 16 * 15);
    vm->scarce = 0;
    for (int i = 0; vm->scarce == 0 && i < 10000; i++)
        expect_success(vm, garbage);
    assert_true(vm->scarce > 0);
    assert_false(vm->heap.refused);
    for (int i = 1; i < VM_SCARCE_LOOKS; i++)
        pass_second(vm, 0.6);
    assert_int_equal(told_full, 0);
    pass_second(vm, 0.4); /* that was all */
    for (int i = 1; i < VM_SCARCE_LOOKS; i++)
        pass_second(vm, 0.6);
    assert_int_equal(told_full, 0);
    pass_second(vm, 0.6);
    assert_int_equal(told_full, 1);
    /* Much garbage is collected, too, when it meets the limit. */
    watch_memory(vm);
    keep_bytes(vm, fixture.conf.memory_max / 16 * 10);
    for (int i = 0; i < 2 * VM_SCARCE_LOOKS; i++)
        pass_second(vm, 1);
    assert_int_equal(told_full, 0);
    vm_close(vm);
}

static void deep_recursion_is_an_error(void **state)
{
    struct vm *vm;

    fixture.conf.memory_max = 256 * 1024 * 1024;
    vm = open_vm(SCRIPT);
    expect_error(
        vm, "local function f() return 1 + f() end f()", "stack overflow");
    expect_success(vm, "note 'alive'");
    vm_close(vm);
}

static void knows_the_client_that_it_serves(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct coro_client client = {
        .id = {0x7f000001, 2900, 7}, .gateway_port = 8283};
    struct result r = {0};

    coro_start(vm, "test", run_code, (void *)"wait 'x'", &client, on_done, &r);
    assert_int_equal(vm->nclients, 1);
    assert_null(coro_client(vm_state(vm)));
    wake("x");
    assert_int_equal(vm->nclients, 0);
    assert_true(r.ended);
    vm_close(vm);
}

static struct coro_hook hooks[2];
static int hooks_run;

static void on_end(struct coro_hook *hook)
{
    hooks_run++;
}

static int run_hooked(lua_State *L)
{
    for (int i = 0; i < 2; i++) {
        hooks[i].run = on_end;
        coro_at_end(coro_check(L), &hooks[i]);
    }
    return run_code(L);
}

static void runs_hooks_once_when_it_will_not_go_on(void **state)
{
    struct vm *vm = open_vm(SCRIPT);
    struct result r = {0};

    hooks_run = 0;
    coro_start(vm, "test", run_hooked, (void *)"wait 'x'", NULL, on_done, &r);
    assert_int_equal(hooks_run, 0);
    list_remove(&hooks[0].node); /* taken back */
    wake("x");
    assert_int_equal(hooks_run, 1);
    expect_success(vm, "assert(true)"); /* the same coroutine, no hooks */
    assert_int_equal(hooks_run, 1);
    r.ended = false;
    coro_start(vm, "test", run_hooked, (void *)"error 'no'", NULL, on_done, &r);
    assert_int_equal(hooks_run, 3);
    free(r.error);
    r = (struct result){0};
    coro_start(vm, "test", run_hooked, (void *)"wait 'x'", NULL, on_done, &r);
    vm_close(vm);
    assert_int_equal(hooks_run, 5);
    assert_false(r.ended);
}

static struct coro_limit limits[3];

/* begin(i, error) */
static int begin_limit(lua_State *L)
{
    lua_settop(L, 2);
    coro_limit_begin(L, coro_check(L), &limits[luaL_checkinteger(L, 1)]);
    return 0;
}

/* finish(i) */
static int finish_limit(lua_State *L)
{
    coro_limit_end(&limits[luaL_checkinteger(L, 1)]);
    return 0;
}

static void open_libs_with_limits(lua_State *L)
{
    fixture_open_libs(L);
    lua_register(L, "begin", begin_limit);
    lua_register(L, "finish", finish_limit);
}

static struct vm *open_vm_with_limits(void)
{
    fixture.conf.open_libs = open_libs_with_limits;
    return open_vm(SCRIPT "function try(name) local ok, e = pcall(wait, name) "
                          "note(ok or e) return ok end");
}

static void cuts_a_wait_short(void **state)
{
    struct vm *vm = open_vm_with_limits();
    struct result r = {0};

    start(vm,
        "begin(1, { 'cut' }) local ok, e = pcall(wait, 'x') finish(1) "
        "note(e[1]) note(wait 'y')",
        &r);
    coro_limit_pass(&limits[1]);
    assert_int_equal(fixture.cancelled, 1);
    assert_string_equal(notes(), "cut ");
    assert_false(r.ended);
    assert_true(wake("y"));
    assert_true(r.ended);
    assert_string_equal(notes(), "waited ");
    vm_close(vm);
}

static void begins_no_wait_under_a_limit_that_has_passed(void **state)
{
    struct vm *vm = open_vm_with_limits();
    struct result r = {0};

    start(vm,
        "begin(1, 'cut') try 'x' try 'never' finish(1) try 'z' begin(1, 'new') "
        "try 'again' finish(1)",
        &r);
    coro_limit_pass(&limits[1]);
    assert_string_equal(notes(), "cut cut ");
    assert_false(wake("never"));
    assert_true(wake("z"));
    assert_true(wake("again"));
    assert_string_equal(notes(), "true true ");
    assert_true(r.ended);
    assert_int_equal(fixture.cancelled, 1);
    vm_close(vm);
}

static void of_nested_limits_the_outermost_raises(void **state)
{
    struct vm *vm = open_vm_with_limits();
    struct result r = {0};

    start(vm,
        "begin(1, 'outer') begin(2, 'inner') try 'a' finish(2) try 'b' "
        "begin(2, 'inner') try 'c' finish(2) finish(1)",
        &r);
    coro_limit_pass(&limits[2]);
    assert_string_equal(notes(), "inner ");
    assert_true(wake("b"));
    assert_string_equal(notes(), "true ");
    coro_limit_pass(&limits[1]);
    assert_string_equal(notes(), "outer ");
    assert_true(r.ended);
    start(vm,
        "begin(1, 'outer') begin(2, 'inner') try 'a' try 'b' finish(2) try 'c' "
        "finish(1)",
        &r);
    coro_limit_pass(&limits[2]);
    assert_string_equal(notes(), "inner inner ");
    coro_limit_pass(&limits[1]);
    assert_string_equal(notes(), "outer ");
    assert_true(r.ended);
    vm_close(vm);
}

static void a_cut_that_nobody_catches_fails_the_handler(void **state)
{
    struct vm *vm = open_vm_with_limits();
    struct result r = {0};

    start(vm,
        "local x <close> = setmetatable({}, { __close = function() finish(1) "
        "end }) begin(1, 'cut') wait 'x'",
        &r);
    coro_limit_pass(&limits[1]);
    assert_true(r.ended);
    assert_non_null(strstr(r.error, "cut\nstack"));
    free(r.error);
    r.error = NULL;
    vm_close(vm);
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(runs_a_body_to_its_end),
        CASE(waits_and_goes_on),
        CASE(uses_a_coroutine_again),
        CASE(reports_an_error_with_its_traceback),
        CASE(closes_variables_of_what_failed),
        CASE(an_error_after_a_wait_is_reported),
        CASE(refuses_to_wait_where_it_cannot),
        CASE(lets_no_script_go_on_with_what_waits),
        CASE(cancels_what_waits_when_the_vm_closes),
        CASE(stops_endless_loops),
        CASE(counts_no_time_of_waits_and_other_handlers),
        CASE(closes_nothing_that_the_deadline_has_ended),
        CASE(says_where_the_deadline_ended_a_handler),
        CASE(finalizers_end_with_the_deadline_at_the_end_too),
        CASE(finalizers_work_as_in_lua),
        CASE(runs_without_a_hook_until_the_deadline),
        CASE(passes_errors_and_values_through_coroutines),
        CASE(stays_overdue_when_it_waits_while_unwinding),
        CASE(tells_what_nothing_else_could_run_beside),
        CASE(a_memory_bomb_is_an_error),
        CASE(a_memory_full_of_live_data_is_told_once),
        CASE(errors_that_the_script_catches_tell_of_a_full_memory_too),
        CASE(a_table_that_cannot_grow_any_more_fills_the_memory),
        CASE(handlers_that_ask_for_too_much_do_not_fill_the_memory),
        CASE(a_memory_in_which_most_time_is_collecting_is_told),
        CASE(deep_recursion_is_an_error),
        CASE(knows_the_client_that_it_serves),
        CASE(runs_hooks_once_when_it_will_not_go_on),
        CASE(cuts_a_wait_short),
        CASE(begins_no_wait_under_a_limit_that_has_passed),
        CASE(of_nested_limits_the_outermost_raises),
        CASE(a_cut_that_nobody_catches_fails_the_handler),
    };

    return cmocka_run_group_tests_name("worker.coro", tests, NULL, NULL);
}
