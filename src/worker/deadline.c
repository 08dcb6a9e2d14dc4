/* A handler may compute for handler_timeout CPU seconds between two waits.
 *
 * A timer of the thread's CPU time, which stands still while the worker idles,
 * signals DEADLINE_TICKS times within the limit. The handler that was running
 * at all of them gets a hook, which raises an error, and the script's ways to
 * catch one raise it again until the handler has ended. Until then no hook is
 * set: a count hook from the start makes plain Lua code 2.4 times slower.
 *
 * Lua calls no hook within a hook, and so in whatever runs because of an error
 * that a hook raised: xpcall's message handlers and, in the coroutine that it
 * ended, <close> variables. Nor in finalizers. So the error is one for which
 * Lua calls no message handler, such a coroutine is not closed, and finalizers
 * run in threads of their own. */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/log.h"
#include "worker/coro_impl.h"

#define DEADLINE_SIGNAL SIGVTALRM
#define DEADLINE_TICKS  8
#define MEMORY_ERROR    "not enough memory"

/* Keep what people shall read of it: the first one of a slice knows best. */
static void describe_overdue(lua_State *L, int level)
{
    struct vm *vm = vm_of(L);

    if (deadline_error(vm))
        return;
    free(vm->overdue_error);
    vm->overdue_error = NULL;
    luaL_where(L, level);
    lua_pushfstring(L, "handler exceeded %f s of computing without a wait",
        (lua_Number)vm->env.conf->handler_timeout);
    lua_concat(L, 2);
    luaL_traceback(L, L, lua_tostring(L, -1), level);
    vm->overdue_error = xstrndup(lua_tostring(L, -1), VM_ERROR_MAX);
    vm->overdue_slice = vm->slice;
    lua_pop(L, 2);
}

/* lua_error() takes this text for an error of Lua's own, which no message
 * handler gets to see. */
static int raise_overdue(lua_State *L, int level)
{
    describe_overdue(L, level);
    lua_pushliteral(L, MEMORY_ERROR);
    return lua_error(L);
}

const char *deadline_error(const struct vm *vm)
{
    return vm->overdue_slice == vm->slice ? vm->overdue_error : NULL;
}

/* Each instruction after the deadline; or, in a coroutine that lived on while
 * the handler ended, the first one that it runs again. */
static void on_hook(lua_State *L, lua_Debug *ar)
{
    if (vm_of(L)->overdue)
        raise_overdue(L, 0);
    lua_sethook(L, NULL, 0, 0);
}

/* Interrupts the thread that runs the script. lua_sethook() may be called from
 * a signal handler, as Lua's own lua.c does. */
static void on_tick(int signo, siginfo_t *info, void *context)
{
    struct vm *vm = info->si_value.sival_ptr;

    if (info->si_code != SI_TIMER || vm->depth == 0)
        return;
    if (vm->slice_seen != vm->slice) {
        vm->slice_seen = vm->slice;
        vm->ticks = 0;
        return;
    }
    if (!vm->overdue && ++vm->ticks < DEADLINE_TICKS)
        return;
    vm->overdue = true;
    if (vm->innermost)
        lua_sethook(vm->innermost, on_hook, LUA_MASKCOUNT, 1);
}

void deadline_open(struct vm *vm)
{
    double tick = vm->env.conf->handler_timeout / DEADLINE_TICKS;
    struct sigaction sa = {.sa_sigaction = on_tick};
    struct sigevent event = {0};
    struct itimerspec every = {0};

    if (tick <= 0)
        return;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(DEADLINE_SIGNAL, &sa, NULL);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = DEADLINE_SIGNAL;
    event.sigev_value.sival_ptr = vm;
    event._sigev_un._tid = gettid();
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &vm->timer) < 0) {
        log_error(
            "handlers run without a deadline err=\"%s\"", strerror(errno));
        return;
    }
    vm->has_timer = true;
    every.it_interval.tv_sec = (time_t)tick;
    every.it_interval.tv_nsec = (long)((tick - (double)(time_t)tick) * 1e9);
    every.it_value = every.it_interval;
    timer_settime(vm->timer, 0, &every, NULL);
}

