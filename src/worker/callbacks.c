/* The script's table of callbacks. */
#include <lauxlib.h>
#include <string.h>

#include "worker/gateways_impl.h"
#include "worker/vm_impl.h"

static const char *const names[] = {"onWorkerStart", "onHandshake", "onRequest",
    "onConnect", "onWebSocketConnect", "onMessage", "onClientBound", "onClose",
    "onWorkerStop", "onError", "onCellGone", "onClusterGap", NULL};

/* Those that gateways must know of. */
static const struct {
    const char *name;
    enum gateways_callback callback;
} told[] = {
    {"onHandshake", GATEWAYS_DECIDES},
    {"onRequest", GATEWAYS_ANSWERS},
    {"onClientBound", GATEWAYS_BINDS},
};

static unsigned told_of(const char *name)
{
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (strcmp(told[i].name, name) == 0)
            return told[i].callback;
    return 0;
}

/* Those that this worker must know of. */
static void note_own(struct vm *vm, const char *name)
{
    if (strcmp(name, "onError") == 0)
        vm->complains = true;
    else if (strcmp(name, "onCellGone") == 0)
        vm->wants_gone = true;
    else if (strcmp(name, "onClusterGap") == 0)
        vm->wants_gap = true;
}

static int fail(lua_State *L, const char *what, const char *got)
{
    const struct worker_conf *conf = vm_of(L)->env.conf;

    return luaL_error(L,
        "%s: %s is %s; define %s = {} with at least function "
        "%s.onMessage(client_id, message) in this script",
        conf->script, what, got, conf->event_handler, conf->event_handler);
}

void callbacks_check(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *handler = vm->env.conf->event_handler;
    bool any = false;

    if (vm->env.conf->inspect)
        vm->env.conf->inspect(L, names);
    if (lua_getglobal(L, handler) != LUA_TTABLE) {
        const char *got = lua_isnil(L, -1) ? "missing" : "not a table";

        fail(L, lua_pushfstring(L, "the global \"%s\"", handler), got);
    }
    for (const char *const *name = names; *name; name++) {
        int type = lua_getfield(L, -1, *name);

        if (type != LUA_TFUNCTION && type != LUA_TNIL)
            luaL_error(L, "%s: %s.%s is a %s, it must be a function",
                vm->env.conf->script, handler, *name, lua_typename(L, type));
        any = any || type == LUA_TFUNCTION;
        if (type == LUA_TFUNCTION)
            vm->callbacks |= told_of(*name);
        if (type == LUA_TFUNCTION)
            note_own(vm, *name);
        lua_pop(L, 1);
    }
    if (!any)
        fail(L, lua_pushfstring(L, "the table \"%s\"", handler),
            "without a callback");
    vm->events_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

bool callbacks_push(lua_State *L, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->events_ref);
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 2);
        return false;
    }
    lua_replace(L, -2);
    return true;
}

/* A handler that gwrun.routes made says nothing about the script. */
static bool is_ours(lua_State *L, const char *source)
{
    const char *dir = vm_lua_dir(vm_of(L));

    return source[0] == '@' && strncmp(source + 1, dir, strlen(dir)) == 0;
}

int callbacks_raise(lua_State *L, const char *name, const char *what)
{
    lua_Debug ar = {.linedefined = 0};

    if (callbacks_push(L, name) && lua_isfunction(L, -1))
        lua_getinfo(L, ">S", &ar);
    if (ar.linedefined > 0 && !is_ours(L, ar.source))
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.linedefined);
    else
        lua_pushliteral(L, "");
    lua_pushfstring(L, "%s %s", name, what);
    lua_concat(L, 2);
    return lua_error(L);
}
