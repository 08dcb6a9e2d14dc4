/* Two Lua states that know nothing of each other: the script's runs inside the
 * loop, the test's outside of it. A question is copied into the test's inbox
 * and its coroutine waits; the answer is copied back when the test settles the
 * world. A state's lifetime ends with its vm, and with it all that it has
 * asked. */
#include "testing/lscript.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/linit.h"
#include "lualib/lredisconf.h"
#include "lualib/ltype.h"
#include "testing/coverage.h"
#include "testing/lcopy.h"
#include "testing/sim.h"
#include "util/alloc.h"
#include "util/log.h"
#include "worker/coro.h"
#include "worker/vm.h"

#define SCRIPT_FILE   "gwrun/testing_script.lua"
#define RUN_KEY       "gwrun.testing.run"
#define LIFETIME_TYPE "gwrun.testing.lifetime"

/* A script's Lua state. */
struct state {
    struct list node; /* in lscript->states, oldest first */
    struct vm_hook hook;
    struct vm *vm; /* borrowed; outlives it */
};

/* A question whose answer a script waits for; a userdata on its stack. */
struct ask {
    struct list node; /* in lscript->asks */
    struct lscript *ls;
    struct coro *co; /* borrowed; outlives the wait */
    lua_Integer id;
    int first, count; /* the answer, on the test's stack */
};

static struct lscript *lscript_of(lua_State *L)
{
    return sim_arg(sim_of(turn_loop(vm_turn(vm_of(L)))));
}

/* ---- questions ---- */

/* What to copy into the inbox. */
struct question {
    struct lscript *ls;
    lua_State *from;
    int count; /* values at index 1 … of from; the first is the kind */
};

/* Protected, in the test's state: add { id =, n =, kind, value … } to it. */
static int receive(lua_State *L)
{
    const struct question *q = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, q->ls->inbox);
    lua_createtable(L, q->count, 2);
    lua_pushinteger(L, q->ls->last);
    lua_setfield(L, 3, "id");
    lua_pushinteger(L, q->count);
    lua_setfield(L, 3, "n");
    for (int i = 1; i <= q->count; i++) {
        lcopy_values(L, q->from, i, 1);
        lua_rawseti(L, 3, i);
    }
    lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
    return 0;
}

/* The values on L's stack become a question. */
static void put_question(lua_State *L)
{
    struct question q = {lscript_of(L), L, lua_gettop(L)};
    lua_State *test = q.ls->test;

    if (!lua_checkstack(test, 4))
        luaL_error(L, "not enough memory");
    q.ls->last++;
    lua_pushcfunction(test, receive);
    lua_pushlightuserdata(test, &q);
    if (lua_pcall(test, 1, 0, 0) == LUA_OK)
        return;
    lua_settop(L, q.count);
    lua_pushstring(L, lua_tostring(test, -1));
    lua_pop(test, 1);
    lua_error(L);
}

/* post(kind, value, …) */
static int script_post(lua_State *L)
{
    put_question(L);
    return 0;
}

static void cancel_ask(void *op)
{
    list_remove(&((struct ask *)op)->node);
}

/* Inside the script's coroutine, inside lscript_answer(). */
static int finish_ask(lua_State *L, int status, lua_KContext ctx)
{
    const struct ask *ask = lua_touserdata(L, -1);
    int top = lua_gettop(L);

    lcopy_values(L, ask->ls->test, ask->first, ask->count);
    if (!lua_toboolean(L, top + 1))
        return luaL_error(L, "%s", luaL_tolstring(L, top + 2, NULL));
    return ask->count - 1;
}

/* ask(kind, value, …) -> what the test answers. Yields. */
static int script_ask(lua_State *L)
{
    struct coro *co = coro_check(L);
    struct ask *ask;

    put_question(L);
    ask = lua_newuserdatauv(L, sizeof(*ask), 0);
    memset(ask, 0, sizeof(*ask));
    ask->ls = lscript_of(L);
    ask->co = co;
    ask->id = ask->ls->last;
    list_init(&ask->node);
    list_push_back(&ask->ls->asks, &ask->node);
    return coro_await(L, co, cancel_ask, ask, finish_ask);
}

bool lscript_answer(struct lscript *ls, lua_Integer id, int first)
{
    int top = lua_gettop(ls->test);
    struct list *node;

    LIST_FOREACH (node, &ls->asks) {
        struct ask *ask = LIST_ENTRY(node, struct ask, node);

        if (ask->id != id)
            continue;
        list_remove(node);
        ask->first = first;
        ask->count = top - first + 1;
        coro_wake(ask->co);
        lua_settop(ls->test, top);
        return true;
    }
    return false;
}

/* ---- the life of a coroutine ---- */

