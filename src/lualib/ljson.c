/* Writing collects in a buffer that is an upvalue of encode() and kept for the
 * next call; reading goes through the text once, with the values on Lua's
 * stack. How deep values may nest is limited both ways. */
#include "lualib/ljson.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/lbuf.h"
#include "lualib/lnumber.h"
#include "util/buf.h"
#include "util/utf8.h"

#define ENCODE   "gwrun.json.encode" /* in the registry */
#define OUT_KEEP 65536               /* bytes of an idle buffer */
#define HOLES    4                   /* an array of n may have, beside n */

/* ---- writing ---- */

static void put_escape(struct buf *out, uint8_t c)
{
    static const char names[] = "btnvfr"; /* from 8 on; JSON knows no \v */

    if (c == '"' || c == '\\')
        buf_printf(out, "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        buf_printf(out, "\\%c", names[c - 8]);
    else
        buf_printf(out, "\\u%04x", c);
}

/* What is not UTF-8 becomes U+FFFD. */
static void put_string(struct buf *out, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t start = 0, i = 0;

    buf_append_byte(out, '"');
    while (i < len) {
        size_t n = utf8_len(p + i, len - i);

        if (n > 0 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
            i += n;
            continue;
        }
        buf_append(out, p + start, i - start);
        if (n == 0)
            buf_append_str(out, "\xef\xbf\xbd");
        else
            put_escape(out, p[i]);
        start = ++i;
    }
    buf_append(out, p + start, i - start);
    buf_append_byte(out, '"');
}

static void put_number(lua_State *L, struct buf *out, int index)
{
    double d = lua_tonumber(L, index);

    if (!isfinite(d))
        luaL_error(L, "json: %f cannot be written", d);
    lnumber_put(L, index, out);
}

/* The memory of out is not counted as the script's. */
static void check_room(lua_State *L, const struct buf *out, size_t more)
{
    if (out->len > LJSON_LEN_MAX || more > LJSON_LEN_MAX - out->len)
        luaL_error(L, "json: more than %d bytes", LJSON_LEN_MAX);
}

static bool is_marked(lua_State *L, int index)
{
    bool marked;

    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, LJSON_ARRAY_TYPE);
    marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

/* The table is written as an array of so many; -1: as an object. Its keys must
 * be 1 … n, or, if it is marked, not many of them missing. */
static lua_Integer array_len(lua_State *L, int index)
{
    bool marked = is_marked(L, index);
    lua_Integer count = 0, last = 0;

    if (!marked && lua_rawlen(L, index) == 0)
        return -1;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;

        lua_pop(L, 1);
        if (key < 1) {
            lua_pop(L, 1);
            return -1;
        }
        if (key > last)
            last = key;
        count++;
    }
    return last == count || (marked && last - count <= count + HOLES) ? last
                                                                      : -1;
}

static void put_value(lua_State *L, struct buf *out, int index, int depth);

static void put_array(
    lua_State *L, struct buf *out, int index, lua_Integer n, int depth)
{
    buf_append_byte(out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            buf_append_byte(out, ',');
        lua_rawgeti(L, index, i);
        put_value(L, out, lua_gettop(L), depth);
        lua_pop(L, 1);
    }
    buf_append_byte(out, ']');
}

static void put_object(lua_State *L, struct buf *out, int index, int depth)
{
    bool first = true;

    buf_append_byte(out, '{');
    lua_pushnil(L);
    while (lua_next(L, index)) {
        size_t len;
        const char *key;

        if (!first)
            buf_append_byte(out, ',');
        first = false;
        if (lua_type(L, -2) == LUA_TSTRING) {
            key = lua_tolstring(L, -2, &len);
            check_room(L, out, len);
            put_string(out, key, len);
        } else if (lua_isinteger(L, -2)) {
            buf_printf(out, "\"%lld\"", (long long)lua_tointeger(L, -2));
        } else {
            luaL_error(L, "json: a key that is a %s cannot be written",
                luaL_typename(L, -2));
        }
        buf_append_byte(out, ':');
        put_value(L, out, lua_gettop(L), depth);
        lua_pop(L, 1);
    }
    buf_append_byte(out, '}');
}

static void put_table(lua_State *L, struct buf *out, int index, int depth)
{
    lua_Integer n;

    if (depth > LJSON_DEPTH_MAX)
        luaL_error(L,
            "json: more than %d tables in each other, or a table "
            "that contains itself",
            LJSON_DEPTH_MAX);
    luaL_checkstack(L, 6, "json");
    n = array_len(L, index);
    if (n >= 0)
        put_array(L, out, index, n, depth);
    else
        put_object(L, out, index, depth);
}

