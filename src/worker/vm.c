#include "worker/vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "worker/vm_impl.h"

#define GC_PAUSE 200           /* Lua's own: collect when doubled */
#define GC_SLACK (1024 * 1024) /* bytes of garbage not worth a round */

struct vm *vm_of(lua_State *L)
{
    return *(struct vm **)lua_getextraspace(L);
}

lua_State *vm_state(const struct vm *vm)
{
    return vm->L;
}

struct turn *vm_turn(const struct vm *vm)
{
    return vm->env.turn;
}

struct gateways *vm_gateways(const struct vm *vm)
{
    return vm->env.gateways;
}

unsigned vm_worker_index(const struct vm *vm)
{
    return vm->env.index;
}

const char *vm_lua_dir(const struct vm *vm)
{
    return vm->env.conf->lua_dir;
}

struct shared *vm_shared(const struct vm *vm)
{
    return vm->env.conf->shared;
}

bool vm_is_program(const struct vm *vm)
{
    return vm->env.conf->words != NULL;
}

bool vm_has_system(const struct vm *vm)
{
    return vm->env.conf->register_addresses[0] != NULL;
}

void vm_at_close(struct vm *vm, struct vm_hook *hook)
{
    list_push_back(&vm->hooks, &hook->node);
}

void vm_forget_hook(struct vm_hook *hook)
{
    list_remove(&hook->node);
}

void vm_count_timers(struct vm *vm, int delta)
{
    vm->timers = (size_t)((long)vm->timers + delta);
    vm_look_finished(vm);
}

bool vm_is_open(const struct vm *vm)
{
    return vm->open;
}

bool vm_is_serving(const struct vm *vm)
{
    return vm->open && vm->serving;
}

static int on_panic(lua_State *L)
{
    const char *message = lua_tostring(L, -1);

    log_error("lua error outside of a protected call: %s",
        message ? message : "(not a string)");
    return 0; /* Lua aborts */
}

static void on_warning(void *ud, const char *text, int to_be_continued)
{
    char quoted[LOG_QUOTE_SIZE];

    log_warn("lua warning: %s", log_quote(quoted, text, strlen(text)));
}

