#include "lualib/linit.h"

#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>

#include "lualib/lgateway.h"
#include "lualib/llog.h"
#include "lualib/lsession.h"
#include "lualib/ltimer.h"
#include "worker/vm.h"

int luaopen_cjson_safe(lua_State *L); /* lua-cjson.h leaves it out */

/* Known to require() without a file. */
static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Run a Lua file shipped with gwrun; its nargs arguments are on top. */
static void run_file(lua_State *L, const char *name, int nargs)
{
    const char *path = lua_pushfstring(L, "%s/%s", vm_lua_dir(vm_of(L)), name);

    if (luaL_loadfilex(L, path, "t") != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
    lua_insert(L, -nargs - 1);
    lua_call(L, nargs, 0);
}

void linit_open_libs(lua_State *L)
{
    luaL_openlibs(L);
    preload(L, "cjson", luaopen_cjson);
    preload(L, "cjson.safe", luaopen_cjson_safe);
    lua_register(L, "print", llog_print);
    llog_push(L);
    lua_setglobal(L, "Log");
    ltimer_push(L);
    lua_setglobal(L, "Timer");
    lgateway_push(L);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "Gateway");
    lquery_push(L);
    run_file(L, "gateway.lua", 2);
    run_file(L, "prelude.lua", 0);
    lsession_open(L);
}
