/* A coroutine is idle or busy, and waits only while it is busy. Its thread is
 * in Lua's registry for as long as the struct lives, which goes back to the
 * pool when its body has ended without an error. Time is taken of each stretch
 * that it runs in one go, so that the log can name what held up the worker. */
#include "worker/coro.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "worker/coro_impl.h"
#include "worker/raised.h"

#define CORO_IDLE_MAX 1024 /* kept for reuse in each vm */
#define SLOW_LINES    10   /* a second, about what held up the worker */

struct coro {
    struct list node;   /* in vm->idle or vm->busy */
    struct vm *vm;      /* borrowed, outlives it */
    lua_State *L;       /* in the registry by its own address */
    lua_Integer number; /* of this start */
    const char *what;   /* static */
    bool has_client;
    struct coro_client client;
    coro_done_cb done;
    void *done_arg;
    bool overdue; /* it is past its deadline and waits while unwinding */
    bool waiting;
    coro_cancel_cb cancel; /* valid while waiting, as the next two are */
    void *op;
    lua_KFunction go_on; /* what continues when it is woken */
    struct list hooks;   /* of coro_hook */
    struct list limits;  /* of coro_limit, outermost first */
};

/* Runs protected: makes the coroutine whose struct is at index 1. */
static int make_thread(lua_State *L)
{
    struct coro *co = lua_touserdata(L, 1);

    co->L = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, co->L);
    return 0;
}

bool coro_owns(lua_State *L, const lua_State *thread)
{
    bool owned = lua_rawgetp(L, LUA_REGISTRYINDEX, thread) == LUA_TTHREAD;

    lua_pop(L, 1);
    return owned;
}

/* Call a C function with one pointer in the main thread. A Lua status; above
 * LUA_OK the error is on top of the main thread's stack. */
static int call_protected(struct vm *vm, lua_CFunction fn, void *arg)
{
    lua_State *outer;
    int status;

    if (!lua_checkstack(vm->L, 4))
        return LUA_ERRMEM;
    outer = deadline_enter(vm, vm->L);
    lua_pushcfunction(vm->L, fn);
    lua_pushlightuserdata(vm->L, arg);
    status = lua_pcall(vm->L, 1, 0, 0);
    deadline_leave(vm, outer);
    return status;
}

/* An idle coroutine, or a new one; NULL when memory is out. */
static struct coro *take(struct vm *vm)
{
    struct coro *co;

    if (!list_empty(&vm->idle)) {
        co = LIST_ENTRY(vm->idle.prev, struct coro, node); /* the last used */
        list_remove(&co->node);
        vm->nidle--;
        return co;
    }
    co = xcalloc(1, sizeof(*co));
    list_init(&co->node);
    list_init(&co->hooks);
    list_init(&co->limits);
    co->vm = vm;
    if (call_protected(vm, make_thread, co) != LUA_OK) {
        lua_settop(vm->L, 0);
        free(co);
        vm->starved++;
        return NULL;
    }
    return co;
}

static void drop(struct coro *co)
{
    lua_pushnil(co->vm->L);
    lua_rawsetp(co->vm->L, LUA_REGISTRYINDEX, co->L);
    free(co);
}

struct failure {
    lua_State *L; /* the dead coroutine, the error on top */
    char *text;   /* owned by the caller */
};

/* Runs protected: the error with its traceback. */
static int describe_failure(lua_State *L)
{
    struct failure *f = lua_touserdata(L, 1);

    lua_xmove(f->L, L, 1);
    luaL_traceback(L, f->L, raised_text(L, -1), 0);
    f->text = xstrndup(lua_tostring(L, -1), VM_ERROR_MAX);
    return 0;
}

/* The message of the error on top of the dead coroutine, for free(). */
static char *take_failure(struct coro *co, int status)
{
    struct failure f = {.L = co->L};

    if (status == LUA_YIELD)
        return xstrdup("coroutine.yield() outside of a coroutine of the "
                       "script: use Timer.sleep() or a query to wait");
    if (call_protected(co->vm, describe_failure, &f) != LUA_OK)
        lua_settop(co->vm->L, 0);
    if (deadline_error(co->vm)) {
        free(f.text);
        f.text = xstrdup(deadline_error(co->vm));
    }
    if (!f.text)
        f.text = xstrdup(status == LUA_ERRMEM ? "not enough memory"
                                              : "error without a message");
    return f.text;
}

void coro_at_end(struct coro *co, struct coro_hook *hook)
{
    list_push_back(&co->hooks, &hook->node);
}

static void leave_busy(struct coro *co)
{
    struct vm *vm = co->vm;

    while (!list_empty(&co->hooks)) {
        struct coro_hook *hook =
            LIST_ENTRY(co->hooks.next, struct coro_hook, node);

        list_remove(&hook->node);
        hook->run(hook);
    }
    assert(list_empty(&co->limits));
    list_remove(&co->node);
    vm->nbusy--;
    vm_look_finished(vm);
    if (!co->has_client)
        return;
    if (--vm->nclients == 0 && vm->quiet)
        turn_schedule(vm->env.turn, &vm->quiet_task);
}

