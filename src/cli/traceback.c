/* What to show of an error is said by lua/gwrun/traceback.lua, in a Lua state
 * that lives as long as the call: the script's own may be what has failed. Here
 * is what Lua cannot do: to tell a file from a device before it is read, and
 * characters that are plain from others. */
#include "cli/traceback.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/utf8.h"

/* Copy text to out, which has room for as much; what is not plain, but for tabs
 * and newlines, becomes "?". Returns the length of what there is now. */
static size_t copy_plain(char *out, const char *text, size_t len)
{
    char *end = out;

    while (len > 0) {
        size_t n = utf8_plain_len((const uint8_t *)text, len);

        if (n == 0 && *text != '\t' && *text != '\n')
            *end++ = '?';
        else
            end = mempcpy(end, text, n ? n : 1);
        text += n ? n : 1;
        len -= n ? n : 1;
    }
    return (size_t)(end - out);
}

/* plain(text) -> text */
static int plain(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, len);

    luaL_pushresultsize(&b, copy_plain(out, text, len));
    return 1;
}

/* read(path) -> text | nil: there is no such file, or it is none to show */
static int read_file(lua_State *L)
{
    FILE *file = fopen(luaL_checkstring(L, 1), "re");
    struct stat st;
    luaL_Buffer b;
    size_t size;

    if (!file)
        return 0;
    if (fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode) ||
        st.st_size > TRACEBACK_FILE_MAX) {
        fclose(file);
        return 0;
    }
    size = (size_t)st.st_size;
    size = fread(luaL_buffinitsize(L, &b, size), 1, size, file);
    fclose(file);
    luaL_pushresultsize(&b, size);
    return 1;
}

/* (error, style) -> text */
static int show(lua_State *L)
{
    const char *error = lua_touserdata(L, 1);
    const struct traceback_style *style = lua_touserdata(L, 2);

    luaL_openlibs(L);
    lua_pushfstring(L, "%s/gwrun/traceback.lua", style->lua_dir);
    if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "show");
    lua_pushstring(L, error);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, style->lua_dir);
    lua_setfield(L, -2, "lua_dir");
    lua_pushstring(L, style->script);
    lua_setfield(L, -2, "script");
    lua_pushboolean(L, style->color);
    lua_setfield(L, -2, "color");
    lua_pushcfunction(L, read_file);
    lua_pushcfunction(L, plain);
    lua_call(L, 4, 1);
    luaL_checkstring(L, -1);
    return 1;
}

/* Without a Lua half that works: all of it, as it is. */
static char *show_raw(const char *error)
{
    size_t len = strlen(error);
    char *text = xcalloc(1, len + 1);

    copy_plain(text, error, len);
    return text;
}

char *traceback_show(const char *error, const struct traceback_style *style)
{
    lua_State *L = luaL_newstate();
    char *text = NULL;

    if (!L)
        return show_raw(error);
    lua_pushcfunction(L, show);
    lua_pushlightuserdata(L, (void *)error);
    lua_pushlightuserdata(L, (void *)style);
    if (lua_pcall(L, 2, 1, 0) == LUA_OK)
        text = xstrdup(lua_tostring(L, -1));
    lua_close(L);
    return text ? text : show_raw(error);
}