/* Make shipped Lua files and the script's own folder loadable by require. */
static void set_path(lua_State *L, const struct worker_conf *conf)
{
    const char *slash = strrchr(conf->script, '/');
    luaL_Buffer b;

    if (lua_getglobal(L, "package") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    luaL_buffinit(L, &b);
    if (conf->lua_dir) {
        luaL_addstring(&b, conf->lua_dir);
        luaL_addstring(&b, "/?.lua;");
    }
    for (int i = 0; i < 2; i++) {
        if (slash)
            luaL_addlstring(
                &b, conf->script, (size_t)(slash - conf->script) + 1);
        else
            luaL_addstring(&b, "./");
        luaL_addstring(&b, i == 0 ? "?.lua;" : "?/init.lua;");
    }
    luaL_pushresult(&b);
    lua_getfield(L, -2, "path");
    lua_concat(L, 2);
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
}

static int add_traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* The global arg, as lua has it. */
static void set_arg(lua_State *L, const struct worker_conf *conf)
{
    lua_newtable(L);
    lua_pushstring(L, conf->script);
    lua_rawseti(L, -2, 0);
    for (int i = 0; conf->words[i]; i++) {
        lua_pushstring(L, conf->words[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
}

static int load_text(lua_State *L, const struct worker_conf *conf)
{
    const char *text = conf->script_text;
    int status;

    if (!text)
        return sources_load(L, conf->script);
    lua_pushfstring(L, "@%s", conf->script);
    status = luaL_loadbufferx(L, text, strlen(text), lua_tostring(L, -1), "t");
    lua_remove(L, -2);
    return status;
}

/* Runs protected in the main thread, where nothing can wait. */
static int load_script(lua_State *L)
{
    const struct worker_conf *conf = vm_of(L)->env.conf;

    if (conf->open_libs)
        conf->open_libs(L);
    else
        luaL_openlibs(L);
    set_path(L, conf);
    deadline_guard(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, add_traceback);
    if (load_text(L, conf) != LUA_OK)
        return lua_error(L);
    if (conf->words) {
        set_arg(L, conf);
        vm_of(L)->events_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        return 0;
    }
    if (lua_pcall(L, 0, 0, 1) != LUA_OK)
        return lua_error(L);
    callbacks_check(L);
    return 0;
}

static void on_loaded(struct turn_task *task)
{
    struct vm *vm = LIST_ENTRY(task, struct vm, loaded_task);

    vm->loaded(vm, vm->error, vm->loaded_arg);
}

/* Every error shall name the script; Lua's own do for most. */
static char *name_script(const char *script, const char *error)
{
    const char *slash = strrchr(script, '/');

    if (strstr(error, slash ? slash + 1 : script))
        return xstrndup(error, VM_ERROR_MAX);
    return xasprintf("%s: %s", script, error);
}

static void finish_loading(struct vm *vm, const char *error)
{
    if (error)
        vm->error = name_script(vm->env.conf->script, error);
    turn_schedule(vm->env.turn, &vm->loaded_task);
}

/* Collect garbage more seldom than Lua does while there is little else: every
 * round looks at all that lives, and a small script's libraries would be looked
 * at every thousand messages. A script that has set the pause itself is let
 * be. */
static void relax_gc(struct vm *vm)
{
    size_t slack = vm->heap.max / 16 < GC_SLACK ? vm->heap.max / 16 : GC_SLACK;
    lua_State *outer = deadline_enter(vm, vm->L);
    int pause;

    lua_gc(vm->L, LUA_GCCOLLECT);
    deadline_leave(vm, outer);
    pause = 100 + (int)(100 * slack / vm->heap.used);
    if (pause <= GC_PAUSE)
        return;
    vm->gc_relaxed_max = vm->heap.used + 2 * slack;
    pause = lua_gc(vm->L, LUA_GCSETPAUSE, pause < 1000 ? pause : 1000);
    if (pause != GC_PAUSE)
        lua_gc(vm->L, LUA_GCSETPAUSE, pause);
}

void vm_tick(struct vm *vm)
{
    if (vm->gc_relaxed_max == 0 || vm->heap.used <= vm->gc_relaxed_max)
        return;
    vm->gc_relaxed_max = 0;
    lua_gc(vm->L, LUA_GCSETPAUSE, GC_PAUSE);
}

static void on_started(const char *error, void *arg)
{
    struct vm *vm = arg;

    if (!error)
        relax_gc(vm);
    finish_loading(vm, error);
}

/* Call the script's onWorkerStart or onWorkerStop with the worker's table. */
static int call_with_worker(lua_State *L, const char *name)
{
    struct vm *vm = vm_of(L);

    if (!callbacks_push(L, name))
        return 0;
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, vm->env.index);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, vm->env.conf->name);
    lua_setfield(L, -2, "name");
    lua_callk(L, 1, 0, 0, session_end);
    return session_end(L, LUA_OK, 0);
}

static int call_worker_start(lua_State *L)
{
    return call_with_worker(L, "onWorkerStart");
}

static int call_worker_stop(lua_State *L)
{
    return call_with_worker(L, "onWorkerStop");
}

static int end_program(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

static int call_program(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *const *words = vm->env.conf->words;
    int count = 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->events_ref);
    for (; words[count]; count++) {
        luaL_checkstack(L, 1, "too many arguments");
        lua_pushstring(L, words[count]);
    }
    lua_callk(L, count, 0, 0, end_program);
    return 0;
}

void vm_stop_script(struct vm *vm, coro_done_cb done, void *arg)
{
    coro_start(vm, "onWorkerStop", call_worker_stop, NULL, NULL, done, arg);
}

static void on_quiet(struct turn_task *task)
{
    struct vm *vm = LIST_ENTRY(task, struct vm, quiet_task);
    vm_event_cb quiet = vm->quiet;

    if (vm->nclients > 0 || !quiet)
        return;
    vm->quiet = NULL;
    quiet(vm, vm->quiet_arg);
}

void vm_when_quiet(struct vm *vm, vm_event_cb quiet, void *arg)
{
    vm->quiet = quiet;
    vm->quiet_arg = arg;
    if (vm->nclients == 0)
        turn_schedule(vm->env.turn, &vm->quiet_task);
}

static void on_finished(struct turn_task *task)
{
    struct vm *vm = LIST_ENTRY(task, struct vm, finished_task);

    if (vm->nbusy == 0 && vm->timers == 0)
        vm->finished(vm, vm->finished_arg);
}

/* Behind all that this turn has begun: it may be a function that was spawned
 * just now. */
void vm_look_finished(struct vm *vm)
{
    if (!vm->finished)
        return;
    turn_cancel(&vm->finished_task);
    turn_schedule(vm->env.turn, &vm->finished_task);
}

void vm_when_finished(struct vm *vm, vm_event_cb finished, void *arg)
{
    vm->finished = finished;
    vm->finished_arg = arg;
    vm_look_finished(vm);
}

static void load(struct vm *vm)
{
    lua_CFunction start = vm_is_program(vm) ? call_program : call_worker_start;
    lua_State *outer;
    int status;

    vm->L = lua_newstate(heap_alloc, &vm->heap);
    if (!vm->L) {
        finish_loading(vm, "not enough memory for a Lua state");
        return;
    }
    *(struct vm **)lua_getextraspace(vm->L) = vm;
    lua_atpanic(vm->L, on_panic);
    lua_setwarnf(vm->L, on_warning, vm);
    deadline_open(vm);
    outer = deadline_enter(vm, vm->L);
    lua_pushcfunction(vm->L, load_script);
    status = lua_pcall(vm->L, 0, 0, 0);
    deadline_leave(vm, outer);
    if (status == LUA_OK) {
        coro_start(vm, "onWorkerStart", start, NULL, NULL, on_started, vm);
        return;
    }
    finish_loading(vm, lua_type(vm->L, -1) == LUA_TSTRING
                           ? lua_tostring(vm->L, -1)
                           : "error object is not a string");
    lua_settop(vm->L, 0);
}

struct vm *vm_open(
    const struct vm_env *env, vm_loaded_cb loaded, void *loaded_arg)
{
    struct vm *vm = xcalloc(1, sizeof(*vm));

    vm->env = *env;
    vm->heap.max = env->conf->memory_max;
    vm->open = true;
    vm->serving = true;
    vm->events_ref = LUA_NOREF;
    vm->loaded = loaded;
    vm->loaded_arg = loaded_arg;
    vm->loaded_task.run = on_loaded;
    vm->quiet_task.run = on_quiet;
    vm->finished_task.run = on_finished;
    if (env->replay)
        sources_replay(&vm->sources, env->conf->sources_fd);
    else if (env->conf->sources_fd > 0)
        vm->sources.mode = SOURCES_COLLECTED;
    list_init(&vm->hooks);
    list_init(&vm->loaded_task.node);
    list_init(&vm->quiet_task.node);
    list_init(&vm->finished_task.node);
    list_init(&vm->idle);
    list_init(&vm->busy);
    load(vm);
    return vm;
}

void vm_close(struct vm *vm)
{
    vm->open = false;
    coro_cancel(vm, false);
    turn_cancel(&vm->loaded_task);
    turn_cancel(&vm->quiet_task);
    vm->finished = NULL;
    turn_cancel(&vm->finished_task);
    while (!list_empty(&vm->hooks)) {
        struct vm_hook *hook = LIST_ENTRY(vm->hooks.next, struct vm_hook, node);

        list_remove(&hook->node);
        hook->run(hook);
    }
    deadline_close(vm);
    if (vm->L)
        lua_close(vm->L);
    heap_fini(&vm->heap);
    coro_free_idle(vm);
    sources_close(&vm->sources);
    free(vm->error);
    free(vm);
}
