/* A timer owns a libuv handle, so it is freed on a later turn than it is
 * dropped. Its callback and arguments are in a table in the registry, by its
 * number. Timers end with their state. */
#include "lualib/ltimer.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "net/handle.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "worker/coro.h"
#include "worker/raised.h"
#include "worker/vm.h"

struct timer {
    uv_timer_t uv;
    struct ltimer *owner;
    lua_Integer id;
    uint64_t interval; /* ms; 0: it runs once */
    bool running;      /* its callback has not returned yet */
    UT_hash_handle hh;
};

/* One per state, a userdata: upvalue 1 of all functions. In the registry it is
 * the key of a table: id → callback, or {callback, arguments}. */
struct ltimer {
    struct vm *vm;
    struct vm_hook hook;
    struct timer *timers; /* owned; by id */
    lua_Integer last_id;
};

static struct ltimer *get_ltimer(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct timer *find(struct ltimer *lt, lua_Integer id)
{
    struct timer *t;

    HASH_FIND(hh, lt->timers, &id, sizeof(id), t);
    return t;
}

/* End t. Its callback may still run. */
static void drop(struct timer *t)
{
    struct ltimer *lt = t->owner;

    HASH_DEL(lt->timers, t);
    vm_count_timers(lt->vm, -1);
    handle_close(&t->uv, t);
}

static void on_vm_close(struct vm_hook *hook)
{
    struct ltimer *lt = LIST_ENTRY(hook, struct ltimer, hook);
    struct timer *t, *tmp;

    MAP_FOREACH (hh, lt->timers, t, tmp)
        drop(t);
}

/* Runs inside the coroutine when the callback has returned. What was dropped
 * meanwhile is not found any more. Stack: ltimer, id, callback's results. */
static int finish_callback(lua_State *L, int status, lua_KContext ctx)
{
    struct timer *t = find(lua_touserdata(L, 1), lua_tointeger(L, 2));

    if (t)
        t->running = false;
    if (status != LUA_OK && status != LUA_YIELD) {
        coro_explain_failure(L, status);
        log_error("callback failed id=%lld", (long long)lua_tointeger(L, 2));
        log_block(LOG_ERROR, lua_tostring(L, -1));
        vm_complain(vm_of(L), "timer", lua_tostring(L, -1));
    }
    return 0;
}

/* Push the callback and its arguments; their number. The list of callbacks is
 * on top. */
static int push_callback(lua_State *L, const struct timer *t)
{
    int count = 0;

    if (lua_rawgeti(L, -1, t->id) == LUA_TFUNCTION)
        return 0;
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    count = (int)lua_rawlen(L, -1);
    luaL_checkstack(L, count, "arguments of a timer");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, -i, i);
    lua_remove(L, -count - 1);
    return count;
}

/* The body of the coroutine; the timer is at index 1. */
static int run_callback(lua_State *L)
{
    struct timer *t = lua_touserdata(L, 1);
    struct ltimer *lt = t->owner;
    int count;

    lua_settop(L, 0);
    lua_pushlightuserdata(L, lt);
    lua_pushinteger(L, t->id);
    lua_pushcfunction(L, raised_traceback);
    lua_rawgetp(L, LUA_REGISTRYINDEX, lt);
    count = push_callback(L, t);
    t->running = true;
    if (t->interval == 0) {
        lua_pushnil(L);
        lua_rawseti(L, 4, t->id);
        drop(t);
    }
    return finish_callback(
        L, lua_pcallk(L, count, 0, 3, 0, finish_callback), 0);
}

static void on_failed(const char *error, void *arg)
{
    if (error)
        log_error("callback not run error=%s", error);
}

static void on_due(uv_timer_t *uv)
{
    struct timer *t = uv->data;
    struct vm *vm = t->owner->vm;

    if (t->interval > 0)
        uv_timer_start(uv, on_due, t->interval, 0);
    if (!t->running && vm_is_serving(vm))
        coro_start(vm, "a timer", run_callback, t, NULL, on_failed, NULL);
}

static uint64_t check_ms(lua_State *L, int arg, double min)
{
    double seconds = luaL_checknumber(L, arg);

    luaL_argcheck(L, seconds >= min && seconds <= LTIMER_SECONDS_MAX, arg,
        min > 0 ? "seconds expected, at least 0.001" : "seconds expected");
    return (uint64_t)(seconds * 1000 + 0.5);
}

