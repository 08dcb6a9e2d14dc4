/* A client's session as Lua has it: the script's table and a copy of it as it
 * was saved last, both user values of one userdata. What differs between them
 * is what a handler changed. Whoever read one key pays for the comparison of
 * all: a key costs one step through the table and one look-up in the copy. */
#include "lualib/ldecoded.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "lualib/lvalue.h"
#include "wire/phpser.h"

#define HEAD_ROOM 32 /* bytes, for "a:123:{" */

enum { TABLE = 1, COPY, OWN };

/* Push the session table made of data. */
static void push_decoded(lua_State *L, const void *data, size_t len)
{
    int err = len > 0 ? lvalue_push_session(L, data, len) : 0;

    if (err < 0)
        luaL_error(L, "the client's session cannot be read: it is not what "
                      "PHP's serialize() writes");
    if (len > 0 && lua_istable(L, -1))
        return;
    lua_pop(L, len > 0 ? 1 : 0);
    lua_newtable(L);
    lvalue_set_session(L);
}

/* Push a copy of the value at index, tables in it included. */
static void push_copy(lua_State *L, int index)
{
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, "nested session"); /* PHPSER_DEPTH_MAX at most */
    lua_createtable(L, (int)lua_rawlen(L, index), 0);
    lvalue_set_session(L);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        push_copy(L, -2);
        lua_rawset(L, -5);
        lua_pop(L, 1);
    }
}

static struct ldecoded *self(lua_State *L)
{
    return lua_touserdata(L, -1);
}

/* The table on top, popped, is the session, and all of it is saved. */
static void set_table(lua_State *L, struct ldecoded *d)
{
    d->saved_list = lvalue_is_list(L, lua_gettop(L), &d->saved) && d->saved > 0;
    push_copy(L, -1);
    lua_setiuservalue(L, -3, COPY);
    lua_setiuservalue(L, -2, TABLE);
    lua_pushnil(L);
    lua_setiuservalue(L, -2, OWN);
    d->replaced = d->foreign = false;
}

struct ldecoded *ldecoded_push(lua_State *L, const void *data, size_t len)
{
    struct ldecoded *d = lua_newuserdatauv(L, sizeof(*d), OWN);

    memset(d, 0, sizeof(*d));
    list_init(&d->node);
    push_decoded(L, data, len);
    set_table(L, d);
    return d;
}

void ldecoded_push_table(lua_State *L)
{
    lua_getiuservalue(L, -1, TABLE);
}

void ldecoded_use(lua_State *L)
{
    struct ldecoded *d = lua_touserdata(L, -2);

    lua_getiuservalue(L, -2, TABLE);
    if (!lua_rawequal(L, -1, -2))
        d->replaced = d->foreign = true;
    lua_pop(L, 1);
    if (!lua_getmetatable(L, -1))
        lvalue_set_session(L);
    else
        lua_pop(L, 1);
    lua_setiuservalue(L, -2, TABLE);
}

void ldecoded_refill(lua_State *L, const void *data, size_t len)
{
    struct ldecoded *d = self(L);
    int table;

    ldecoded_push_table(L);
    table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, table);
    }
    push_decoded(L, data, len);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, table);
    }
    lua_pop(L, 1);
    set_table(L, d);
}

/* what changed */

/* Whether the two values on top would be saved alike; type is that of the upper
 * one, the copy's. Tables with keys that lvalue_put() would change count as
 * different. At most as deep as the copy. */
static bool same(lua_State *L, int type);

