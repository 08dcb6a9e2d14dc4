/* The life of a Lua state: made, filled with libraries and the script, its
 * onWorkerStart run in a coroutine, and closed. What failed on the way becomes
 * vm->error and is told at the end of a turn; the state lives until vm_close()
 * either way. */
#include "worker/vm_open.h"

#include <lauxlib.h>
#include <lualib.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "worker/coro_impl.h"
#include "worker/raised.h"
#include "worker/session.h"
#include "worker/sources.h"

/* Make the script's own folder what require looks in first. The Lua files that
 * came with gwrun are not in the path: their names belong to the script. */
static void set_path(lua_State *L, const struct worker_conf *conf)
{
    const char *slash = strrchr(conf->script, '/');
    luaL_Buffer b;

    if (lua_getglobal(L, "package") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    luaL_buffinit(L, &b);
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
    lua_pushcfunction(L, raised_traceback);
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

static void on_started(const char *error, void *arg)
{
    struct vm *vm = arg;

    if (!error)
        vm_relax_gc(vm);
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

static void load(struct vm *vm)
{
    lua_CFunction start = vm_is_program(vm) ? call_program : call_worker_start;
    lua_State *outer;
    int status;

    if (!vm_make_state(vm)) {
        finish_loading(vm, "not enough memory for a Lua state");
        return;
    }
    deadline_open(vm);
    outer = deadline_enter(vm, vm->L);
    lua_pushcfunction(vm->L, load_script);
    status = lua_pcall(vm->L, 0, 0, 0);
    deadline_leave(vm, outer);
    if (status == LUA_OK) {
        coro_start(vm, "onWorkerStart", start, NULL, NULL, on_started, vm);
        return;
    }
    if (deadline_error(vm))
        finish_loading(vm, deadline_error(vm));
    else
        finish_loading(vm, lua_type(vm->L, -1) == LUA_TSTRING
                               ? lua_tostring(vm->L, -1)
                               : "error object is not a string");
    lua_settop(vm->L, 0);
}

struct vm *vm_open(
    const struct vm_env *env, vm_loaded_cb loaded, void *loaded_arg)
{
    static const struct session_hooks no_hooks = {0};
    struct vm *vm = xcalloc(1, sizeof(*vm));

    vm_init(vm, env);
    vm->session = &no_hooks;
    vm->loaded = loaded;
    vm->loaded_arg = loaded_arg;
    vm->loaded_task.run = on_loaded;
    vm->sources = xcalloc(1, sizeof(*vm->sources));
    if (env->replay)
        sources_replay(vm->sources, env->conf->sources_fd);
    else if (env->conf->sources_fd > 0)
        vm->sources->mode = SOURCES_COLLECTED;
    list_init(&vm->loaded_task.node);
    load(vm);
    return vm;
}

void vm_close(struct vm *vm)
{
    vm->open = false;
    coro_cancel(vm, false);
    turn_cancel(&vm->loaded_task);
    vm_run_hooks(vm);
    deadline_enter(vm, NULL); /* finalizers run in threads of their own */
    if (vm->L)
        lua_close(vm->L);
    deadline_close(vm);
    free(vm->overdue_error);
    heap_fini(&vm->heap);
    malloc_trim(0); /* free blocks below a newer state's: back to the system */
    coro_free_idle(vm);
    sources_close(vm->sources);
    free(vm->sources);
    free(vm->error);
    free(vm);
}
