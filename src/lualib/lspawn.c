/* Functions that are to begin wait in a table in the registry by number, in
 * their order, and begin at the end of the turn. A ticket is what a coroutine
 * waits on until another one sets it. */
#include "lualib/lspawn.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lualib/ltype.h"
#include "lualib/lwait.h"
#include "net/clock.h"
#include "util/log.h"
#include "worker/coro.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define TICKET_TYPE "gwrun.ticket"

/* One per state, a userdata: upvalue 1 of spawn(). In the registry it is the
 * key of a table: number → the function that has not begun; 0 → itself. */
struct lspawn {
    struct vm *vm;
    struct vm_hook hook;
    struct turn_task task;
    lua_Integer first; /* numbers of those that have not begun */
    lua_Integer last;
    size_t alive;
};

/* ---- spawn ---- */

static int on_returned(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

/* The body of the coroutine; the lspawn is at index 1. */
static int run_function(lua_State *L)
{
    struct lspawn *ls = lua_touserdata(L, 1);
    lua_Integer number = ls->first++;

    lua_rawgetp(L, LUA_REGISTRYINDEX, ls);
    lua_rawgeti(L, -1, number);
    lua_pushnil(L);
    lua_rawseti(L, -3, number);
    lua_callk(L, 0, 0, 0, on_returned);
    return 0;
}

static void on_ended(const char *error, void *arg)
{
    struct lspawn *ls = arg;

    ls->alive--;
    if (error) {
        log_error("spawned function failed");
        log_block(LOG_ERROR, error);
        vm_complain(ls->vm, "spawn", error);
    }
}

static void on_turn(struct turn_task *task)
{
    struct lspawn *ls = LIST_ENTRY(task, struct lspawn, task);
    lua_Integer last = ls->last; /* what these spawn comes next */

    while (ls->first <= last) {
        lua_Integer first = ls->first;

        coro_start(ls->vm, "gwrun.spawn", run_function, ls, NULL, on_ended, ls);
        if (ls->first == first)
            ls->first++; /* it could not even begin */
    }
}

static void on_vm_close(struct vm_hook *hook)
{
    turn_cancel(&LIST_ENTRY(hook, struct lspawn, hook)->task);
}

/* spawn(fn) */
static int spawn(lua_State *L)
{
    struct lspawn *ls = lua_touserdata(L, lua_upvalueindex(1));

    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (ls->alive >= LSPAWN_MAX)
        luaL_error(L, "more than %d spawned functions", LSPAWN_MAX);
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, ls);
    lua_insert(L, 1);
    lua_rawseti(L, 1, ls->last + 1);
    ls->last++;
    ls->alive++;
    turn_schedule(vm_turn(ls->vm), &ls->task);
    return 0;
}

/* ---- tickets: wait until another coroutine says so ---- */

struct ticket {
    struct turn *turn; /* borrowed */
    struct turn_task task;
    struct coro_hook at_end; /* of at_end() */
    struct lwait wait;
    bool is_set;
};

static void on_set(struct turn_task *task)
{
    lwait_wake(&LIST_ENTRY(task, struct ticket, task)->wait);
}

static int finish_wait(lua_State *L, int status, lua_KContext ctx)
{
    const struct ticket *t = lua_touserdata(L, 1);

    lua_pushboolean(L, t->is_set);
    return 1;
}

/* ticket:wait(seconds) -> whether it was set in time. Yields. */
static int ticket_wait(lua_State *L)
{
    struct ticket *t = luaL_checkudata(L, 1, TICKET_TYPE);
    double seconds = luaL_optnumber(L, 2, 0);
    struct coro *co = coro_check(L);

    luaL_argcheck(
        L, seconds >= 0 && seconds <= LWAIT_SECONDS_MAX, 2, "seconds expected");
    luaL_argcheck(
        L, !lwait_is_on(&t->wait), 1, "another coroutine waits for it");
    lua_settop(L, 1);
    if (t->is_set)
        return finish_wait(L, LUA_OK, 0);
    lwait_begin(L, &t->wait, co, seconds > 0 ? seconds : -1);
    return coro_await(L, co, lwait_cancel, &t->wait, finish_wait);
}

static void set(struct ticket *t)
{
    t->is_set = true;
    if (lwait_is_on(&t->wait))
        turn_schedule(t->turn, &t->task);
}

/* ticket:set(): who waits goes on at the end of the turn. */
static int ticket_set(lua_State *L)
{
    set(luaL_checkudata(L, 1, TICKET_TYPE));
    return 0;
}

static void on_coro_end(struct coro_hook *hook)
{
    set(LIST_ENTRY(hook, struct ticket, at_end));
}

/* at_end(ticket): it is set when what runs here has ended, however it does. */
static int set_at_end(lua_State *L)
{
    struct ticket *t = luaL_checkudata(L, 1, TICKET_TYPE);

    list_remove(&t->at_end.node);
    coro_at_end(coro_check(L), &t->at_end);
    return 0;
}

static int ticket_gc(lua_State *L)
{
    struct ticket *t = luaL_checkudata(L, 1, TICKET_TYPE);

    list_remove(&t->at_end.node);
    turn_cancel(&t->task); /* set, and its time was over in the same turn */
    return 0;
}

/* ticket() */
static int ticket_new(lua_State *L)
{
    struct ticket *t = lua_newuserdatauv(L, sizeof(*t), 0);

    memset(t, 0, sizeof(*t));
    t->turn = vm_turn(vm_of(L));
    list_init(&t->task.node);
    t->task.run = on_set;
    list_init(&t->at_end.node);
    t->at_end.run = on_coro_end;
    luaL_setmetatable(L, TICKET_TYPE);
    return 1;
}

/* is_serving() -> false once a newer script took over */
static int is_serving(lua_State *L)
{
    lua_pushboolean(L, vm_is_serving(vm_of(L)));
    return 1;
}

/* report(what, traceback): log an error of the script's that was caught */
static int report(lua_State *L)
{
    log_error("%s", luaL_checkstring(L, 1));
    log_block(LOG_ERROR, raised_text(L, 2));
    return 0;
}

/* now() -> seconds since 1970, with a fraction */
static int now(lua_State *L)
{
    lua_pushnumber(L, clock_wall(turn_loop(vm_turn(vm_of(L)))));
    return 1;
}

static void push_spawn(lua_State *L)
{
    struct lspawn *ls = lua_newuserdatauv(L, sizeof(*ls), 0);

    memset(ls, 0, sizeof(*ls));
    ls->vm = vm_of(L);
    ls->first = 1;
    ls->hook.run = on_vm_close;
    ls->task.run = on_turn;
    list_init(&ls->task.node);
    lua_newtable(L);
    lua_pushvalue(L, -2); /* it lives as long as the state */
    lua_rawseti(L, -2, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, ls);
    vm_at_close(ls->vm, &ls->hook);
    lua_pushcclosure(L, spawn, 1);
}

void lspawn_push(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"wait", ticket_wait},
        {"set", ticket_set},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"ticket", ticket_new},
        {"at_end", set_at_end},
        {"is_serving", is_serving},
        {"now", now},
        {"report", report},
        {NULL, NULL},
    };

    ltype_register(L, TICKET_TYPE, ticket_gc, methods);
    luaL_newlib(L, functions);
    push_spawn(L);
    lua_setfield(L, -2, "spawn");
}
