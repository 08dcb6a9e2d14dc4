/* A limit lies in a <close> variable of the coroutine that it limits and ends
 * with it in any case. What cuts it (a timer, a client that leaves, another
 * coroutine) only passes the limit; coro.c ends the wait. */
#include "lualib/llimit.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "net/handle.h"
#include "net/turn.h"
#include "util/alloc.h"
#include "worker/coro.h"
#include "worker/dispatch.h"
#include "worker/vm.h"

#define LLIMIT_TYPE "gwrun.limit"

/* A userdata in a <close> variable of the coroutine that it limits. */
struct llimit {
    struct coro_limit limit;
    struct coro_hook at_end;
    struct dispatch_watch watch; /* of connected() */
    struct turn_task cut;        /* of limit:cut() */
    uv_timer_t *timer;           /* owned; of deadline(), else NULL */
    bool begun;
};

static void end(struct llimit *l)
{
    if (!l->begun)
        return;
    l->begun = false;
    coro_limit_end(&l->limit);
    list_remove(&l->at_end.node);
    list_remove(&l->watch.node);
    turn_cancel(&l->cut);
    if (l->timer)
        handle_close(l->timer, l->timer);
}

static void on_coro_end(struct coro_hook *hook)
{
    end(LIST_ENTRY(hook, struct llimit, at_end));
}

static void on_gone(struct dispatch_watch *watch)
{
    coro_limit_pass(&LIST_ENTRY(watch, struct llimit, watch)->limit);
}

static void on_cut(struct turn_task *task)
{
    coro_limit_pass(&LIST_ENTRY(task, struct llimit, cut)->limit);
}

static void on_due(uv_timer_t *timer)
{
    coro_limit_pass(&((struct llimit *)timer->data)->limit);
}

/* Push a limit of the running coroutine; its error is at index 1. */
static struct llimit *push_limit(lua_State *L)
{
    struct coro *co = coro_check(L);
    struct llimit *l = lua_newuserdatauv(L, sizeof(*l), 0);

    memset(l, 0, sizeof(*l));
    list_init(&l->at_end.node);
    list_init(&l->watch.node);
    list_init(&l->cut.node);
    l->at_end.run = on_coro_end;
    l->watch.gone = on_gone;
    l->cut.run = on_cut;
    luaL_setmetatable(L, LLIMIT_TYPE);
    lua_pushvalue(L, 1);
    coro_limit_begin(L, co, &l->limit);
    coro_at_end(co, &l->at_end);
    l->begun = true;
    return l;
}

/* limit(error) -> limit, for limit:cut() */
static int limit(lua_State *L)
{
    push_limit(L);
    return 1;
}

/* deadline(error, seconds) -> limit */
static int deadline(lua_State *L)
{
    double seconds = luaL_checknumber(L, 2);
    uv_loop_t *loop = turn_loop(vm_turn(vm_of(L)));
    struct llimit *l = push_limit(L);

    l->timer = xcalloc(1, sizeof(*l->timer));
    uv_timer_init(loop, l->timer);
    l->timer->data = l;
    uv_update_time(loop); /* a handler may have computed for long */
    uv_timer_start(l->timer, on_due, (uint64_t)(seconds * 1000 + 0.5), 0);
    return 1;
}

/* connected(error) -> limit | nil when the client is gone already | false when
 * none is served here */
static int connected(lua_State *L)
{
    struct llimit *l = push_limit(L);
    int err = dispatch_watch_client(L, &l->watch);

    if (err == 0)
        return 1;
    end(l);
    if (err == -ENOTCONN)
        lua_pushnil(L);
    else
        lua_pushboolean(L, false);
    return 1;
}

/* limit:cut(): at the end of the turn. */
static int limit_cut(lua_State *L)
{
    struct llimit *l = luaL_checkudata(L, 1, LLIMIT_TYPE);

    if (l->begun)
        turn_schedule(vm_turn(vm_of(L)), &l->cut);
    return 0;
}

static int limit_close(lua_State *L)
{
    end(luaL_checkudata(L, 1, LLIMIT_TYPE));
    return 0;
}

void llimit_add(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"cut", limit_cut},
        {"__close", limit_close},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"limit", limit},
        {"deadline", deadline},
        {"connected", connected},
        {NULL, NULL},
    };

    luaL_newmetatable(L, LLIMIT_TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
}
