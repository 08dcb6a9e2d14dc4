/* A line is made in a buffer of Lua's, escaped so that it stays one line, and
 * handed to the log as it is. Nothing is made for a level that is off. */
#include "lualib/llog.h"

#include <lauxlib.h>

#include "util/log.h"
#include "util/utf8.h"

static void add_escaped(luaL_Buffer *line, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";

    luaL_addstring(line, "\\x");
    luaL_addchar(line, digits[c >> 4]);
    luaL_addchar(line, digits[c & 15]);
}

/* Add text without what would look like another line or move a terminal's
 * cursor: clients may have sent it. */
static void add_text(luaL_Buffer *line, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_plain_len((const uint8_t *)text + i, len - i);

        if (n > 0 || text[i] == '\t')
            luaL_addlstring(line, text + i, n ? n : 1);
        else if (text[i] == '\n')
            luaL_addstring(line, "\\n");
        else
            add_escaped(line, (unsigned char)text[i]);
        i += n ? n : 1;
    }
}

/* Write the arguments as one line, as print() joins them. */
static void write_line(lua_State *L, enum log_level level, const char *who)
{
    int count = lua_gettop(L);
    luaL_Buffer line;

    if (!log_enabled(level))
        return;
    for (int i = 1; i <= count; i++) {
        luaL_tolstring(L, i, NULL);
        lua_replace(L, i);
    }
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        size_t len;
        const char *text = lua_tolstring(L, i, &len);

        if (i > 1)
            luaL_addchar(&line, '\t');
        add_text(&line, text, len);
    }
    luaL_pushresult(&line);
    log_write(level, who, "%s", lua_tostring(L, -1));
}

int llog_print(lua_State *L)
{
    write_line(L, LOG_NOTICE, "print");
    return 0;
}

/* Log.<level>(...); the level is upvalue 1. */
static int log_line(lua_State *L)
{
    write_line(
        L, (enum log_level)lua_tointeger(L, lua_upvalueindex(1)), "script");
    return 0;
}

void llog_push(lua_State *L)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"error", LOG_ERROR},
        {"warn", LOG_WARN},
        {"notice", LOG_NOTICE},
        {"info", LOG_INFO},
        {"debug", LOG_DEBUG},
    };

    lua_createtable(L, 0, sizeof(levels) / sizeof(levels[0]));
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        lua_pushinteger(L, levels[i].level);
        lua_pushcclosure(L, log_line, 1);
        lua_setfield(L, -2, levels[i].name);
    }
}
