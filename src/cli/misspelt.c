/* What is misspelt is found by lua/gwrun/misspelt.lua. */
#include "cli/misspelt.h"

#include <lauxlib.h>
#include <stdio.h>

#include "util/typos.h"
#include "worker/vm.h"
#include "worker/worker.h"

/* similar(word, list) -> the word of the list that was meant, or nil */
static int find_similar(lua_State *L)
{
    const char *word = luaL_checkstring(L, 1);
    size_t fewest = TYPOS_MAX + 1;

    lua_settop(L, 2);
    lua_pushnil(L);
    for (lua_Integer i = 1; lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
        size_t typos = typos_count(word, lua_tostring(L, -1));

        if (typos >= fewest) {
            lua_pop(L, 1);
            continue;
        }
        fewest = typos;
        lua_replace(L, 3);
    }
    lua_settop(L, 3);
    return 1;
}

/* warn(text) */
static int warn(lua_State *L)
{
    fprintf(stderr, "warning: %s\n", luaL_checkstring(L, 1));
    return 0;
}

void misspelt_warn(lua_State *L, const char *const *callbacks)
{
    const struct vm *vm = vm_of(L);
    int top = lua_gettop(L);

    lua_pushfstring(L, "%s/gwrun/misspelt.lua", vm_lua_dir(vm));
    if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK)
        lua_error(L);
    lua_pushstring(L, vm_conf(vm)->script);
    lua_pushstring(L, vm_conf(vm)->event_handler);
    lua_newtable(L);
    for (lua_Integer i = 0; callbacks[i]; i++) {
        lua_pushstring(L, callbacks[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, find_similar);
    lua_pushcfunction(L, warn);
    lua_call(L, 5, 0);
    lua_settop(L, top);
}
