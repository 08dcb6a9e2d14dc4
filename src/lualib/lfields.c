/* Reading what a Lua half of ours has put together. */
#include "lualib/lfields.h"

#include <lauxlib.h>

#include "worker/raised.h"

const char *lfields_string(lua_State *L, const char *name, size_t *len)
{
    lua_getfield(L, 1, name);
    return luaL_optlstring(L, -1, NULL, len);
}

double lfields_number(lua_State *L, const char *name)
{
    double n;

    lua_getfield(L, 1, name);
    n = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    return n;
}

uint64_t lfields_ms(lua_State *L, const char *name)
{
    return (uint64_t)(lfields_number(L, name) * 1000 + 0.5);
}

bool lfields_flag(lua_State *L, const char *name)
{
    bool is;

    lua_getfield(L, 1, name);
    is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

size_t lfields_strings(
    lua_State *L, const char *name, size_t max, const char *const **out)
{
    const char **list;
    lua_Integer count;
    int table;

    lua_getfield(L, 1, name);
    luaL_checktype(L, -1, LUA_TTABLE);
    table = lua_gettop(L);
    count = luaL_len(L, table);
    if (count < 0 || (size_t)count > max)
        raised_error(L, "more than %d %s", (int)max, name);
    luaL_checkstack(L, (int)count + 8, NULL);
    list = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof(*list), 0);
    for (lua_Integer i = 0; i < count; i++) {
        lua_geti(L, table, i + 1);
        list[i] = luaL_checkstring(L, -1);
    }
    *out = list;
    return (size_t)count;
}