static void put_value(lua_State *L, struct buf *out, int index, int depth)
{
    const char *text;
    size_t len;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        buf_append_str(out, "null");
        return;
    case LUA_TBOOLEAN:
        buf_append_str(out, lua_toboolean(L, index) ? "true" : "false");
        return;
    case LUA_TNUMBER:
        put_number(L, out, index);
        return;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        check_room(L, out, len);
        put_string(out, text, len);
        return;
    case LUA_TTABLE:
        check_room(L, out, 0);
        put_table(L, out, index, depth + 1);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            buf_append_str(out, "null");
            return;
        }
        break;
    default:
        break;
    }
    luaL_error(L, "json: a %s cannot be written", luaL_typename(L, index));
}

/* encode(value) -> text; raises for what JSON cannot hold */
static int json_encode(lua_State *L)
{
    struct buf *out = lua_touserdata(L, lua_upvalueindex(1));

    luaL_checkany(L, 1);
    buf_clear(out);
    buf_shrink(out, OUT_KEEP);
    lua_settop(L, 1);
    put_value(L, out, 1, 0);
    check_room(L, out, 0); /* with the last quotes and brackets */
    lua_pushlstring(L, (const char *)out->data, out->len);
    return 1;
}

/* ---- reading ---- */

struct reader {
    lua_State *L;
    struct buf *scratch; /* for strings with escapes */
    const char *text;    /* NUL behind it */
    const char *p;
    const char *end;
    const char *error; /* what is wrong at p; NULL: nothing */
};

static bool refuse(struct reader *r, const char *error)
{
    r->error = error;
    return false;
}

static void skip_blanks(struct reader *r)
{
    while (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')
        r->p++;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t read_hex(const char *p)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static void put_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(out, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
        } else {
            buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
            buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 63)));
        }
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 63)));
    }
    buf_append_byte(out, (uint8_t)(0x80 | (c & 63)));
}

/* Behind "\u". Half of a pair alone becomes U+FFFD. */
static bool read_unicode(struct reader *r)
{
    int32_t c = read_hex(r->p);
    int32_t low;

    if (c < 0)
        return refuse(r, "four hexadecimal digits expected");
    r->p += 4;
    if (c >= 0xd800 && c < 0xdc00 && r->p[0] == '\\' && r->p[1] == 'u') {
        low = read_hex(r->p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            r->p += 6;
        }
    }
    put_utf8(r->scratch, c >= 0xd800 && c < 0xe000 ? 0xfffd : (uint32_t)c);
    return true;
}

/* Behind "\". */
static bool read_escape(struct reader *r)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    char c = *r->p;
    const char *at = c ? strchr(names, c) : NULL;

    if (c == 'u') {
        r->p++;
        return read_unicode(r);
    }
    if (!at)
        return refuse(r, "unknown escape");
    buf_append_byte(r->scratch, (uint8_t)meant[at - names]);
    r->p++;
    return true;
}

/* Push the string whose quote is at p. */
static bool read_string(struct reader *r)
{
    const char *start = ++r->p;

    buf_clear(r->scratch);
    for (;;) {
        uint8_t c = (uint8_t)*r->p;

        if (c == '"')
            break;
        if (c < 0x20)
            return refuse(r, r->p == r->end ? "a string has no end"
                                            : "control character in a string");
        if (c != '\\') {
            r->p++;
            continue;
        }
        buf_append(r->scratch, start, (size_t)(r->p - start));
        r->p++;
        if (!read_escape(r))
            return false;
        start = r->p;
    }
    if (r->scratch->len == 0) {
        lua_pushlstring(r->L, start, (size_t)(r->p - start));
    } else {
        buf_append(r->scratch, start, (size_t)(r->p - start));
        lua_pushlstring(r->L, (const char *)r->scratch->data, r->scratch->len);
    }
    r->p++;
    return true;
}

static size_t count_digits(const char *p)
{
    return strspn(p, "0123456789");
}

