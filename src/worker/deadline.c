/* A handler may compute for handler_timeout CPU seconds between two waits. A
 * count hook looks at the clock; past the limit it raises an error, and the
 * script's ways to catch one raise it again, until the handler has ended. */
#include <lauxlib.h>
#include <time.h>

#include "worker/vm_impl.h"

/* Instructions between two looks: about a millisecond. */
#define DEADLINE_COUNT 100000

static double cpu_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void deadline_enter(struct vm *vm)
{
    if (vm->depth++ == 0)
        vm->slice++;
}

void deadline_leave(struct vm *vm)
{
    if (--vm->depth == 0)
        vm->overdue = false;
}

static int raise_overdue(lua_State *L, int level)
{
    luaL_where(L, level);
    lua_pushfstring(L, "handler exceeded %f s of computing without a wait",
        (lua_Number)vm_of(L)->env.conf->handler_timeout);
    lua_concat(L, 2);
    return lua_error(L);
}

/* The clock is first read here, not when a slice begins: short handlers, which
 * are nearly all, pay nothing. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);

    if (!vm->overdue) {
        double now = cpu_seconds();

        if (vm->slice_seen != vm->slice) {
            vm->slice_seen = vm->slice;
            vm->slice_start = now;
            return;
        }
        if (now - vm->slice_start < vm->env.conf->handler_timeout)
            return;
        vm->overdue = true;
    }
    raise_overdue(L, 0);
}

void deadline_arm(lua_State *L)
{
    if (vm_of(L)->env.conf->handler_timeout > 0)
        lua_sethook(L, on_count, LUA_MASKCOUNT, DEADLINE_COUNT);
}

static int guarded_done(lua_State *L, int status, lua_KContext ctx)
{
    if (vm_of(L)->overdue)
        return raise_overdue(L, 1);
    return lua_gettop(L);
}

/* Calls the function in its upvalue, then looks whether time is up. */
static int guarded(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, guarded_done);
    return guarded_done(L, LUA_OK, 0);
}

/* Guard the functions of the table on top of the stack. */
static void guard_fields(lua_State *L, const char *const *names)
{
    for (; *names; names++) {
        if (lua_getfield(L, -1, *names) != LUA_TFUNCTION) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushcclosure(L, guarded, 1);
        lua_setfield(L, -2, *names);
    }
}

void deadline_guard(lua_State *L)
{
    static const char *const globals[] = {"pcall", "xpcall", "load", NULL};
    static const char *const coroutines[] = {"resume", "close", NULL};

    lua_pushglobaltable(L);
    guard_fields(L, globals);
    if (lua_getfield(L, -1, "coroutine") == LUA_TTABLE)
        guard_fields(L, coroutines);
    lua_pop(L, 2);
}