/* It ended: back to the pool, or away after an error (what failed may hang on
 * to its stack, and nobody shall find its leftovers). */
static void finish(struct coro *co, char *error)
{
    struct vm *vm = co->vm;
    coro_done_cb done = co->done;
    void *done_arg = co->done_arg;

    leave_busy(co);
    if (error || vm->nidle >= CORO_IDLE_MAX) {
        drop(co);
    } else {
        lua_settop(co->L, 0);
        list_push_back(&vm->idle, &co->node);
        vm->nidle++;
    }
    if (done)
        done(error, done_arg);
    free(error);
}

/* Where the script is, as "events.lua:30". */
struct place {
    struct coro *co;
    char text[LUA_IDSIZE + 16];
};

static void put_place(struct place *p, const lua_Debug *ar, int line)
{
    snprintf(p->text, sizeof(p->text), "%s:%d", ar->short_src, line);
}

/* The line at which it waits, if there is one in a file of the script's. */
static void find_wait(struct place *p)
{
    lua_Debug ar;

    for (int level = 0; lua_getstack(p->co->L, level, &ar); level++) {
        lua_getinfo(p->co->L, "Sl", &ar);
        if (ar.currentline < 0)
            continue;
        put_place(p, &ar, ar.currentline);
        if (!raised_is_ours(p->co->L, &ar))
            return;
    }
}

/* Runs protected. It has ended: where its callback begins. */
static int find_callback(lua_State *L)
{
    struct place *p = lua_touserdata(L, 1);
    lua_Debug ar;

    lua_rawgeti(L, LUA_REGISTRYINDEX, p->co->vm->events_ref);
    if (!lua_istable(L, -1))
        return 0;
    lua_pushstring(L, p->co->what);
    lua_rawget(L, -2);
    if (!lua_isfunction(L, -1))
        return 0;
    lua_getinfo(L, ">S", &ar);
    if (ar.linedefined > 0)
        put_place(p, &ar, ar.linedefined);
    return 0;
}

/* For the share that handlers have of this turn, and those that had to collect
 * of all time. */
static void note_spent(struct vm *vm, double seconds)
{
    const uv_loop_t *loop = turn_loop(vm->env.turn);
    uint64_t now = clock_now(loop);

    if (clock_stands_still(loop))
        return;
    if (vm->heap.refused)
        vm->scarce += seconds;
    vm->heap.refused = vm->heap.refused && vm->starved > 0;
    if (vm->spent_in != now)
        vm->spent = 0;
    vm->spent_in = now;
    vm->spent += seconds;
}

/* Nothing else ran meanwhile: the first thing to know when all are slow. */
static void tell_slow(struct coro *co, double seconds)
{
    struct place place = {co, "-"};
    char id[CLIENT_ID_LEN + 1] = "-";

    if (!log_may(&co->vm->slow, "slow handlers", SLOW_LINES, 1000))
        return;
    if (co->has_client && !co->client.nobody)
        client_id_format(id, &co->client.id);
    if (co->waiting)
        find_wait(&place);
    else if (call_protected(co->vm, find_callback, &place) != LUA_OK)
        lua_settop(co->vm->L, 0);
    log_warn("nothing else could run ms=%.0f in=\"%s\" client=%s at=%s",
        seconds * 1000, co->what, id, place.text);
}

/* Run co until it ends or waits. */
static void resume(struct coro *co, int nargs)
{
    struct vm *vm = co->vm;
    struct coro *outer = vm->running;
    lua_State *outer_thread;
    double limit = vm->env.conf->slow_handler, seconds;
    char *error = NULL;
    int status;
    int nresults;

    outer_thread = deadline_enter(vm, co->L);
    vm->running = co;
    vm->overdue = vm->overdue || co->overdue;
    status = lua_resume(co->L, outer ? outer->L : NULL, nargs, &nresults);
    if (status != LUA_OK && !co->waiting) {
        error = take_failure(co, status);
        vm->starved += status == LUA_ERRMEM && vm->heap.refused && !vm->overdue;
        /* Runs <close> variables; not after the deadline: Lua leaves the hook
         * switched off behind an error that it raised. */
        if (!vm->overdue)
            lua_resetthread(co->L);
    }
    co->overdue = vm->overdue;
    vm->running = outer;
    seconds = deadline_leave(vm, outer_thread);
    if (seconds > 0)
        note_spent(vm, seconds);
    if (limit > 0 && seconds >= limit)
        tell_slow(co, seconds);
    if (!co->waiting)
        finish(co, error);
    if (vm->starved > 0 && !vm->running)
        vm_look_for_room(vm);
}

void coro_start(struct vm *vm, const char *what, lua_CFunction body, void *arg,
    const struct coro_client *client, coro_done_cb done, void *done_arg)
{
    struct coro *co = take(vm);

    if (!co) {
        if (done)
            done("not enough memory", done_arg);
        if (!vm->running)
            vm_look_for_room(vm);
        return;
    }
    co->number = ++vm->nstarted;
    co->what = what;
    co->has_client = client != NULL;
    if (client)
        co->client = *client;
    co->client.has_session = false;
    co->done = done;
    co->done_arg = done_arg;
    co->overdue = false;
    co->waiting = false;
    list_push_back(&vm->busy, &co->node);
    vm->nbusy++;
    vm->nclients += co->has_client;
    lua_pushcfunction(co->L, body);
    lua_pushlightuserdata(co->L, arg);
    resume(co, 1);
}