static uint64_t bits_of(lua_State *L, int index)
{
    double number = lua_tonumber(L, index);
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

static bool same_numbers(lua_State *L)
{
    if (lua_isinteger(L, -1))
        return lua_isinteger(L, -2) && lua_rawequal(L, -2, -1);
    if (lua_type(L, -2) != LUA_TNUMBER || lua_isinteger(L, -2))
        return false;
    return bits_of(L, -2) == bits_of(L, -1); /* NaN is NaN, -0 is not 0 */
}

static bool same_tables(lua_State *L)
{
    int upper = lua_gettop(L);
    bool equal = true;
    size_t n = 0;

    luaL_checkstack(L, 8, "nested session");
    lua_pushnil(L);
    while (equal && lua_next(L, upper - 1)) {
        lua_pushvalue(L, -2);
        equal = same(L, lua_rawget(L, upper));
        lua_settop(L, upper + 1);
        n++;
    }
    lua_settop(L, upper);
    if (!equal)
        return false;
    lua_pushnil(L);
    while (lua_next(L, upper)) {
        lua_settop(L, upper + 1);
        n--;
    }
    return n == 0;
}

static bool same(lua_State *L, int type)
{
    if (type == LUA_TNUMBER)
        return same_numbers(L);
    if (type == LUA_TTABLE)
        return lua_istable(L, -2) && same_tables(L);
    return lua_rawequal(L, -2, -1);
}

/* A comparison of a session with its copy; indexes on the stack. */
struct diff {
    lua_State *L;
    struct ldecoded *d;
    int table, copy;
    struct buf *over, *gone; /* room for a head, and elements */
    size_t overs, gones;     /* their numbers */
    bool reshaped;           /* all integer keys have other numbers to PHP */
    const void *data;        /* what is saved */
    size_t len;
};

/* Keep what Lua has not seen of the value that the element at offset replaces.
 * Drop the element when what Lua has is what is saved: tables that the script
 * made can have keys of another spelling. */
static void compare_bytes(struct diff *f, size_t offset, size_t key_len)
{
    size_t value = offset + key_len, was_len;
    const uint8_t *was;
    struct buf whole = {0};
    int err;

    if (f->over->data[value] != 'a')
        return;
    was =
        phpser_find(f->data, f->len, f->over->data + offset, key_len, &was_len);
    if (!was || was[0] != 'a')
        return;
    err = phpser_keep_opaque(
        &whole, was, was_len, f->over->data + value, f->over->len - value);
    if (err == 0) {
        f->over->len = value;
        buf_append(f->over, whole.data, whole.len);
    }
    buf_fini(&whole);
    if (err < 0)
        luaL_error(f->L, "_SESSION cannot be saved: %s",
            err == -ENOTSUP ? "a table that changed holds PHP references"
                            : "a table that changed has too many elements");
    if (f->over->len - value == was_len &&
        memcmp(f->over->data + value, was, was_len) == 0)
        f->over->len = offset;
}

/* The key below the value on top is new, or its value is. */
static void put_change(struct diff *f)
{
    size_t offset = f->over->len, key_len;

    if (lvalue_put_element(f->L, f->over, "_SESSION", f->d->list, &key_len))
        lua_error(f->L);
    if (!f->d->replaced)
        compare_bytes(f, offset, key_len);
    f->overs += f->over->len > offset;
}

/* The copy has nothing under the key that is two below the top. To PHP the text
 * of an integer is that integer; a table that the script made can have it: then
 * what the copy has there replaces the nil on top. Its type. */
static int find_number(struct diff *f)
{
    lua_State *L = f->L;
    int64_t number;
    size_t len;
    const char *text =
        lua_type(L, -3) == LUA_TSTRING ? lua_tolstring(L, -3, &len) : NULL;

    if (!text || !phpser_int_key(&number, text, len))
        return LUA_TNIL;
    f->d->foreign = true;
    if (lua_rawgeti(L, f->table, (lua_Integer)number) != LUA_TNIL)
        luaL_error(L,
            "_SESSION has both %I and \"%I\" as keys, which are the same when "
            "saved",
            (LUAI_UACINT)number, (LUAI_UACINT)number);
    lua_pop(L, 2);
    return lua_rawgeti(L, f->copy, (lua_Integer)number);
}

/* Go through the table; the number of keys that the copy has, too. */
static size_t find_changed(struct diff *f, size_t *count)
{
    lua_State *L = f->L;
    int key = lua_gettop(L) + 1;
    size_t both = 0;

    *count = 0;
    lua_pushnil(L);
    while (lua_next(L, f->table)) {
        int type;
        bool changed;

        lua_pushvalue(L, key);
        type = lua_rawget(L, f->copy); /* whose keys are PHP's */
        if (type == LUA_TNIL)
            type = find_number(f);
        both += type != LUA_TNIL;
        changed = f->d->replaced || (f->reshaped && lua_isinteger(L, key)) ||
                  !same(L, type);
        if (changed) {
            lua_settop(L, key + 1);
            put_change(f);
        }
        lua_settop(L, key);
        ++*count;
    }
    return both;
}

/* Whether the table has the key on top, as a number or as its text. */
static bool has_key(struct diff *f)
{
    lua_State *L = f->L;
    bool has = false;

    for (int spelling = 0; spelling < 2 && !has; spelling++) {
        lua_pushvalue(L, -1);
        if (spelling == 1)
            lua_tostring(L, -1);
        has = lua_rawget(L, f->table) != LUA_TNIL;
        lua_pop(L, 1);
    }
    return has;
}

/* Go through the copy: what the table does not have is gone. */
static void find_gone(struct diff *f)
{
    lua_State *L = f->L;

    lua_pushnil(L);
    while (lua_next(L, f->copy)) {
        bool is_int = lua_isinteger(L, -2);
        const char *text;
        size_t len;

        lua_pop(L, 1);
        if (has_key(f) && !(f->reshaped && is_int))
            continue;
        phpser_put_int(f->gone, (int64_t)f->gones++);
        if (is_int) {
            phpser_put_int(f->gone, lua_tointeger(L, -1) - f->d->saved_list);
        } else {
            text = lua_tolstring(L, -1, &len);
            phpser_put_string(f->gone, text, len);
        }
    }
}

/* Make an array of the elements behind the room for its head. */
static void close_array(struct buf *out, size_t count)
{
    char head[HEAD_ROOM];
    int len = snprintf(head, sizeof(head), "a:%zu:{", count);

    buf_consume(out, HEAD_ROOM - (size_t)len);
    memcpy(out->data, head, (size_t)len);
    phpser_put_end(out);
}

bool ldecoded_diff(lua_State *L, const void *data, size_t len, struct buf *over,
    struct buf *gone)
{
    struct diff f = {.L = L,
        .d = self(L),
        .over = over,
        .gone = gone,
        .data = data,
        .len = len};
    int top = lua_gettop(L);
    size_t both, count;

    luaL_checkstack(L, 16, NULL);
    lua_getiuservalue(L, top, TABLE);
    lua_getiuservalue(L, top, COPY);
    f.table = top + 1;
    f.copy = top + 2;
    f.d->list =
        lua_rawlen(L, f.table) > 0 && lvalue_is_list(L, f.table, &count);
    f.reshaped = f.d->list != f.d->saved_list;
    buf_clear(over);
    buf_clear(gone);
    buf_extend(over, HEAD_ROOM);
    buf_extend(gone, HEAD_ROOM);
    both = find_changed(&f, &f.d->count);
    if (!f.d->replaced && (both < f.d->saved || f.reshaped))
        find_gone(&f);
    close_array(over, f.overs);
    if (f.d->replaced || f.gones == 0)
        buf_clear(gone);
    else
        close_array(gone, f.gones);
    if (f.d->replaced)
        phpser_put_bool(gone, true);
    lua_settop(L, top);
    return f.overs > 0 || gone->len > 0;
}

/* The keys in the list gone leave the copy, which is on top. */
static void drop_gone(
    lua_State *L, const struct ldecoded *d, const struct buf *b)
{
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, b->data, b->len);
    while (phpser_next(&r, &t) > 0) {
        if (t.is_key || (t.type != PHPSER_INT && t.type != PHPSER_STRING))
            continue;
        lvalue_push_key(L, &t, d->saved_list);
        lua_pushnil(L);
        lua_rawset(L, -3);
    }
}

