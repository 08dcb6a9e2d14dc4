/* The order counts: each module finds what it needs, and last comes what takes
 * away from scripts what is not for them. The C core of a module whose other
 * half is in Lua is handed to that as an argument, out of scripts' reach. */
#include "lualib/linit.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "lualib/lcrypto.h"
#include "lualib/lgateway.h"
#include "lualib/lglobals.h"
#include "lualib/lhandshake.h"
#include "lualib/lhttp.h"
#include "lualib/ljson.h"
#include "lualib/llimit.h"
#include "lualib/llog.h"
#include "lualib/lmetrics.h"
#include "lualib/lmysql.h"
#include "lualib/lredis.h"
#include "lualib/lrequest.h"
#include "lualib/lsession.h"
#include "lualib/lshared.h"
#include "lualib/lsocket.h"
#include "lualib/lspawn.h"
#include "lualib/ltimer.h"
#include "lualib/lwebsocket.h"
#include "worker/program.h"
#include "worker/sources.h"
#include "worker/vm.h"

int luaopen_cjson_safe(lua_State *L); /* lua-cjson.h leaves it out */

#define TEXTS  "gwrun.texts"  /* in the registry: texts of files, by name … */
#define COMMON "gwrun.common" /* … and what gwrun's modules share */

/* Known to require() without a file. */
static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Push the text of a Lua file shipped with gwrun. Nothing raises while the file
 * is open. */
static void push_text(lua_State *L, const char *path)
{
    struct stat st = {0};
    size_t len = stat(path, &st) == 0 ? (size_t)st.st_size : 0;
    char *text = lua_newuserdatauv(L, len + 1, 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, len + 1);
    int err = n < 0 ? errno : EAGAIN;

    if (fd >= 0)
        close(fd);
    if (n < 0 || (size_t)n != len) /* it is being written just now */
        luaL_error(L, "cannot read %s: %s", path, strerror(err));
    lua_pushlstring(L, text, len);
    lua_remove(L, -2);
}

/* Keep the text of a file that is run when a script first needs it: a file of
 * another version may be there by then. */
static void keep_file(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, TEXTS);
    push_text(L, lua_pushfstring(L, "%s/%s", vm_lua_dir(vm_of(L)), name));
    lua_setfield(L, -3, name);
    lua_pop(L, 2);
}

/* Run a Lua file shipped with gwrun, as it was kept or as it is now; its nargs
 * arguments are on top, and its nresults results afterwards. */
static void run_file(lua_State *L, const char *name, int nargs, int nresults)
{
    const char *path = lua_pushfstring(L, "@%s/%s", vm_lua_dir(vm_of(L)), name);
    const char *text;
    size_t len;

    luaL_getsubtable(L, LUA_REGISTRYINDEX, TEXTS);
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        push_text(L, path + 1);
    }
    text = lua_tolstring(L, -1, &len);
    if (luaL_loadbufferx(L, text, len, path, "t") != LUA_OK)
        lua_error(L);
    lua_insert(L, -nargs - 4);
    lua_pop(L, 3);
    lua_call(L, nargs, nresults);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, TEXTS);
    lua_pushnil(L);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* The value on top is what require(name) returns; popped. */