void deadline_close(struct vm *vm)
{
    if (vm->has_timer)
        timer_delete(vm->timer);
    vm->has_timer = false;
}

lua_State *deadline_enter(struct vm *vm, lua_State *L)
{
    lua_State *outer = vm->innermost;

    vm->innermost = L;
    if (vm->depth++ == 0) {
        vm->slice++;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &vm->began);
    }
    return outer;
}

double deadline_leave(struct vm *vm, lua_State *outer)
{
    struct timespec now;

    vm->innermost = outer;
    if (--vm->depth > 0)
        return 0;
    vm->overdue = false;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)(now.tv_sec - vm->began.tv_sec) +
           (double)(now.tv_nsec - vm->began.tv_nsec) / 1e9;
}

/* Did the guarded function catch an error for want of memory? The heap knows
 * that there was one: the script may raise the same words. */
static bool caught_memory_error(lua_State *L)
{
    const char *message = lua_type(L, 2) == LUA_TSTRING && !lua_toboolean(L, 1)
                              ? lua_tostring(L, 2)
                              : "";

    return strcmp(message, MEMORY_ERROR) == 0;
}

/* Back in L from a guarded function, by return, yield or error. */
static int guarded_done(lua_State *L, int status, lua_KContext ctx)
{
    struct vm *vm = vm_of(L);

    vm->innermost = L;
    if (vm->overdue)
        return raise_overdue(L, 1);
    if (status != LUA_OK && status != LUA_YIELD)
        return lua_error(L);
    if (vm->heap.refused)
        vm->starved += caught_memory_error(L);
    return lua_gettop(L);
}

/* Call the function in the first upvalue, which runs the script's code in
 * thread (L itself, or a coroutine of the script's), then look whether time is
 * up. */
static int call_guarded(lua_State *L, lua_State *thread)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    vm_of(L)->innermost = thread;
    return guarded_done(L,
        lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, guarded_done), 0);
}

/* pcall, xpcall, load. */
static int guarded(lua_State *L)
{
    return call_guarded(L, L);
}

/* Did the deadline end it? Its <close> variables would run without a hook. */
static bool is_ended(lua_State *thread)
{
    return lua_status(thread) > LUA_YIELD && lua_gethook(thread) == on_hook;
}

/* coroutine.resume, coroutine.close. */
static int guarded_thread(lua_State *L)
{
    lua_State *thread = lua_tothread(L, 1);

    luaL_argcheck(L, !thread || !coro_owns(L, thread), 1,
        "this coroutine is gwrun's: what it waits for wakes it; use "
        "gwrun.ticket()");
    if (thread && is_ended(thread)) {
        lua_pushboolean(L, false);
        lua_pushliteral(L, "handler_timeout has ended this coroutine");
        return 2;
    }
    return call_guarded(L, thread ? thread : L);
}

/* The error that ended thread, or refused to run it, is on top of its stack. */
static int raise_from(lua_State *L, lua_State *thread)
{
    int status = lua_status(thread);

    if (status > LUA_YIELD)
        status = lua_resetthread(thread); /* closes variables */
    vm_of(L)->innermost = L;
    if (vm_of(L)->overdue)
        return raise_overdue(L, 1);
    lua_xmove(thread, L, 1);
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* What coroutine.wrap returns, as Lua's own does it: that would close what the
 * deadline has ended. The upvalue is the coroutine. */
static int wrapped(lua_State *L)
{
    lua_State *thread = lua_tothread(L, lua_upvalueindex(1));
    struct vm *vm = vm_of(L);
    int count = lua_gettop(L);
    int status;

    if (!lua_checkstack(thread, count))
        return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, thread, count);
    vm->innermost = thread;
    status = lua_resume(thread, L, count, &count);
    if (vm->overdue) {
        vm->innermost = L;
        return raise_overdue(L, 1);
    }
    if (status > LUA_YIELD)
        return raise_from(L, thread);
    vm->innermost = L;
    if (!lua_checkstack(L, count + 1)) {
        lua_pop(thread, count);
        return luaL_error(L, "too many results to resume");
    }
    lua_xmove(thread, L, count);
    return count;
}

