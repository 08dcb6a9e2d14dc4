/* Both ways go by phpser.c's tokens, without a tree in between. Tables are
 * written with sorted keys, so that the same session is the same bytes. What
 * cannot be written is an error that names its path; what cannot be read is
 * left out. */
#include "lualib/lvalue.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lualib/ljson.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/phpser.h"

#define PAIRS_ON_STACK 16 /* tables with more keys need the heap to sort */
#define ROOM_MAX       64 /* elements a table has room for on a claim alone */
#define SESSION_TYPE   "gwrun.session"
#define ERROR_MAX      1024 /* bytes of a message with its path */

/* reading */

/* An array that is being read: a sequence as long as its keys say so. What is
 * opaque is left out. */
struct open_array {
    bool is_list;
    lua_Integer count; /* elements read */
};

/* The keys turned out not to be 0 … n-1: give the elements read so far, which
 * are at 1 … count of the table on top, their own keys. */
static void unlist(lua_State *L, struct open_array *a)
{
    for (lua_Integer i = 0; i < a->count; i++) {
        lua_rawgeti(L, -1, i + 1);
        lua_rawseti(L, -2, i);
    }
    lua_pushnil(L);
    lua_rawseti(L, -2, a->count);
    a->is_list = false;
}

void lvalue_push_key(lua_State *L, const struct phpser_token *key, bool list)
{
    int64_t number;

    if (key->type == PHPSER_INT)
        lua_pushinteger(L, key->integer + list);
    else if (phpser_int_key(&number, key->string.data, key->string.len))
        lua_pushinteger(L, number);
    else
        lua_pushlstring(L, (const char *)key->string.data, key->string.len);
}

static void push_key(
    lua_State *L, struct open_array *a, const struct phpser_token *t)
{
    if (a->is_list && (t->type != PHPSER_INT || t->integer != a->count))
        unlist(L, a);
    lvalue_push_key(L, t, a->is_list);
}

/* Push a table with room for count elements: the first, which has six bytes at
 * least, is next in r. */
static void push_table(
    lua_State *L, const struct phpser_reader *r, size_t count)
{
    int room = count < ROOM_MAX ? (int)count : ROOM_MAX;

    if (count > 0 && memcmp(r->at, "i:0;", 4) == 0)
        lua_createtable(L, room, 0);
    else
        lua_createtable(L, 0, room);
}

/* How a value is pushed. */
enum style {
    PLAIN,
    SESSION, /* tables have the metatable of sessions */
    INFO,    /* null inside an array is nil: its key is left out */
};

static void push_scalar(lua_State *L, const struct phpser_token *t, bool absent)
{
    switch (t->type) {
    case PHPSER_BOOL:
        lua_pushboolean(L, t->boolean);
        break;
    case PHPSER_INT:
        lua_pushinteger(L, t->integer);
        break;
    case PHPSER_FLOAT:
        lua_pushnumber(L, t->number);
        break;
    case PHPSER_STRING:
        lua_pushlstring(L, (const char *)t->string.data, t->string.len);
        break;
    default: /* null, or opaque alone */
        if (absent)
            lua_pushnil(L);
        else
            lua_pushlightuserdata(L, NULL); /* cjson.null */
    }
}

/* t["42"], where no such key is: what the script means is t[42]. */
static bool is_number(lua_State *L, int64_t *number)
{
    size_t len;
    const char *text =
        lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &len) : NULL;

    return text && phpser_int_key(number, text, len);
}

static int on_index(lua_State *L)
{
    int64_t number;

    if (!is_number(L, &number))
        return 0;
    lua_rawgeti(L, 1, (lua_Integer)number);
    return 1;
}

static int on_new_index(lua_State *L)
{
    int64_t number;

    lua_settop(L, 3);
    if (is_number(L, &number))
        lua_rawseti(L, 1, (lua_Integer)number);
    else
        lua_rawset(L, 1);
    return 0;
}

void lvalue_set_session(lua_State *L)
{
    static const luaL_Reg meta[] = {
        {"__index", on_index},
        {"__newindex", on_new_index},
        {NULL, NULL},
    };

    if (luaL_newmetatable(L, SESSION_TYPE))
        luaL_setfuncs(L, meta, 0);
    lua_setmetatable(L, -2);
}

