/* A sim as a userdata: its life, and the configuration that it is started with.
 * There is one at a time in a Lua state, because the log has one sink: a new
 * one closes the one before it. What else Lua can do with it is in
 * ltesting_roles.c, ltesting_clients.c and ltesting_scripts.c. */
#include "testing/ltesting.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "clients/apikeys.h"
#include "config/config.h"
#include "lualib/lcrypto.h"
#include "lualib/ljson.h"
#include "lualib/ltype.h"
#include "testing/coverage.h"
#include "testing/ltesting_impl.h"
#include "testing/sim.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#define LTESTING_TYPE "gwrun.testing.sim"
#define CURRENT_KEY   "gwrun.testing.current"
#define COVERAGE_KEY  "gwrun.testing.coverage"
#define CONFIG_NAME   "testing.start" /* in messages about the configuration */

struct ltesting *ltesting_check(lua_State *L)
{
    struct ltesting *t = luaL_checkudata(L, 1, LTESTING_TYPE);

    luaL_argcheck(L, t->sim != NULL, 1, "the app was stopped");
    t->script.test = L;
    return t;
}

size_t ltesting_check_number(lua_State *L, int arg, size_t count)
{
    lua_Integer n = luaL_checkinteger(L, arg);

    luaL_argcheck(
        L, n >= 1 && (size_t)n <= count, arg, "there is none of this number");
    return (size_t)n - 1;
}

int ltesting_fail(lua_State *L, const char *message)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    return 2;
}

static void free_texts(struct ltesting *t)
{
    for (size_t i = 0; i < t->nkinds; i++)
        free(t->texts[i]);
    free(t->texts);
    free(t->next);
    t->texts = NULL;
    t->next = NULL;
    t->nkinds = 0;
}

static void close_all(lua_State *L, struct ltesting *t)
{
    if (!t->sim)
        return;
    t->script.test = L;
    ltesting_clients_close(t);
    sim_free(t->sim);
    t->sim = NULL;
    log_set_sink(NULL, NULL);
    buf_fini(&t->log);
    free_texts(t);
    luaL_unref(L, LUA_REGISTRYINDEX, t->script.inbox);
}

/* sim:close() */
static int sim_lua_close(lua_State *L)
{
    close_all(L, luaL_checkudata(L, 1, LTESTING_TYPE));
    return 0;
}

static struct coverage *get_coverage(lua_State *L)
{
    struct coverage *c;

    lua_getfield(L, LUA_REGISTRYINDEX, COVERAGE_KEY);
    c = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return c;
}

/* coverage() -> path → set of lines that ran */
static int core_coverage(lua_State *L)
{
    coverage_push(get_coverage(L), L);
    return 1;
}

/* new(gateways) -> sim | nil, message. Closes the one before it. */
static int sim_lua_new(lua_State *L)
{
    lua_Integer gateways = luaL_checkinteger(L, 1);
    char err[SIM_ERR_SIZE];
    struct ltesting *t;
    int ready;

    luaL_argcheck(L, gateways >= 1 && gateways <= CONFIG_GATEWAYS_MAX, 1,
        "a number of gateways expected");
    if (lua_getfield(L, LUA_REGISTRYINDEX, CURRENT_KEY) != LUA_TNIL)
        close_all(L, lua_touserdata(L, -1));
    t = lua_newuserdatauv(L, sizeof(*t), 0);
    memset(t, 0, sizeof(*t));
    luaL_setmetatable(L, LTESTING_TYPE);
    list_init(&t->script.states);
    list_init(&t->script.asks);
    t->script.coverage = get_coverage(L);
    lua_newtable(L);
    t->script.inbox = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, CURRENT_KEY);
    ready = ltesting_clients_open(t);
    if (ready < 0)
        return ltesting_fail(L, strerror(-ready));
    t->sim = sim_new((size_t)gateways, err);
    if (!t->sim) {
        ltesting_clients_close(t);
        return ltesting_fail(L, err);
    }
    log_set_sink(ltesting_scripts_on_log, t);
    return 1;
}