/* The outermost limit of co that has passed, or NULL. */
static const struct coro_limit *passed_limit(const struct coro *co)
{
    struct list *node;

    LIST_FOREACH (node, &co->limits) {
        const struct coro_limit *limit =
            LIST_ENTRY(node, struct coro_limit, node);

        if (limit->passed)
            return limit;
    }
    return NULL;
}

static int raise_passed(lua_State *L, const struct coro_limit *limit)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, limit->error_ref);
    return lua_error(L);
}

struct coro *coro_check(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const struct coro_limit *limit;
    const char *where = NULL;

    if (!vm->running)
        where = "the script is being loaded (wait in onWorkerStart)";
    else if (vm->running->L != L)
        where = "this is a coroutine of the script's own (coroutine.wrap or "
                "create); begin it with gwrun.spawn() or gwrun.parallel()";
    else if (!lua_isyieldable(L))
        where = "this is inside a metamethod, an iterator or a callback of "
                "sort or gsub";
    if (where)
        raised_error(L, "cannot wait here: %s", where);
    limit = passed_limit(vm->running);
    if (limit)
        raise_passed(L, limit);
    return vm->running;
}

void coro_explain_failure(lua_State *L, int status)
{
    struct vm *vm = vm_of(L);

    if (vm->overdue && deadline_error(vm)) {
        lua_pushstring(L, deadline_error(vm));
        lua_replace(L, -2);
    } else {
        vm->starved += status == LUA_ERRMEM && vm->heap.refused;
    }
}

lua_Integer coro_number(lua_State *L)
{
    const struct coro *co = vm_of(L)->running;

    return co ? co->number : 0;
}

struct coro_client *coro_client(lua_State *L)
{
    struct coro *co = vm_of(L)->running;

    return co && co->has_client && !co->client.nobody ? &co->client : NULL;
}

const char *coro_what(lua_State *L)
{
    const struct coro *co = vm_of(L)->running;

    return co ? co->what : NULL;
}

void *coro_done_arg(lua_State *L, coro_done_cb done)
{
    const struct coro *co = vm_of(L)->running;

    return co && co->done == done ? co->done_arg : NULL;
}

static int on_woken(lua_State *L, int status, lua_KContext ctx)
{
    const struct coro *co = (const struct coro *)ctx;

    return co->go_on(L, status, 0);
}

int coro_await(lua_State *L, struct coro *co, coro_cancel_cb cancel, void *op,
    lua_KFunction done)
{
    int status;

    assert(co == vm_of(L)->running && co->L == L);
    /* The operation runs already: an error must not leave it behind. */
    if (!lua_checkstack(L, 4)) {
        cancel(op);
        return luaL_error(L, "stack overflow");
    }
    lua_pushcfunction(L, session_flush);
    status = lua_pcall(L, 0, 0, 0);
    if (status != LUA_OK) {
        cancel(op);
        return lua_error(L);
    }
    co->cancel = cancel;
    co->op = op;
    co->go_on = done;
    co->waiting = true;
    return lua_yieldk(L, 0, (lua_KContext)co, on_woken);
}

void coro_wake(struct coro *co)
{
    assert(co->waiting);
    co->waiting = false;
    resume(co, 0);
}

/* In place of what would have continued the wait. */
static int cut_short(lua_State *L, int status, lua_KContext ctx)
{
    return raise_passed(L, passed_limit(vm_of(L)->running));
}

void coro_limit_begin(lua_State *L, struct coro *co, struct coro_limit *limit)
{
    limit->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    limit->co = co;
    limit->passed = false;
    list_init(&limit->node);
    list_push_back(&co->limits, &limit->node);
}

void coro_limit_end(struct coro_limit *limit)
{
    luaL_unref(limit->co->vm->L, LUA_REGISTRYINDEX, limit->error_ref);
    list_remove(&limit->node);
}

void coro_limit_pass(struct coro_limit *limit)
{
    struct coro *co = limit->co;

    limit->passed = true;
    if (!co->waiting)
        return;
    co->cancel(co->op);
    co->go_on = cut_short;
    coro_wake(co);
}

size_t coro_cancel(struct vm *vm, bool clients_only)
{
    struct list *node, *tmp;
    size_t count = 0;

    assert(!vm->running);
    LIST_FOREACH_SAFE (node, tmp, &vm->busy) {
        struct coro *co = LIST_ENTRY(node, struct coro, node);

        if (clients_only && !co->has_client)
            continue;
        co->cancel(co->op);
        leave_busy(co);
        drop(co);
        count++;
    }
    return count;
}

void coro_free_idle(struct vm *vm)
{
    while (!list_empty(&vm->idle)) {
        struct coro *co = LIST_ENTRY(vm->idle.next, struct coro, node);

        list_remove(&co->node);
        free(co);
    }
}