/* coroutine.wrap */
static int wrap(lua_State *L)
{
    lua_State *thread;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    thread = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, thread, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

/* A finalizer of the script's, the upvalue, on the object at index 1. What it
 * raises becomes a warning. */
static int finalize(lua_State *L)
{
    struct vm *vm = vm_of(L);
    lua_State *thread, *outer;
    int status, count;

    if (vm->overdue)
        return 0;
    thread = lua_newthread(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_xmove(L, thread, 2);
    outer = deadline_enter(vm, thread);
    status = lua_resume(thread, L, 1, &count);
    if (status > LUA_YIELD && !vm->overdue)
        status = lua_resetthread(thread);
    deadline_leave(vm, outer);
    if (vm->overdue) /* whoever caused the collection is, too */
        lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
    if (status == LUA_OK)
        return 0;
    if (deadline_error(vm))
        return luaL_error(L, "%s", deadline_error(vm));
    if (status == LUA_YIELD)
        return luaL_error(L, "attempt to yield in a finalizer");
    lua_xmove(thread, L, 1);
    return lua_error(L);
}

/* Give the value at index 1 the metatable at index 2; a finalizer in it gives
 * way to one that ends with the deadline. */
static int put_metatable(lua_State *L)
{
    int type = LUA_TNIL;

    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        type = lua_rawget(L, 2);
    }
    if (type == LUA_TTABLE ||
        (type == LUA_TFUNCTION && !lua_iscfunction(L, -1))) {
        lua_pushliteral(L, "__gc");
        lua_insert(L, -2);
        lua_pushcclosure(L, finalize, 1);
        lua_rawset(L, 2);
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static void check_metatable(lua_State *L)
{
    int type = lua_type(L, 2);

    luaL_argexpected(
        L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
}

/* setmetatable. The upvalue may know better what becomes of the globals'. */
static int set_metatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    check_metatable(L);
    lua_settop(L, 2);
    lua_pushglobaltable(L);
    if (lua_rawequal(L, 1, 3)) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_replace(L, 3);
        lua_insert(L, 1);
        lua_call(L, 2, 1);
        return 1;
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    return put_metatable(L);
}

/* debug.setmetatable */
static int set_any_metatable(lua_State *L)
{
    check_metatable(L);
    return put_metatable(L);
}

/* Put guard, with the original as its upvalue, in place of the functions of the
 * table on top of the stack. */
static void guard_fields(
    lua_State *L, const char *const *names, lua_CFunction guard)
{
    for (; *names; names++) {
        if (lua_getfield(L, -1, *names) != LUA_TFUNCTION) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushcclosure(L, guard, 1);
        lua_setfield(L, -2, *names);
    }
}

void deadline_guard(lua_State *L)
{
    static const char *const callers[] = {"pcall", "xpcall", "load", NULL};
    static const char *const resumers[] = {"resume", "close", NULL};
    static const char *const wrappers[] = {"wrap", NULL};
    static const char *const setters[] = {"setmetatable", NULL};

    lua_pushglobaltable(L);
    guard_fields(L, callers, guarded);
    guard_fields(L, setters, set_metatable);
    if (lua_getfield(L, -1, "debug") == LUA_TTABLE)
        guard_fields(L, setters, set_any_metatable);
    lua_pop(L, 1);
    if (lua_getfield(L, -1, "coroutine") == LUA_TTABLE) {
        guard_fields(L, resumers, guarded_thread);
        guard_fields(L, wrappers, wrap);
    }
    lua_pop(L, 2);
}
