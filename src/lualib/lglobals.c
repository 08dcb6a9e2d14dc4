/* getmetatable and setmetatable, which send those of the globals to
 * lua/globals.lua and are Lua's own otherwise. Upvalues: the globals, what to
 * call for them. */
#include "lualib/lglobals.h"

#include <lauxlib.h>

#include "worker/vm.h"

#define GLOBALS_FILE "globals.lua"

/* Call the function for the globals with the nargs values on top. */
static int call_for_globals(lua_State *L, int nargs)
{
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, -nargs - 1);
    lua_call(L, nargs, 1);
    return 1;
}

static int get_metatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_rawequal(L, 1, lua_upvalueindex(1)))
        return call_for_globals(L, 0);
    if (!lua_getmetatable(L, 1))
        luaL_pushfail(L);
    else
        luaL_getmetafield(L, 1, "__metatable"); /* pushes nothing without one */
    return 1;
}

static int set_metatable(lua_State *L)
{
    int type = lua_type(L, 2);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(
        L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    lua_settop(L, 2);
    if (lua_rawequal(L, 1, lua_upvalueindex(1)))
        return call_for_globals(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* The Lua function on top becomes the upvalue of fn, which becomes the global.
 */
static void replace(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_pushglobaltable(L);
    lua_insert(L, -2);
    lua_pushcclosure(L, fn, 2);
    lua_setglobal(L, name);
}

void lglobals_open(lua_State *L)
{
    lua_pushfstring(L, "%s/" GLOBALS_FILE, vm_lua_dir(vm_of(L)));
    if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
    lua_call(L, 0, 2);
    replace(L, "setmetatable", set_metatable);
    replace(L, "getmetatable", get_metatable);
}
