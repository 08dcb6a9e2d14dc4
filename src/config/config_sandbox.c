/* What a configuration may use: no files, no processes, no endless loops that
 * hide behind pcall. And nothing that gives another result in another process:
 * each of them runs the text for itself, and all must agree on which gateway is
 * the third. Lua goes through a table in an order that changes with every
 * process; here pairs() sorts the keys, and math.random() begins alike. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "config/config_impl.h"

#define SEED_NAME "math.randomseed" /* of the text that keeps it */

/* Numbers come first, then strings, then all else. */
static int rank(lua_State *L, int index)
{
    int type = lua_type(L, index);

    return type == LUA_TNUMBER ? 0 : type == LUA_TSTRING ? 1 : 2;
}

/* a, b -> whether a comes before b */
static int compare_keys(lua_State *L)
{
    int a = rank(L, 1), b = rank(L, 2);

    lua_pushboolean(
        L, a != b ? a < b : a < 2 && lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

/* The next key that still has a value; upvalues: sorted keys, place of the last
 * one. */
static int next_sorted(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));

    do {
        lua_settop(L, 1);
        lua_rawgeti(L, lua_upvalueindex(1), ++i);
        if (lua_isnil(L, 2))
            return 1;
        lua_pushvalue(L, 2);
        lua_rawget(L, 1);
    } while (lua_isnil(L, 3));
    lua_pushinteger(L, i);
    lua_replace(L, lua_upvalueindex(2));
    return 2;
}

/* pairs(t); upvalue: table.sort */
static int sorted_pairs(lua_State *L)
{
    lua_Integer n = 0;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, 2, ++n);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_pushcfunction(L, compare_keys);
    lua_call(L, 2, 0);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_sorted, 2);
    lua_pushvalue(L, 1);
    return 2;
}

/* math.randomseed() with a number that the processes have from the first of
 * them; math is on top of the stack. */
static void seed_random(struct config_load *l, lua_State *L)
{
    const struct config_file *kept =
        config_file_find(l->memory->files, SEED_NAME);
    char text[24];
    uint64_t seed;

    if (!kept) {
        if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) < 0)
            seed = uv_hrtime();
        snprintf(text, sizeof(text), "%llu", (unsigned long long)(seed >> 1));
        kept =
            config_file_add(&l->memory->files, SEED_NAME, text, strlen(text));
    }
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, (lua_Integer)strtoull(kept->text, NULL, 10));
    lua_call(L, 1, 0);
}

void config_push_sandbox(struct config_load *l, lua_State *L)
{
    static const char *const base[] = {"assert", "error", "ipairs", "next",
        "select", "tonumber", "tostring", "type", NULL};

    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    lua_newtable(L);
    for (size_t i = 0; base[i]; i++) {
        lua_getglobal(L, base[i]);
        lua_setfield(L, -2, base[i]);
    }
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    lua_setfield(L, -2, LUA_STRLIBNAME);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    lua_getfield(L, -1, "sort");
    lua_pushcclosure(L, sorted_pairs, 1);
    lua_setfield(L, -3, "pairs");
    lua_setfield(L, -2, LUA_TABLIBNAME);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    seed_random(l, L);
    lua_setfield(L, -2, LUA_MATHLIBNAME);
    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 0);
    lua_newtable(L);
    lua_getfield(L, -2, "getenv");
    lua_setfield(L, -2, "getenv");
    lua_setfield(L, -3, LUA_OSLIBNAME);
    lua_pop(L, 1);
}
