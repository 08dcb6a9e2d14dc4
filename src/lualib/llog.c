/* A line is made in a buffer of Lua's, escaped so that it stays one line, and
 * handed to the log as it is. Nothing is made for a level that is off. A
 * logger's fields are a text that its functions have as upvalue. */
#include "lualib/llog.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"
#include "util/utf8.h"
#include "worker/coro.h"

#define FIELDS_MAX   32  /* of one Log.with() */
#define KEY_MAX      40  /* letters of a field's name */
#define CONTEXT_SIZE 128 /* room for a client id and a callback's name */

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

/* " client=… event=…" of what runs, where it has them. */
static void put_context(lua_State *L, char out[CONTEXT_SIZE])
{
    const struct coro_client *client = coro_client(L);
    const char *what = coro_what(L);
    char id[CLIENT_ID_LEN + 1] = "";

    if (client)
        client_id_format(id, &client->id);
    snprintf(out, CONTEXT_SIZE, "%s%s%s%s%s", client ? " client=" : "", id,
        what ? " event=\"" : "", what ? what : "", what ? "\"" : "");
}

/* Write the arguments from the first one on as one line, as print() joins
 * them. fields: as log_say() wants them. */
static void write_line(
    lua_State *L, enum log_level level, const char *who, const char *fields)
{
    int count = lua_gettop(L);
    char context[CONTEXT_SIZE];
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
    put_context(L, context);
    log_say(level, who, lua_tostring(L, -1), fields, context);
}

int llog_print(lua_State *L)
{
    write_line(L, LOG_NOTICE, "print", "");
    return 0;
}

/* Log.<level>(...); the level is upvalue 1, the fields are upvalue 2. */
static int log_line(lua_State *L)
{
    write_line(L, (enum log_level)lua_tointeger(L, lua_upvalueindex(1)),
        "script", lua_tostring(L, lua_upvalueindex(2)));
    return 0;
}

/* Is a value to be read without quotes? */
static bool is_bare(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] == '"' || text[i] == '=' || text[i] > '~')
            return false;
    }
    return len > 0;
}

static void check_key(lua_State *L, const char *key)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz_";
    size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyz_0123456789");

    if (key[n] != '\0' || !strchr(first, key[0]) || n == 0 || n > KEY_MAX)
        luaL_error(L,
            "\"%s\" is no name of a field: small letters, digits and _, at most "
            "%d",
            key, KEY_MAX);
}

/* The first key of the table at 1 behind before (NULL: of all), in the order
 * of their bytes, on top of the stack; or nil. */
static void push_next_key(lua_State *L, const char *before)
{
    const char *best = NULL;

    lua_pushnil(L); /* the best */
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        const char *key;

        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "names of fields are strings");
        key = lua_tostring(L, -1);
        if ((!before || strcmp(key, before) > 0) &&
            (!best || strcmp(key, best) < 0)) {
            best = key;
            lua_pushvalue(L, -1);
            lua_replace(L, -3);
        }
    }
}

/* The fields of the table at 1 as text, on top of the stack, behind those of
 * upvalue 1. */
static void push_fields(lua_State *L)
{
    int count = 0;

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushnil(L); /* the key in hand: a __tostring may remove it from 1 */
    for (;;) {
        char quoted[LOG_QUOTE_SIZE];
        const char *text;
        size_t len;

        push_next_key(L, lua_tostring(L, 3));
        if (lua_isnil(L, -1))
            break;
        if (++count > FIELDS_MAX)
            luaL_error(L, "more than %d fields", FIELDS_MAX);
        check_key(L, lua_tostring(L, -1));
        lua_replace(L, 3);
        lua_pushvalue(L, 3);
        lua_gettable(L, 1);
        text = luaL_tolstring(L, -1, &len);
        lua_pushfstring(L, "%s %s=%s", lua_tostring(L, 2), lua_tostring(L, 3),
            is_bare(text, len) ? text : log_quote(quoted, text, len));
        lua_replace(L, 2);
        lua_settop(L, 3);
    }
    lua_settop(L, 2);
}

static void push_logger(lua_State *L);

/* Log.with(fields) -> a logger whose lines have these fields, too. */
static int log_with(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    push_fields(L);
    push_logger(L);
    return 1;
}

/* A table of functions, with the fields of the text on top of the stack, which
 * it replaces. */
static void push_logger(lua_State *L)
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

    lua_createtable(L, 0, 1 + sizeof(levels) / sizeof(levels[0]));
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        lua_pushinteger(L, levels[i].level);
        lua_pushvalue(L, -3);
        lua_pushcclosure(L, log_line, 2);
        lua_setfield(L, -2, levels[i].name);
    }
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, log_with, 1);
    lua_setfield(L, -2, "with");
    lua_remove(L, -2);
}

void llog_push(lua_State *L)
{
    lua_pushliteral(L, "");
    push_logger(L);
}