static bool read_number(struct reader *r)
{
    const char *start = r->p;
    bool is_float = false;
    const char *p = start + (*start == '-');
    size_t digits = count_digits(p);

    if (digits == 0 || (digits > 1 && *p == '0'))
        return refuse(r, "value expected");
    p += digits;
    if (*p == '.') {
        is_float = true;
        digits = count_digits(++p);
        p += digits;
    }
    if (digits > 0 && (*p == 'e' || *p == 'E')) {
        is_float = true;
        p += 1 + (p[1] == '+' || p[1] == '-');
        digits = count_digits(p);
        p += digits;
    }
    if (digits == 0)
        return refuse(r, "a number has no digits");
    if (!is_float && p - start <= 20) {
        char text[24];

        snprintf(text, sizeof(text), "%.*s", (int)(p - start), start);
        lua_stringtonumber(r->L, text); /* float when it is too large */
    } else {
        double d = strtod(start, NULL);

        if (!isfinite(d))
            return refuse(r, "a number is too large");
        lua_pushnumber(r->L, d);
    }
    r->p = p;
    return true;
}

static bool read_value(struct reader *r, int depth);

static bool read_array(struct reader *r, int depth)
{
    lua_Integer n = 0;

    r->p++;
    lua_newtable(r->L);
    skip_blanks(r);
    if (*r->p == ']') {
        r->p++;
        luaL_setmetatable(r->L, LJSON_ARRAY_TYPE);
        return true;
    }
    for (;;) {
        if (!read_value(r, depth))
            return false;
        lua_rawseti(r->L, -2, ++n);
        skip_blanks(r);
        if (*r->p == ']')
            break;
        if (*r->p != ',')
            return refuse(r, "',' or ']' expected");
        r->p++;
    }
    r->p++;
    return true;
}

static bool read_object(struct reader *r, int depth)
{
    r->p++;
    lua_newtable(r->L);
    skip_blanks(r);
    if (*r->p == '}') {
        r->p++;
        return true;
    }
    for (;;) {
        skip_blanks(r);
        if (*r->p != '"')
            return refuse(r, "a key in quotes expected");
        if (!read_string(r))
            return false;
        skip_blanks(r);
        if (*r->p != ':')
            return refuse(r, "':' expected");
        r->p++;
        if (!read_value(r, depth))
            return false;
        lua_rawset(r->L, -3);
        skip_blanks(r);
        if (*r->p == '}')
            break;
        if (*r->p != ',')
            return refuse(r, "',' or '}' expected");
        r->p++;
    }
    r->p++;
    return true;
}

static bool read_word(struct reader *r)
{
    if (strncmp(r->p, "true", 4) == 0) {
        lua_pushboolean(r->L, true);
        r->p += 4;
    } else if (strncmp(r->p, "false", 5) == 0) {
        lua_pushboolean(r->L, false);
        r->p += 5;
    } else if (strncmp(r->p, "null", 4) == 0) {
        lua_pushlightuserdata(r->L, NULL);
        r->p += 4;
    } else {
        return refuse(r, "value expected");
    }
    return true;
}

/* Push the value at p; false leaves the stack to the caller. */
static bool read_value(struct reader *r, int depth)
{
    skip_blanks(r);
    switch (*r->p) {
    case '{':
    case '[':
        if (depth >= LJSON_DEPTH_MAX)
            return refuse(r, "too many values in each other");
        luaL_checkstack(r->L, 6, "json");
        return *r->p == '{' ? read_object(r, depth + 1)
                            : read_array(r, depth + 1);
    case '"':
        return read_string(r);
    case 't':
    case 'f':
    case 'n':
        return read_word(r);
    default:
        return read_number(r);
    }
}

/* decode(text) -> value | nil, message, code */
static int json_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct reader r = {.L = L,
        .scratch = lua_touserdata(L, lua_upvalueindex(1)),
        .text = text,
        .p = text,
        .end = text + len};

    buf_clear(r.scratch);
    buf_shrink(r.scratch, OUT_KEEP);
    if (read_value(&r, 0)) {
        skip_blanks(&r);
        if (r.p == r.end)
            return 1;
        refuse(&r, "more than one value");
    }
    lua_settop(L, 0);
    lua_pushnil(L);
    lua_pushfstring(L, "json: %s at byte %d", r.error, (int)(r.p - r.text) + 1);
    lua_pushliteral(L, "eproto");
    return 3;
}

/* array(table): it is written as an array when it is empty or has holes;
 * returns it */
static int json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_setmetatable(L, LJSON_ARRAY_TYPE);
    return 1;
}

void ljson_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", json_encode},
        {"decode", json_decode},
        {"array", json_array},
        {NULL, NULL},
    };

    luaL_newmetatable(L, LJSON_ARRAY_TYPE);
    lua_pop(L, 1);
    luaL_newlibtable(L, functions);
    lbuf_push(L);
    luaL_setfuncs(L, functions, 1);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_getfield(L, -1, "encode");
    lua_setfield(L, LUA_REGISTRYINDEX, ENCODE);
}

void ljson_push_encode(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, ENCODE);
}