/* sim:ports() -> the register's, a list of { clients, inner } */
static int sim_lua_ports(lua_State *L)
{
    const struct sim *s = ltesting_check(L)->sim;

    lua_pushinteger(L, sim_register_port(s));
    lua_createtable(L, (int)sim_gateways(s), 0);
    for (size_t i = 0; i < sim_gateways(s); i++) {
        lua_createtable(L, 2, 0);
        lua_pushinteger(L, sim_client_port(s, i));
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, sim_inner_port(s, i));
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* sim:show_port(i, port): before start() */
static int sim_lua_show_port(lua_State *L)
{
    struct sim *s = ltesting_check(L)->sim;

    sim_show_port(s, ltesting_check_number(L, 2, sim_gateways(s)),
        (uint16_t)luaL_checkinteger(L, 3));
    return 0;
}

/* The scripts that are texts, from the list at index texts, in which a script
 * that is in a file is false. */
static void take_texts(
    lua_State *L, int texts, struct ltesting *t, struct config *c)
{
    t->nkinds = c->nworkers;
    t->texts = xcalloc(t->nkinds + 1, sizeof(*t->texts));
    for (size_t i = 0; i < t->nkinds; i++) {
        struct worker_conf *conf = &c->workers[i].conf;

        conf->open_libs = lscript_open_libs;
        conf->slow_handler = 0; /* its clock is not the real one */
        conf->engine = NULL;    /* there is no network */
        conf->loopback_ip = 0;
        if (lua_rawgeti(L, texts, (lua_Integer)i + 1) == LUA_TSTRING) {
            t->texts[i] = xstrdup(lua_tostring(L, -1));
            conf->script_text = t->texts[i];
            conf->script = "script.lua";
        }
        lua_pop(L, 1);
    }
    for (size_t i = 0; i < c->ngateways; i++) {
        c->gateways[i].conf.engine = NULL;
        c->gateways[i].conf.id_ip = 0;
    }
    for (size_t i = 0; i < c->nprograms; i++) {
        c->programs[i].conf.open_libs = lscript_open_libs;
        c->programs[i].conf.loopback_ip = 0;
    }
}

/* sim:start(configuration, wall, texts) -> true | nil, message */
static int sim_lua_start(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    const char *source = luaL_checkstring(L, 2);
    double wall = luaL_checknumber(L, 3);
    char err[SIM_ERR_SIZE];
    char *message = NULL;
    struct config c;

    luaL_checktype(L, 4, LUA_TTABLE);
    if (config_load(&c, CONFIG_NAME, source, &message) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, message);
        free(message);
        return 2;
    }
    take_texts(L, 4, t, &c);
    if (sim_start(t->sim, &c, wall, &t->script, err) < 0)
        return ltesting_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* All calls of the push API, as a line of its file of keys has them. */
static void push_api_calls(lua_State *L)
{
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    for (const char *const *call = apikeys_calls(); *call; call++) {
        luaL_addstring(&b, *call);
        luaL_addchar(&b, ',');
    }
    luaL_pushresult(&b);
}

static int open_core(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"close", sim_lua_close},
        {"ports", sim_lua_ports},
        {"show_port", sim_lua_show_port},
        {"start", sim_lua_start},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"coverage", core_coverage},
        {"new", sim_lua_new},
        {NULL, NULL},
    };

    ltype_register(L, LTESTING_TYPE, sim_lua_close, methods);
    luaL_getmetatable(L, LTESTING_TYPE);
    lua_getfield(L, -1, "__index");
    luaL_setfuncs(L, ltesting_roles, 0);
    luaL_setfuncs(L, ltesting_clients, 0);
    luaL_setfuncs(L, ltesting_scripts, 0);
    lua_pop(L, 2);
    luaL_newlib(L, functions);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setfield(L, -2, "log");
    push_api_calls(L);
    lua_setfield(L, -2, "api_calls");
    return 1;
}

static int open_json(lua_State *L)
{
    ljson_push(L);
    return 1;
}

static int open_crypto_core(lua_State *L)
{
    lcrypto_push_quick(L);
    return 1;
}

void ltesting_preload(lua_State *L, struct coverage *coverage, bool log)
{
    lua_pushlightuserdata(L, coverage);
    lua_setfield(L, LUA_REGISTRYINDEX, COVERAGE_KEY);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushboolean(L, log);
    lua_pushcclosure(L, open_core, 1);
    lua_setfield(L, -2, "gwrun.testing.core");
    lua_pushcfunction(L, open_json);
    lua_setfield(L, -2, "gwrun.json");
    lua_pushcfunction(L, open_crypto_core);
    lua_setfield(L, -2, "gwrun.testing.crypto");
    lua_pop(L, 1);
}