struct lifetime {
    struct coro_hook hook;
    bool ended;
};

static void on_coro_end(struct coro_hook *hook)
{
    LIST_ENTRY(hook, struct lifetime, hook)->ended = true;
}

static int lifetime_ended(lua_State *L)
{
    const struct lifetime *l = luaL_checkudata(L, 1, LIFETIME_TYPE);

    lua_pushboolean(L, l->ended);
    return 1;
}

static int lifetime_gc(lua_State *L)
{
    struct lifetime *l = luaL_checkudata(L, 1, LIFETIME_TYPE);

    list_remove(&l->hook.node);
    return 0;
}

/* lifetime() -> l; l:ended() once the running coroutine has. */
static int script_lifetime(lua_State *L)
{
    struct coro *co = coro_check(L);
    struct lifetime *l = lua_newuserdatauv(L, sizeof(*l), 0);

    memset(l, 0, sizeof(*l));
    list_init(&l->hook.node);
    l->hook.run = on_coro_end;
    luaL_setmetatable(L, LIFETIME_TYPE);
    coro_at_end(co, &l->hook);
    return 1;
}

/* ---- states ---- */

static void on_vm_close(struct vm_hook *hook)
{
    struct state *state = LIST_ENTRY(hook, struct state, hook);

    list_remove(&state->node);
    free(state);
}

static void remember(lua_State *L)
{
    struct state *state = xcalloc(1, sizeof(*state));

    state->vm = vm_of(L);
    state->hook.run = on_vm_close;
    list_init(&state->node);
    list_push_back(&lscript_of(L)->states, &state->node);
    vm_at_close(state->vm, &state->hook);
}

static void push_core(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"ended", lifetime_ended},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"ask", script_ask},
        {"post", script_post},
        {"lifetime", script_lifetime},
        {"parse_redis", lredisconf_parse},
        {NULL, NULL},
    };

    ltype_register(L, LIFETIME_TYPE, lifetime_gc, methods);
    luaL_newlib(L, functions);
}

/* Each core of the table on top takes the place of the real one; "run" is for
 * lscript_run(). */
static void install(lua_State *L)
{
    lua_getfield(L, -1, "run");
    lua_setfield(L, LUA_REGISTRYINDEX, RUN_KEY);
    lua_getfield(L, -1, "mysql");
    lua_setfield(L, LUA_REGISTRYINDEX, LINIT_CORE "mysql");
    lua_getfield(L, -1, "redis");
    lua_setfield(L, LUA_REGISTRYINDEX, LINIT_CORE "redis");
    lua_getfield(L, -1, "http");
    lua_setfield(L, LUA_REGISTRYINDEX, LINIT_CORE "http");
    lua_getfield(L, -1, "websocket");
    lua_setfield(L, LUA_REGISTRYINDEX, LINIT_CORE "websocket");
    lua_getfield(L, -1, "socket");
    lua_setfield(L, LUA_REGISTRYINDEX, LINIT_CORE "socket");
}

void lscript_open_libs(lua_State *L)
{
    luaL_openlibs(L);
    remember(L);
    if (lscript_of(L)->coverage)
        coverage_watch(lscript_of(L)->coverage, L);
    lua_pushfstring(L, "%s/" SCRIPT_FILE, vm_lua_dir(vm_of(L)));
    if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK)
        lua_error(L);
    push_core(L);
    lua_call(L, 1, 1);
    install(L);
    lua_settop(L, 0);
    linit_open_libs(L);
}

struct run {
    lua_State *test;
    int first, count;
};

static int on_returned(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

/* The body of the coroutine. */
static int run_body(lua_State *L)
{
    const struct run *r = lua_touserdata(L, 1);

    lua_getfield(L, LUA_REGISTRYINDEX, RUN_KEY);
    lcopy_values(L, r->test, r->first, r->count);
    lua_callk(L, r->count, 0, 0, on_returned);
    return 0;
}

static void on_run_end(const char *error, void *arg)
{
    if (!error)
        return;
    log_error("function of the test failed");
    log_block(LOG_ERROR, error);
}

bool lscript_run(struct lscript *ls, const struct worker_conf *conf,
    unsigned index, int first)
{
    int top = lua_gettop(ls->test);
    struct run r = {ls->test, first, top - first + 1};
    struct list *node;

    LIST_FOREACH (node, &ls->states) {
        struct vm *vm = LIST_ENTRY(node, struct state, node)->vm;

        if (vm_conf(vm) != conf || vm_worker_index(vm) != index ||
            !vm_is_serving(vm))
            continue;
        coro_start(vm, "a spec", run_body, &r, NULL, on_run_end, NULL);
        lua_settop(ls->test, top);
        return true;
    }
    return false;
}