/* Stack: seconds, callback, arguments or nil. Pushes the id. */
static int add(lua_State *L, bool persistent)
{
    struct ltimer *lt = get_ltimer(L);
    uint64_t ms = check_ms(L, 1, 0.001);
    struct timer *t;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!lua_isnoneornil(L, 3))
        luaL_checktype(L, 3, LUA_TTABLE);
    if (HASH_COUNT(lt->timers) >= LTIMER_MAX)
        luaL_error(L, "more than %d timers", LTIMER_MAX);
    lua_settop(L, 3);
    lua_rawgetp(L, LUA_REGISTRYINDEX, lt);
    if (lua_isnil(L, 3)) {
        lua_pushvalue(L, 2);
    } else {
        lua_createtable(L, 2, 0);
        lua_pushvalue(L, 2);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, 3);
        lua_rawseti(L, -2, 2);
    }
    lua_rawseti(L, 4, lt->last_id + 1);

    t = xcalloc(1, sizeof(*t));
    t->owner = lt;
    t->id = ++lt->last_id;
    t->interval = persistent ? ms : 0;
    uv_timer_init(turn_loop(vm_turn(lt->vm)), &t->uv);
    t->uv.data = t;
    uv_update_time(t->uv.loop); /* a handler may have computed for long */
    uv_timer_start(&t->uv, on_due, ms, 0);
    HASH_ADD(hh, lt->timers, id, sizeof(t->id), t);
    vm_count_timers(lt->vm, 1);
    lua_pushinteger(L, t->id);
    return 1;
}

/* Timer.add(seconds, fn, args, persistent = true) -> id */
static int timer_add(lua_State *L)
{
    return add(L, lua_isnoneornil(L, 4) || lua_toboolean(L, 4));
}

/* Timer.once(seconds, fn, args) -> id */
static int timer_once(lua_State *L)
{
    return add(L, false);
}

/* Timer.del(id) -> whether there was one */
static int timer_del(lua_State *L)
{
    struct ltimer *lt = get_ltimer(L);
    lua_Integer id = luaL_checkinteger(L, 1);
    struct timer *t = find(lt, id);

    if (t) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, lt);
        lua_pushnil(L);
        lua_rawseti(L, -2, id);
        drop(t);
    }
    lua_pushboolean(L, t != NULL);
    return 1;
}

/* Timer.delAll() */
static int timer_del_all(lua_State *L)
{
    struct ltimer *lt = get_ltimer(L);

    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, lt);
    on_vm_close(&lt->hook);
    return 0;
}

struct sleep {
    uv_timer_t uv;
    struct coro *co; /* borrowed; outlives the wait */
};

static void cancel_sleep(void *op)
{
    struct sleep *s = op;

    handle_close(&s->uv, s);
}

static void on_slept(uv_timer_t *uv)
{
    struct sleep *s = uv->data;

    handle_close(&s->uv, s);
    coro_wake(s->co);
}

static int finish_sleep(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

/* Timer.sleep(seconds). Yields. */
static int timer_sleep(lua_State *L)
{
    uint64_t ms = check_ms(L, 1, 0);
    struct coro *co = coro_check(L);
    struct sleep *s;

    s = xcalloc(1, sizeof(*s));
    s->co = co;
    uv_timer_init(turn_loop(vm_turn(vm_of(L))), &s->uv);
    s->uv.data = s;
    uv_update_time(s->uv.loop);
    uv_timer_start(&s->uv, on_slept, ms, 0);
    return coro_await(L, co, cancel_sleep, s, finish_sleep);
}

void ltimer_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"add", timer_add},
        {"once", timer_once},
        {"delay", timer_once}, /* as newer Workerman calls it */
        {"del", timer_del},
        {"delAll", timer_del_all},
        {"sleep", timer_sleep},
        {NULL, NULL},
    };
    struct ltimer *lt;

    luaL_newlibtable(L, functions);
    lt = lua_newuserdatauv(L, sizeof(*lt), 0);
    memset(lt, 0, sizeof(*lt));
    lt->vm = vm_of(L);
    lt->hook.run = on_vm_close;
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, lt);
    luaL_setfuncs(L, functions, 1);
    vm_at_close(lt->vm, &lt->hook);
}
