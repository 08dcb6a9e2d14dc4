/* A handler may compute for handler_timeout CPU seconds between two waits.
 *
 * A timer of the thread's CPU time, which stands still while the worker idles,
 * signals DEADLINE_TICKS times within the limit. The handler that was running
 * at all of them gets a hook, which raises an error, and the script's ways to
 * catch one raise it again until the handler has ended. Until then no hook is
 * set: a count hook from the start makes plain Lua code 2.4 times slower. */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"
#include "worker/vm_impl.h"

#define DEADLINE_SIGNAL SIGVTALRM
#define DEADLINE_TICKS  8

static int raise_overdue(lua_State *L, int level)
{
    luaL_where(L, level);
    lua_pushfstring(L, "handler exceeded %f s of computing without a wait",
        (lua_Number)vm_of(L)->env.conf->handler_timeout);
    lua_concat(L, 2);
    return lua_error(L);
}

/* The first instruction after the deadline; or, in a coroutine that lived on
 * while the handler ended, the first one that it runs again. */
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

/* Back in L from a guarded function, by return, yield or error. */
static int guarded_done(lua_State *L, int status, lua_KContext ctx)
{
    struct vm *vm = vm_of(L);

    vm->innermost = L;
    if (vm->overdue)
        return raise_overdue(L, 1);
    if (status != LUA_OK && status != LUA_YIELD)
        return lua_error(L);
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

/* coroutine.resume, coroutine.close. */
static int guarded_thread(lua_State *L)
{
    lua_State *thread = lua_tothread(L, 1);

    luaL_argcheck(L, !thread || !coro_owns(L, thread), 1,
        "this coroutine is gwrun's: what it waits for wakes it; use "
        "gwrun.ticket()");
    return call_guarded(L, thread ? thread : L);
}

/* What coroutine.wrap returns; the second upvalue is its coroutine. */
static int wrapped(lua_State *L)
{
    return call_guarded(L, lua_tothread(L, lua_upvalueindex(2)));
}

/* coroutine.wrap: the original's closure has the coroutine as its upvalue. */
static int wrap(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    if (!lua_getupvalue(L, 1, 1) || !lua_isthread(L, -1))
        return luaL_error(L, "coroutine.wrap is not Lua 5.4's");
    lua_pushcclosure(L, wrapped, 2);
    return 1;
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

    lua_pushglobaltable(L);
    guard_fields(L, callers, guarded);
    if (lua_getfield(L, -1, "coroutine") == LUA_TTABLE) {
        guard_fields(L, resumers, guarded_thread);
        guard_fields(L, wrappers, wrap);
    }
    lua_pop(L, 2);
}