static int push(lua_State *L, const void *data, size_t len, enum style style)
{
    struct open_array arrays[PHPSER_DEPTH_MAX];
    struct phpser_reader r;
    struct phpser_token t;
    int top = lua_gettop(L);
    size_t depth = 0;
    int err;

    luaL_checkstack(L, 2 * PHPSER_DEPTH_MAX + 4, "nested value");
    phpser_read(&r, data, len);
    while ((err = phpser_next(&r, &t)) > 0) {
        if (t.is_key) {
            assert(depth > 0);
            push_key(L, &arrays[depth - 1], &t);
            continue;
        }
        if (t.type == PHPSER_ARRAY) {
            push_table(L, &r, t.count);
            if (style == SESSION)
                lvalue_set_session(L);
            arrays[depth++] = (struct open_array){.is_list = true};
            continue;
        }
        if (t.type == PHPSER_OPAQUE && depth > 0) {
            lua_pop(L, 1); /* its key */
            continue;
        }
        if (t.type == PHPSER_END) {
            assert(depth > 0);
            depth--; /* the table on top is the value */
        } else {
            push_scalar(L, &t, depth == 0 || style == INFO);
        }
        if (depth > 0) {
            lua_rawset(L, -3);
            arrays[depth - 1].count++;
        }
    }
    if (err < 0)
        lua_settop(L, top);
    return err;
}

int lvalue_push(lua_State *L, const void *data, size_t len)
{
    return push(L, data, len, PLAIN);
}

int lvalue_push_session(lua_State *L, const void *data, size_t len)
{
    return push(L, data, len, SESSION);
}

int lvalue_push_info(lua_State *L, const void *data, size_t len)
{
    return push(L, data, len, INFO);
}

/* Writing calls nothing that collects garbage or raises, so it may hold heap
 * memory and pointers into Lua's strings. */

/* Where we are: the key of the value being written, and so on up. */
struct place {
    const struct place *up;
    const char *name; /* NULL: number is the key */
    size_t len;
    lua_Integer number;
};

struct writer {
    lua_State *L;
    struct buf *out;
    const char *name; /* of the outermost value */
    char error[ERROR_MAX];
    size_t error_len;
};

/* One key with its value, as written to out. */
struct pair {
    const char *name; /* NULL: number is the key */
    size_t name_len;
    lua_Integer number;
    size_t offset;
    size_t len;
};