/* The key below the top of the stack holds a table that the script may keep. */
static void note_own(lua_State *L, int self_index)
{
    if (lua_getiuservalue(L, self_index, OWN) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, self_index, OWN);
    }
    lua_pushvalue(L, -3);
    lua_pushboolean(L, true);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* The elements of over become those of the copy, which is on top. */
static void copy_over(lua_State *L, struct ldecoded *d, const struct buf *b)
{
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, b->data, b->len);
    phpser_next(&r, &t);
    while (phpser_next(&r, &t) > 0 && t.type != PHPSER_END) {
        const uint8_t *value = r.at;

        lvalue_push_key(L, &t, d->list);
        do
            phpser_next(&r, &t);
        while (r.depth > 1);
        lvalue_push_session(L, value, (size_t)(r.at - value));
        if (lua_isnil(L, -1) && t.type == PHPSER_NULL) {
            lua_pop(L, 1);
            lua_pushlightuserdata(L, NULL); /* cjson.null */
        }
        if (lua_istable(L, -1))
            note_own(L, lua_absindex(L, -4));
        lua_rawset(L, -3);
    }
}

void ldecoded_saved(
    lua_State *L, const struct buf *over, const struct buf *gone)
{
    struct ldecoded *d = self(L);

    luaL_checkstack(L, 16, NULL);
    if (d->replaced) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, -3, COPY);
    } else {
        lua_getiuservalue(L, -1, COPY);
        drop_gone(L, d, gone);
    }
    copy_over(L, d, over);
    lua_pop(L, 1);
    d->replaced = false;
    d->saved = d->count;
    d->saved_list = d->list;
}

void ldecoded_settle(lua_State *L)
{
    struct ldecoded *d = self(L);
    int top = lua_gettop(L);

    luaL_checkstack(L, 16, NULL);
    lua_getiuservalue(L, top, COPY);
    if (d->foreign) {
        push_copy(L, top + 1);
        lua_setiuservalue(L, top, TABLE);
    } else if (lua_getiuservalue(L, top, OWN) == LUA_TTABLE) {
        lua_getiuservalue(L, top, TABLE);
        lua_pushnil(L);
        while (lua_next(L, top + 2)) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushvalue(L, -1);
            lua_rawget(L, top + 1);
            push_copy(L, -1);
            lua_remove(L, -2);
            lua_rawset(L, top + 3);
        }
    }
    lua_pushnil(L);
    lua_setiuservalue(L, top, OWN);
    d->foreign = false;
    lua_settop(L, top);
}
