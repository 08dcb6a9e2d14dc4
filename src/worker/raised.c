/* Tables are read raw and without a call: what an error holds must not run code
 * of the script's. Keys that are names come sorted, so that the same error is
 * the same line. */
#include "worker/raised.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "worker/vm.h"

struct text {
    char data[RAISED_LEN_MAX + 2 * LOG_QUOTE_SIZE];
    size_t len;
};

/* A string that is a key; borrowed from its table. */
struct name {
    const char *text;
    size_t len;
};

static void put_table(lua_State *L, struct text *t, int index, int depth);

static void put(struct text *t, const char *what)
{
    size_t len = strlen(what);

    if (len >= sizeof(t->data) - t->len)
        len = sizeof(t->data) - t->len - 1;
    memcpy(t->data + t->len, what, len);
    t->len += len;
    t->data[t->len] = '\0';
}

static void put_quoted(struct text *t, const char *s, size_t len)
{
    char quoted[LOG_QUOTE_SIZE];

    put(t, log_quote(quoted, s, len));
}

/* Text of the value at index. A number is copied first: lua_tolstring() would
 * turn a key into a string under lua_next(). */
static void put_value(lua_State *L, struct text *t, int index, int depth)
{
    char pointer[64];
    size_t len;
    const char *s;

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        s = lua_tolstring(L, index, &len);
        put_quoted(t, s, len);
        break;
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        put(t, lua_tostring(L, -1));
        lua_pop(L, 1);
        break;
    case LUA_TNIL:
        put(t, "nil");
        break;
    case LUA_TBOOLEAN:
        put(t, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TTABLE:
        put_table(L, t, lua_absindex(L, index), depth);
        break;
    default:
        if (lua_islightuserdata(L, index) && !lua_touserdata(L, index)) {
            put(t, "null");
            break;
        }
        snprintf(pointer, sizeof(pointer), "%s: %p", luaL_typename(L, index),
            lua_topointer(L, index));
        put(t, pointer);
    }
}

static bool is_identifier(const struct name *n)
{
    for (size_t i = 0; i < n->len; i++)
        if (!isalnum((unsigned char)n->text[i]) && n->text[i] != '_')
            return false;
    return n->len > 0 && !isdigit((unsigned char)n->text[0]);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(
        ((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* The names among the table's keys, at most RAISED_ENTRIES_MAX; how many. */
static size_t find_names(
    lua_State *L, int index, struct name names[RAISED_ENTRIES_MAX])
{
    size_t count = 0;

    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || count == RAISED_ENTRIES_MAX)
            continue;
        names[count].text = lua_tolstring(L, -2, &names[count].len);
        count++;
    }
    qsort(names, count, sizeof(*names), compare_names);
    return count;
}

/* Whether there is room for one more of the table's entries; begins it. */
static bool begin_entry(struct text *t, size_t *count)
{
    bool room = *count < RAISED_ENTRIES_MAX && t->len < RAISED_LEN_MAX;

    if (*count <= RAISED_ENTRIES_MAX)
        put(t, *count > 0 ? ", " : "");
    if (!room && *count <= RAISED_ENTRIES_MAX) {
        put(t, "…");
        *count = RAISED_ENTRIES_MAX;
    }
    ++*count;
    return room;
}

/* The entry whose value is on top; popped. */
static void put_entry(
    lua_State *L, struct text *t, const struct name *name, int depth)
{
    if (name && is_identifier(name)) {
        put(t, name->text);
        put(t, " = ");
    } else if (name) {
        put(t, "[");
        put_quoted(t, name->text, name->len);
        put(t, "] = ");
    }
    put_value(L, t, -1, depth);
    lua_pop(L, 1);
}

static bool is_item(lua_State *L, int index, lua_Unsigned items)
{
    return lua_isinteger(L, index) &&
           (lua_Unsigned)lua_tointeger(L, index) - 1 < items;
}

/* Entries under keys that are neither names nor 1 … items. */
static void put_others(
    lua_State *L, struct text *t, int index, lua_Unsigned items, size_t *count)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING || is_item(L, -2, items) ||
            !begin_entry(t, count))
            continue;
        put(t, "[");
        put_value(L, t, -2, RAISED_DEPTH_MAX);
        put(t, "] = ");
        put_value(L, t, -1, RAISED_DEPTH_MAX);
    }
}

static void put_table(lua_State *L, struct text *t, int index, int depth)
{
    struct name names[RAISED_ENTRIES_MAX];
    lua_Unsigned items = lua_rawlen(L, index);
    size_t nnames, count = 0;

    if (depth >= RAISED_DEPTH_MAX || t->len >= RAISED_LEN_MAX) {
        put(t, "{…}");
        return;
    }
    luaL_checkstack(L, 8, NULL);
    put(t, "{");
    for (lua_Unsigned i = 1; i <= items && begin_entry(t, &count); i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        put_entry(L, t, NULL, depth + 1);
    }
    nnames = find_names(L, index, names);
    for (size_t i = 0; i < nnames && begin_entry(t, &count); i++) {
        lua_pushlstring(L, names[i].text, names[i].len);
        lua_rawget(L, index);
        put_entry(L, t, &names[i], depth + 1);
    }
    put_others(L, t, index, items, &count);
    put(t, "}");
}

/* tostring(value), protected. */
static int call_tostring(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

const char *raised_text(lua_State *L, int index)
{
    struct text t = {.len = 0};

    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, NULL);
    if (luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushcfunction(L, call_tostring);
        lua_pushvalue(L, index);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK)
            return lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return lua_tostring(L, -1);
    }
    put_value(L, &t, index, 0);
    return lua_pushstring(L, t.data);
}

int raised_traceback(lua_State *L)
{
    luaL_traceback(L, L, raised_text(L, 1), 1);
    return 1;
}

bool raised_is_ours(lua_State *L, const lua_Debug *ar)
{
    const char *dir = vm_lua_dir(vm_of(L));
    size_t len = strlen(dir);

    return ar->source[0] == '@' && strncmp(ar->source + 1, dir, len) == 0 &&
           ar->source[1 + len] == '/';
}

/* Push "events.lua:12: ", or "" when no code of the script's is there. */
static void push_where(lua_State *L)
{
    lua_Debug ar;

    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && !raised_is_ours(L, &ar)) {
            lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
    lua_pushliteral(L, "");
}

int raised_error(lua_State *L, const char *fmt, ...)
{
    va_list ap;

    luaL_checkstack(L, 4, NULL);
    push_where(L);
    va_start(ap, fmt);
    lua_pushvfstring(L, fmt, ap);
    va_end(ap);
    lua_concat(L, 2);
    return lua_error(L);
}