static void add_error(struct writer *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void add_error(struct writer *w, const char *fmt, ...)
{
    size_t room = sizeof(w->error) - w->error_len;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(w->error + w->error_len, room, fmt, ap);
    va_end(ap);
    w->error_len += (size_t)n < room ? (size_t)n : room - 1;
}

static bool is_identifier(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_')
            return false;
    return len > 0 && !isdigit((unsigned char)s[0]);
}

static void add_place(struct writer *w, const struct place *p)
{
    char quoted[LOG_QUOTE_SIZE];

    if (!p) {
        add_error(w, "%s", w->name);
        return;
    }
    add_place(w, p->up); /* at most PHPSER_DEPTH_MAX deep */
    if (!p->name)
        add_error(w, "[%lld]", (long long)p->number);
    else if (is_identifier(p->name, p->len))
        add_error(w, ".%.*s", (int)p->len, p->name);
    else
        add_error(w, "[%s]", log_quote(quoted, p->name, p->len));
}

/* Say "place is what, which cannot be saved". */
static bool refuse(struct writer *w, const struct place *p, const char *what)
{
    add_place(w, p);
    add_error(w, " is %s, which cannot be saved", what);
    return false;
}

static bool put_value(
    struct writer *w, int index, const struct place *p, int depth);

bool lvalue_is_list(lua_State *L, int t, size_t *count)
{
    lua_Unsigned n = lua_rawlen(L, t);
    bool list = true;

    *count = 0;
    lua_pushnil(L);
    while (lua_next(L, t)) {
        lua_pop(L, 1);
        list = list && lua_isinteger(L, -1) &&
               (lua_Unsigned)lua_tointeger(L, -1) - 1 < n;
        ++*count;
    }
    return list && *count == n;
}

static bool put_list(
    struct writer *w, int t, size_t count, const struct place *p, int depth)
{
    struct place at = {.up = p};

    for (size_t i = 0; i < count; i++) {
        at.number = (lua_Integer)i + 1;
        phpser_put_int(w->out, (int64_t)i);
        lua_rawgeti(w->L, t, at.number);
        if (!put_value(w, lua_gettop(w->L), &at, depth))
            return false;
        lua_pop(w->L, 1);
    }
    return true;
}

/* The key of a table that is no sequence: with the key 0 it must not come back
 * as one. */
static void put_number_key(struct writer *w, struct pair *pair, int64_t number)
{
    pair->name = NULL;
    pair->number = number;
    if (number == 0)
        phpser_put_string(w->out, "0", 1);
    else
        phpser_put_int(w->out, number);
}

/* Write the key that is below the value on top of the stack. */
static bool put_key(struct writer *w, struct pair *pair, const struct place *p)
{
    lua_State *L = w->L;
    int64_t number;

    if (lua_isinteger(L, -2)) {
        put_number_key(w, pair, lua_tointeger(L, -2));
        return true;
    }
    if (lua_type(L, -2) != LUA_TSTRING) {
        add_place(w, p);
        add_error(w, " has a key that is a %s, which cannot be saved",
            lua_type(L, -2) == LUA_TNUMBER ? "fraction" : luaL_typename(L, -2));
        return false;
    }
    pair->name = lua_tolstring(L, -2, &pair->name_len);
    if (phpser_int_key(&number, pair->name, pair->name_len))
        put_number_key(w, pair, number);
    else
        phpser_put_string(w->out, pair->name, pair->name_len);
    return true;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    size_t len;
    int d;

    if (!x->name && !y->name)
        return (x->number > y->number) - (x->number < y->number);
    if (!x->name || !y->name)
        return x->name ? 1 : -1;
    len = x->name_len < y->name_len ? x->name_len : y->name_len;
    d = memcmp(x->name, y->name, len);
    if (d != 0)
        return d;
    return (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

/* Bring what was written from start on into the order of the keys. */
static bool sort_pairs(struct writer *w, struct pair *pairs, size_t count,
    size_t start, const struct place *p)
{
    struct buf sorted = {0};

    qsort(pairs, count, sizeof(*pairs), compare_pairs);
    for (size_t i = 1; i < count; i++) {
        if (compare_pairs(&pairs[i - 1], &pairs[i]) == 0) {
            add_place(w, p);
            add_error(w,
                " has both %lld and \"%lld\" as keys, which are the same "
                "when saved",
                (long long)pairs[i].number, (long long)pairs[i].number);
            return false;
        }
    }
    for (size_t i = 0; i < count; i++)
        buf_append(&sorted, w->out->data + pairs[i].offset, pairs[i].len);
    if (count > 0)
        memcpy(w->out->data + start, sorted.data, sorted.len);
    buf_fini(&sorted);
    return true;
}

static bool put_pairs(
    struct writer *w, int t, size_t count, const struct place *p, int depth)
{
    struct pair few[PAIRS_ON_STACK];
    struct pair *pairs =
        count > PAIRS_ON_STACK ? xcalloc(count, sizeof(*pairs)) : few;
    size_t start = w->out->len;
    bool ok = true;
    size_t i = 0;

    lua_pushnil(w->L);
    while (ok && lua_next(w->L, t)) {
        struct pair *pair = &pairs[i++];
        struct place at = {.up = p};

        *pair = (struct pair){.offset = w->out->len};
        ok = put_key(w, pair, p);
        at.name = pair->name;
        at.len = pair->name_len;
        at.number = pair->number;
        ok = ok && put_value(w, lua_gettop(w->L), &at, depth);
        pair->len = w->out->len - pair->offset;
        lua_pop(
            w->L, ok ? 1 : 0); /* a failure leaves the stack to our caller */
    }
    ok = ok && sort_pairs(w, pairs, i, start, p);
    if (pairs != few)
        free(pairs);
    return ok;
}

static bool put_table(struct writer *w, int t, const struct place *p, int depth)
{
    size_t count;
    bool list, ok;

    if (depth > PHPSER_DEPTH_MAX || !lua_checkstack(w->L, 6)) {
        w->error_len = 0;
        add_error(w,
            "%s contains itself or is nested deeper than %d tables, and "
            "cannot be saved",
            w->name, PHPSER_DEPTH_MAX);
        return false;
    }
    if (lua_getmetatable(w->L, t)) {
        luaL_getmetatable(w->L, LJSON_ARRAY_TYPE);
        luaL_getmetatable(w->L, SESSION_TYPE);
        if (!lua_rawequal(w->L, -2, -3) && !lua_rawequal(w->L, -1, -3))
            return refuse(w, p, "a table with a metatable");
        lua_pop(w->L, 3);
    }
    list = lvalue_is_list(w->L, t, &count);
    phpser_put_array(w->out, count);
    ok = list ? put_list(w, t, count, p, depth)
              : put_pairs(w, t, count, p, depth);
    if (ok)
        phpser_put_end(w->out);
    return ok;
}

static bool has_room(struct writer *w)
{
    if (w->out->len <= LVALUE_LEN_MAX)
        return true;
    add_error(
        w, "%s is larger than %d bytes when saved", w->name, LVALUE_LEN_MAX);
    return false;
}

static bool put_value(
    struct writer *w, int index, const struct place *p, int depth)
{
    lua_State *L = w->L;
    const char *s;
    size_t len;

    if (!has_room(w))
        return false;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        phpser_put_null(w->out);
        return true;
    case LUA_TBOOLEAN:
        phpser_put_bool(w->out, lua_toboolean(L, index));
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            phpser_put_int(w->out, lua_tointeger(L, index));
        else
            phpser_put_float(w->out, lua_tonumber(L, index));
        return true;
    case LUA_TSTRING:
        s = lua_tolstring(L, index, &len);
        phpser_put_string(w->out, s, len);
        return true;
    case LUA_TTABLE:
        return put_table(w, index, p, depth + 1);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) != NULL)
            return refuse(w, p, "a userdata");
        phpser_put_null(w->out); /* cjson.null */
        return true;
    case LUA_TFUNCTION:
        return refuse(w, p, "a function");
    case LUA_TTHREAD:
        return refuse(w, p, "a coroutine");
    default:
        return refuse(w, p, "a userdata");
    }
}

