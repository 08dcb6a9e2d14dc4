/* A gateway group's router that the configuration gives as a Lua function. */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "config/config_impl.h"
#include "util/log.h"

#define STEPS_MAX          1000000     /* instructions of one choice */
#define COMPLAINT_INTERVAL 1000000000U /* nanoseconds between lines */

struct config_router {
    lua_State *L;     /* borrowed from the configuration's memory */
    const char *path; /* borrowed from it, too */
    int function;     /* in the registry */
    uint64_t last_complaint;
    uint64_t failures; /* since then */
};

struct choice {
    const struct config_router *router; /* all borrowed */
    const struct gateway_candidate *workers;
    size_t count; /* of workers */
    const struct gateway_newcomer *client;
    int place; /* result; -1: the function leaves it to the gateway */
};

/* Again at each further instruction, should the function catch it. */
static void on_too_long(lua_State *L, lua_Debug *ar)
{
    lua_sethook(L, on_too_long, LUA_MASKCOUNT, 1);
    luaL_where(L, 0);
    lua_pushfstring(L, "router still running after %d steps", STEPS_MAX);
    lua_concat(L, 2);
    lua_error(L);
}

static void push_workers(lua_State *L, const struct choice *choice)
{
    lua_createtable(L, (int)choice->count, 0);
    for (size_t i = 0; i < choice->count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, choice->workers[i].key);
        lua_setfield(L, -2, "key");
        lua_pushinteger(L, (lua_Integer)choice->workers[i].clients);
        lua_setfield(L, -2, "clients");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_client(lua_State *L, const struct gateway_newcomer *client)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, client->remote_addr);
    lua_setfield(L, -2, "remote_addr");
    lua_pushinteger(L, client->remote_port);
    lua_setfield(L, -2, "remote_port");
    lua_pushinteger(L, client->gateway_port);
    lua_setfield(L, -2, "gateway_port");
    if (client->uid) {
        lua_pushlstring(L, client->uid, client->uid_len);
        lua_setfield(L, -2, "uid");
    }
}

/* The place of the worker that the value on top of the stack names, or -1 for
 * nil. Raises when it names none. */
static int read_place(lua_State *L, const struct choice *choice)
{
    char shown[CONFIG_SHOW_SIZE];

    if (lua_isnil(L, -1))
        return -1;
    if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 &&
        (lua_Unsigned)lua_tointeger(L, -1) <= choice->count)
        return (int)lua_tointeger(L, -1) - 1;
    if (lua_type(L, -1) == LUA_TSTRING) {
        for (size_t i = 0; i < choice->count; i++)
            if (strcmp(choice->workers[i].key, lua_tostring(L, -1)) == 0)
                return (int)i;
    }
    return luaL_error(L,
        "router returns %s; return the key of a worker in the list, or its "
        "place from 1 to %d",
        config_show(shown, L, -1), (int)choice->count);
}

/* Protected: call the function. */
static int run_choice(lua_State *L)
{
    struct choice *choice = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, choice->router->function);
    push_workers(L, choice);
    push_client(L, choice->client);
    lua_sethook(L, on_too_long, LUA_MASKCOUNT, STEPS_MAX);
    lua_call(L, 2, 1);
    lua_sethook(L, NULL, 0, 0);
    choice->place = read_place(L, choice);
    return 0;
}

/* A function that fails does so for every client: one line a second. */
static void complain(struct config_router *router)
{
    uint64_t now = uv_hrtime();
    char quoted[LOG_QUOTE_SIZE];
    char *message;

    router->failures++;
    if (router->last_complaint != 0 &&
        now - router->last_complaint < COMPLAINT_INTERVAL)
        return;
    message = config_lua_message(router->L, router->path);
    log_error("router function failed, least clients chosen count=%llu "
              "error=%s",
        (unsigned long long)router->failures,
        log_quote(quoted, message, strlen(message)));
    free(message);
    router->last_complaint = now;
    router->failures = 0;
}

static int choose(const struct gateway_candidate *workers, size_t count,
    const struct gateway_newcomer *client, void *arg)
{
    struct config_router *router = arg;
    struct choice choice = {.router = router,
        .workers = workers,
        .count = count,
        .client = client,
        .place = -1};

    lua_pushcfunction(router->L, run_choice);
    lua_pushlightuserdata(router->L, &choice);
    if (lua_pcall(router->L, 1, 0, 0) != LUA_OK) {
        lua_sethook(router->L, NULL, 0, 0);
        complain(router);
        choice.place = -1;
    }
    lua_settop(router->L, 0);
    return choice.place;
}

void config_router_take(struct config_load *l, lua_State *L, void *base)
{
    struct config_gateway *gateway = base;
    struct config_router *router = config_alloc(l->memory, sizeof(*router));

    lua_pushvalue(L, -1);
    router->function = luaL_ref(L, LUA_REGISTRYINDEX);
    router->L = L;
    router->path = l->c.path;
    gateway->conf.router = GATEWAY_ROUTER_FUNCTION;
    gateway->conf.choose = choose;
    gateway->conf.choose_arg = router;
    l->has_functions = true;
}
