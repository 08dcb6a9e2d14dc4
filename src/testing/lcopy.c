/* Both states may run out of memory: what is taken is put onto the target's
 * stack value by value, and an error is the target's. Nothing of one state is
 * left in the other. */
#include "testing/lcopy.h"

#include <lauxlib.h>

static void copy(lua_State *to, lua_State *from, int index, int depth);

static void copy_table(lua_State *to, lua_State *from, int index, int depth)
{
    if (depth == LCOPY_DEPTH_MAX)
        luaL_error(to, "a table nested in itself, or too deeply, cannot be "
                       "handed over between test and script");
    lua_newtable(to);
    lua_pushnil(from);
    while (lua_next(from, index)) {
        int value = lua_gettop(from);

        copy(to, from, value - 1, depth + 1);
        copy(to, from, value, depth + 1);
        lua_rawset(to, -3);
        lua_settop(from, value - 1);
    }
}

static void copy(lua_State *to, lua_State *from, int index, int depth)
{
    int type = lua_type(from, index);
    const char *text;
    size_t len;

    luaL_checkstack(to, 4, "copy");
    if (!lua_checkstack(from, 4))
        luaL_error(to, "not enough memory");
    if (type == LUA_TNIL || type == LUA_TNONE) {
        lua_pushnil(to);
    } else if (type == LUA_TBOOLEAN) {
        lua_pushboolean(to, lua_toboolean(from, index));
    } else if (type == LUA_TNUMBER && lua_isinteger(from, index)) {
        lua_pushinteger(to, lua_tointeger(from, index));
    } else if (type == LUA_TNUMBER) {
        lua_pushnumber(to, lua_tonumber(from, index));
    } else if (type == LUA_TSTRING) {
        text = lua_tolstring(from, index, &len);
        lua_pushlstring(to, text, len);
    } else if (type == LUA_TTABLE) {
        copy_table(to, from, index, depth);
    } else if (type == LUA_TLIGHTUSERDATA && !lua_touserdata(from, index)) {
        lua_pushlightuserdata(to, NULL); /* cjson.null */
    } else {
        luaL_error(to, "a %s cannot be handed over between test and script",
            lua_typename(to, type));
    }
}

void lcopy_values(lua_State *to, lua_State *from, int first, int count)
{
    for (int i = 0; i < count; i++)
        copy(to, from, first + i, 0);
}