const char *lvalue_put(
    lua_State *L, int index, struct buf *out, const char *name)
{
    struct writer w = {.L = L, .out = out, .name = name};
    size_t start = out->len;
    int top = lua_gettop(L);
    bool ok = put_value(&w, lua_absindex(L, index), NULL, 0) && has_room(&w);

    lua_settop(L, top);
    if (ok)
        return NULL;
    out->len = start;
    return lua_pushstring(L, w.error);
}

const char *lvalue_put_element(
    lua_State *L, struct buf *out, const char *name, bool list, size_t *key_len)
{
    struct writer w = {.L = L, .out = out, .name = name};
    struct pair pair = {.offset = out->len};
    struct place at = {0};
    size_t start = out->len;
    int top = lua_gettop(L);
    bool ok;

    if (list) {
        at.number = lua_tointeger(L, -2);
        phpser_put_int(out, at.number - 1);
        ok = true;
    } else {
        ok = put_key(&w, &pair, NULL);
        at.name = pair.name;
        at.len = pair.name_len;
        at.number = pair.number;
    }
    *key_len = out->len - start;
    ok = ok && put_value(&w, top, &at, 1);
    lua_settop(L, top);
    if (ok)
        return NULL;
    out->len = start;
    return lua_pushstring(L, w.error);
}

int lvalue_fail_with(lua_State *L, int err)
{
    char code[32];

    uv_err_name_r(err, code, sizeof(code));
    for (char *c = code; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushstring(L, code);
    return 3;
}

int lvalue_fail(lua_State *L, int err)
{
    char message[128];

    lua_pushstring(L, uv_strerror_r(err, message, sizeof(message)));
    return lvalue_fail_with(L, err);
}
