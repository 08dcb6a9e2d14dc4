/* The piece runs in a coroutine like a handler, under a limit. It may outlive
 * who typed it: lconsole_leave() cuts its waits short and silences it. What
 * show() has of the console is a pointer that is cleared when the console is
 * freed. */
#include "lualib/lconsole.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "worker/coro.h"

struct lconsole {
    struct vm *vm; /* borrowed */
    const struct lconsole_ops *ops;
    void *arg; /* borrowed, handed to ops */
    const char *code;
    size_t len; /* both until it has begun */
    struct coro_limit limit;
    struct coro_hook at_end;
    struct lconsole **handle; /* what show() has of us: a userdata … */
    int handle_ref;           /* … that this keeps */
    size_t shown;             /* bytes */
    bool starting;            /* in lconsole_run() */
    bool ended, left;
};

static void end(struct lconsole *c, const char *error)
{
    c->ended = true;
    if (!c->left)
        c->ops->on_ended(error, c->arg);
    if (!c->starting)
        free(c);
}

/* show(text) -> false once its console is gone */
static int show(lua_State *L)
{
    struct lconsole **handle = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct lconsole *c = *handle;

    lua_pushboolean(L, c != NULL);
    if (!c || c->left)
        return 1;
    if (len > LCONSOLE_OUTPUT_MAX - c->shown) {
        lua_pushfstring(L, "more output than %d bytes", LCONSOLE_OUTPUT_MAX);
        return lua_error(L);
    }
    c->shown += len;
    c->ops->on_output(text, len, c->arg);
    return 1;
}

/* on_done() follows, unless the state is being closed. */
static void on_coro_end(struct coro_hook *hook)
{
    struct lconsole *c = LIST_ENTRY(hook, struct lconsole, at_end);

    coro_limit_end(&c->limit);
    if (c->handle) {
        *c->handle = NULL;
        luaL_unref(vm_state(c->vm), LUA_REGISTRYINDEX, c->handle_ref);
    }
    if (!vm_is_open(c->vm))
        end(c, "cut off: the script was replaced, or the worker stops");
}

static void on_done(const char *error, void *arg)
{
    end(arg, error);
}

static int on_returned(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

static void push_show(lua_State *L, struct lconsole *c)
{
    struct lconsole **handle = lua_newuserdatauv(L, sizeof(*handle), 0);

    *handle = c;
    lua_pushvalue(L, -1);
    c->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    c->handle = handle;
    lua_pushcclosure(L, show, 1);
}

/* The body of the coroutine; the console is at index 1. */
static int run_code(lua_State *L)
{
    struct lconsole *c = lua_touserdata(L, 1);
    struct coro *co = coro_check(L);
    const char *file =
        lua_pushfstring(L, "%s/gwrun/console.lua", vm_lua_dir(c->vm));

    lua_pushliteral(L, "the console is gone");
    coro_limit_begin(L, co, &c->limit);
    coro_at_end(co, &c->at_end);
    if (luaL_loadfilex(L, file, "t") != LUA_OK)
        return lua_error(L);
    push_show(L, c);
    lua_pushlstring(L, c->code, c->len);
    lua_callk(L, 2, 0, 0, on_returned);
    return 0;
}

struct lconsole *lconsole_run(struct vm *vm, const char *code, size_t len,
    const struct lconsole_ops *ops, void *arg)
{
    struct lconsole *c = xcalloc(1, sizeof(*c));

    c->vm = vm;
    c->ops = ops;
    c->arg = arg;
    c->code = code;
    c->len = len;
    c->at_end.run = on_coro_end;
    c->starting = true;
    coro_start(vm, "gwrun attach", run_code, c, NULL, on_done, c);
    c->starting = false;
    if (!c->ended)
        return c;
    free(c);
    return NULL;
}

void lconsole_leave(struct lconsole *c)
{
    c->left = true;
    coro_limit_pass(&c->limit);
}