static void set_loaded(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* The core of lua/gwrun/<file>.lua; nil when it needs none. */
static void push_core_of(
    lua_State *L, const char *file, void (*push_core)(lua_State *L))
{
    char name[64];

    snprintf(name, sizeof(name), LINIT_CORE "%s", file);
    if (lua_getfield(L, LUA_REGISTRYINDEX, name) != LUA_TNIL || !push_core)
        return;
    lua_pop(L, 1);
    push_core(L);
}

/* lua/gwrun/<file>.lua makes a module of its core (which may be NULL): require
 * "gwrun.<file>", and a global if it has a name for it. */
static void open_module(lua_State *L, void (*push_core)(lua_State *L),
    const char *file, const char *global)
{
    char name[64];

    push_core_of(L, file, push_core);
    snprintf(name, sizeof(name), "gwrun/%s.lua", file);
    run_file(L, name, 1, 1);
    if (global) {
        lua_pushvalue(L, -1);
        lua_setglobal(L, global);
    }
    snprintf(name, sizeof(name), "gwrun.%s", file);
    set_loaded(L, name);
}

static void push_async_core(lua_State *L)
{
    lspawn_push(L);
    llimit_add(L);
}

/* What gwrun's modules share: scripts may have put something else in the place
 * of such a module before a file that needs it is run. */
static void open_common(lua_State *L)
{
    static const char *const names[] = {"raise", "async", "json", "crypto"};

    luaL_getsubtable(L, LUA_REGISTRYINDEX, COMMON);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *name = lua_pushfstring(L, "gwrun.%s", names[i]);

        lua_getfield(L, -2, name);
        lua_setfield(L, -4, names[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

static void push_common(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, COMMON);
}

/* What onRequest gets has methods of its own; it is no module. */
static int load_request_methods(lua_State *L)
{
    lrequest_push_core(L);
    push_common(L);
    run_file(L, "gwrun/request.lua", 2, 1);
    return 1;
}

/* Its upvalue is the table Gateway as gwrun made it. */
static int load_api(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    push_common(L);
    run_file(L, "gwrun/api.lua", 2, 1);
    return 1;
}

/* Most scripts have no onRequest, and few gateways a push API. */
static void open_requests(lua_State *L)
{
    keep_file(L, "gwrun/request.lua");
    lua_pushcfunction(L, load_request_methods);
    lrequest_open(L);
    keep_file(L, "gwrun/api.lua");
    lua_getglobal(L, "Gateway");
    lua_pushcclosure(L, load_api, 1);
    lrequest_set_api(L);
}

/* Modules that most scripts do without: their files are read when a script
 * looks into the table of that name, or changes it. */
static const struct lazy {
    const char *file, *global;
    void (*push_core)(lua_State *L);
    const char *const *parts; /* further files, NULL behind them; or NULL */
} lazy_modules[] = {
    {"http", "Http", lhttp_push, NULL},
    {"mysql", "Mysql", lmysql_push, NULL},
    {"redis", "Redis", lredis_push,
        (const char *const[]){"redis_commands", "redis_server", "redis_cluster",
            "redis_nodes", "redis_keys", "redis_subscription", "redis_options",
            NULL}},
    {"socket", "Socket", lsocket_push, NULL},
    {"websocket", "Websocket", lwebsocket_push, NULL},
};

static void name_file(char out[64], const char *file)
{
    snprintf(out, 64, "gwrun/%s.lua", file);
}

/* part(file, …): run a further file of a module, once, with the arguments. */
static int run_part(lua_State *L)
{
    char name[64];

    name_file(name, luaL_checkstring(L, 1));
    run_file(L, name, lua_gettop(L) - 1, 1);
    return 1;
}

/* fill(lazy, table): run the file, with its core, with what gwrun's modules
 * share, with the table and with part(). */
static int fill(lua_State *L)
{
    const struct lazy *m = lua_touserdata(L, 1);
    char name[64];

    push_core_of(L, m->file, m->push_core);
    push_common(L);
    lua_pushvalue(L, 2);
    lua_pushcfunction(L, run_part);
    name_file(name, m->file);
    run_file(L, name, 4, 0);
    return 0;
}

static void clear(lua_State *L, int table)
{
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, table);
    }
}

/* Fill the table that is the first argument of the running metamethod, whose
 * upvalue is the struct lazy. When that fails (memory is out, the handler's
 * time is over) the table is empty, and is filled the next time. */
static void fill_now(lua_State *L)
{
    lua_getmetatable(L, 1);
    lua_pushnil(L);
    lua_setmetatable(L, 1);
    lua_pushcfunction(L, fill);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        clear(L, 1);
        lua_insert(L, -2);
        lua_setmetatable(L, 1);
        lua_error(L);
    }
    lua_pop(L, 1);
}

static int lazy_index(lua_State *L)
{
    fill_now(L);
    lua_rawget(L, 1);
    return 1;
}

static int lazy_newindex(lua_State *L)
{
    fill_now(L);
    lua_rawset(L, 1);
    return 0;
}

static int next(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int lazy_pairs(lua_State *L)
{
    fill_now(L);
    lua_pushcfunction(L, next);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* Open a module as an empty table that fills itself. */
static void open_lazy(lua_State *L, const struct lazy *m)
{
    static const luaL_Reg metamethods[] = {
        {"__index", lazy_index},
        {"__newindex", lazy_newindex},
        {"__pairs", lazy_pairs},
        {NULL, NULL},
    };
    char name[64];

    name_file(name, m->file);
    keep_file(L, name);
    for (const char *const *part = m->parts; part && *part; part++) {
        name_file(name, *part);
        keep_file(L, name);
    }
    lua_newtable(L);
    lua_createtable(L, 0, 4);
    lua_pushlightuserdata(L, (void *)m);
    luaL_setfuncs(L, metamethods, 1);
    lua_pushstring(L, m->global);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_setglobal(L, m->global);
    snprintf(name, sizeof(name), "gwrun.%s", m->file);
    set_loaded(L, name);
}

static int load_jwt(lua_State *L)
{
    push_common(L);
    run_file(L, "gwrun/jwt.lua", 1, 1);
    return 1;
}

static int load_routes(lua_State *L)
{
    push_common(L);
    run_file(L, "gwrun/routes.lua", 1, 1);
    return 1;
}

static int load_metrics(lua_State *L)
{
    lmetrics_push(L);
    push_common(L);
    run_file(L, "gwrun/metrics.lua", 2, 1);
    return 1;
}

/* Modules whose files are run when they are required. */
static void open_preloaded(lua_State *L)
{
    preload(L, "gwrun.jwt", load_jwt);
    preload(L, "gwrun.routes", load_routes);
    preload(L, "gwrun.metrics", load_metrics);
    keep_file(L, "gwrun/jwt.lua");
    keep_file(L, "gwrun/routes.lua");
    keep_file(L, "gwrun/metrics.lua");
}

static void open_modules(lua_State *L)
{
    lua_getglobal(L, "Log");
    set_loaded(L, "gwrun.log");
    ljson_push(L);
    set_loaded(L, "gwrun.json");
    open_module(L, push_async_core, "async", "gwrun");
    open_module(L, NULL, "cron", NULL);
    lshared_push(L);
    set_loaded(L, "gwrun.shared");
    open_module(L, lcrypto_push, "crypto", NULL);
    open_common(L);
    for (size_t i = 0; i < sizeof(lazy_modules) / sizeof(lazy_modules[0]); i++)
        open_lazy(L, &lazy_modules[i]);
    open_preloaded(L);
    open_requests(L);
}

/* What gwrun's modules share is theirs: require() of a script does not find it,
 * but may find a file of the script's own under that name. */
static void hide_parts(lua_State *L)
{
    static const char *const parts[] = {
        "gwrun.async", "gwrun.cron", "gwrun.raise"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        lua_pushnil(L);
        set_loaded(L, parts[i]);
    }
}

/* os.exit(code = true) of a program */
static int exit_program(lua_State *L)
{
    int status = lua_isboolean(L, 1) ? !lua_toboolean(L, 1)
                                     : (int)luaL_optinteger(L, 1, 0);

    return program_exit(L, status);
}

/* What is not for scripts is taken away. */
static void run_prelude(lua_State *L, const struct vm *vm)
{
    if (vm_is_program(vm))
        lua_pushcfunction(L, exit_program);
    else
        lua_pushnil(L);
    lua_pushboolean(L, vm_has_system(vm));
    lua_pushcfunction(L, sources_loadfile);
    lua_pushcfunction(L, sources_has);
    run_file(L, "prelude.lua", 4, 0);
}

/* Lua seeds with the time and an address, and both are the same in two workers
 * that one program began at once. */
static void seed_random(lua_State *L)
{
    lua_Integer seed[2];
    int err = uv_random(NULL, NULL, seed, sizeof(seed), 0, NULL);

    if (err < 0)
        luaL_error(L, "no random numbers: %s", uv_strerror(err));
    lua_getglobal(L, LUA_MATHLIBNAME);
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, seed[0]);
    lua_pushinteger(L, seed[1]);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
}

void linit_open_libs(lua_State *L)
{
    const struct vm *vm = vm_of(L);

    luaL_openlibs(L);
    preload(L, "cjson", luaopen_cjson);
    preload(L, "cjson.safe", luaopen_cjson_safe);
    if (!vm_is_program(vm) || vm_conf(vm)->supervised)
        lua_register(L, "print", llog_print);
    llog_push(L);
    lua_setglobal(L, "Log");
    ltimer_push(L);
    lua_setglobal(L, "Timer");
    open_module(L, NULL, "raise", NULL);
    lgateway_push(L);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "Gateway");
    lquery_push(L);
    run_file(L, "gateway.lua", 2, 0);
    open_modules(L);
    hide_parts(L);
    run_prelude(L, vm);
    lsession_open(L);
    lhandshake_open(L);
    lglobals_open(L);
    seed_random(L);
}
