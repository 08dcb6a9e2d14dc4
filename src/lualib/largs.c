/* Every check raises and does not return, so nothing here may hold memory that
 * is not Lua's own. Numbers count as strings where GatewayWorker takes them. */
#include "lualib/largs.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "lualib/lnumber.h"
#include "util/log.h"
#include "util/utf8.h"
#include "wire/frame.h"

#define NUMBER_SIZE 24 /* room for an integer's text and a NUL */

static bool parse_client(lua_State *L, int index, struct client_id *out)
{
    size_t len;
    const char *text;

    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    text = lua_tolstring(L, index, &len);
    return client_id_parse(out, text, len) == 0;
}

/* The value at index is no client id. */
static int raise_client(lua_State *L, int arg, int index)
{
    char quoted[LOG_QUOTE_SIZE];
    size_t len;
    const char *text;

    if (lua_type(L, index) != LUA_TSTRING)
        return luaL_argerror(L, arg,
            lua_pushfstring(L, "client id expected, got %s",
                lua_isnone(L, index) ? "no value" : luaL_typename(L, index)));
    text = lua_tolstring(L, index, &len);
    return luaL_argerror(L, arg,
        lua_pushfstring(L, "malformed client id %s, 20 hex digits expected",
            log_quote(quoted, text, len)));
}

struct client_id largs_client(lua_State *L, int arg)
{
    struct client_id id;

    if (!parse_client(L, arg, &id))
        raise_client(L, arg, arg);
    return id;
}

/* Values in the table. */
static size_t count_values(lua_State *L, int arg)
{
    size_t count = 0;

    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1))
        count++;
    luaL_argcheck(L, count <= LARGS_LIST_MAX, arg, "more than 1000000 values");
    return count;
}

static int compare_clients(const void *a, const void *b)
{
    const struct client_id *x = a, *y = b;

    if (x->local_ip != y->local_ip)
        return x->local_ip < y->local_ip ? -1 : 1;
    if (x->local_port != y->local_port)
        return x->local_port < y->local_port ? -1 : 1;
    return (x->connection_id > y->connection_id) -
           (x->connection_id < y->connection_id);
}

/* The value on top, under its key, is no client id. */
static int raise_member(lua_State *L, int arg, int options)
{
    const char *value;

    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) == LUA_TSTRING)
        return raise_client(L, arg, lua_gettop(L));
    value = luaL_tolstring(L, -1, NULL);
    return luaL_argerror(L, arg,
        lua_pushfstring(L,
            "client ids expected, got a table with %s = %s; options are "
            "argument #%d",
            lua_tostring(L, -3), value, options));
}

void largs_clients(
    lua_State *L, int arg, int options, struct largs_clients *out)
{
    bool list = lua_istable(L, arg);
    size_t count = 0;

    if (!lua_isnoneornil(L, arg))
        count = list ? count_values(L, arg) : 1;
    out->items = lua_newuserdatauv(L, count * sizeof(*out->items), 0);
    out->ids = lua_newuserdatauv(L, count * sizeof(*out->ids), 0);
    out->count = 0;
    if (list) {
        for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
            if (out->count == count ||
                !parse_client(L, -1, &out->items[out->count]))
                raise_member(L, arg, options);
            out->count++;
        }
        qsort(out->items, count, sizeof(*out->items), compare_clients);
    } else if (count > 0) {
        out->items[out->count++] = largs_client(L, arg);
    }
    for (size_t i = 0; i < out->count; i++)
        out->ids[i] = out->items[i].connection_id;
}

void largs_drop_clients(
    struct largs_clients *from, const struct largs_clients *drop)
{
    size_t kept = 0;

    if (drop->count == 0)
        return;
    for (size_t i = 0; i < from->count; i++) {
        if (bsearch(&from->items[i], drop->items, drop->count,
                sizeof(*drop->items), compare_clients))
            continue;
        from->items[kept] = from->items[i];
        from->ids[kept++] = from->ids[i];
    }
    from->count = kept;
}

/* The text of the name at index; in number when it is an integer. NULL if it is
 * none, with why in *error. */
static const char *parse_name(lua_State *L, int index, size_t *len,
    char number[NUMBER_SIZE], const char **error)
{
    const char *text;
    int is_integer;
    lua_Integer n;

    number[0] = '\0';
    *error = "must not be empty or 0, and not longer than 255 bytes";
    if (lua_type(L, index) == LUA_TNUMBER) {
        n = lua_tointegerx(L, index, &is_integer);
        if (!is_integer) {
            *error = "string or integer expected, got a fraction";
            return NULL;
        }
        *len = (size_t)snprintf(number, NUMBER_SIZE, "%lld", (long long)n);
        return n != 0 ? number : NULL;
    }
    if (lua_type(L, index) != LUA_TSTRING) {
        *error = lua_pushfstring(L, "string or integer expected, got %s",
            lua_isnone(L, index) ? "no value" : luaL_typename(L, index));
        return NULL;
    }
    text = lua_tolstring(L, index, len);
    if (*len == 0 || *len > LARGS_NAME_MAX || (*len == 1 && text[0] == '0'))
        return NULL;
    if (!utf8_valid((const uint8_t *)text, *len)) {
        *error = "the name is not UTF-8, and many calls carry names as JSON";
        return NULL;
    }
    return text;
}

const char *largs_to_name(
    lua_State *L, int index, size_t *len, const char **error)
{
    char number[NUMBER_SIZE];
    const char *text = parse_name(L, index, len, number, error);

    return text == number ? lua_pushlstring(L, number, *len) : text;
}

const char *largs_name(lua_State *L, int arg, size_t *len)
{
    const char *error;
    const char *text = largs_to_name(L, arg, len, &error);

    if (!text)
        luaL_argerror(L, arg, error);
    return text;
}

static void add_name(lua_State *L, int arg, int index,
    struct cmdjson_names *out, char (*numbers)[NUMBER_SIZE])
{
    struct cmdjson_name *name = &out->items[out->count];
    char *number = numbers[out->count];
    const char *error;
    const char *text = parse_name(L, index, &name->len, number, &error);

    if (!text)
        luaL_argerror(L, arg, error);
    name->data = (char *)text; /* only read */
    name->is_int = text == number;
    out->count++;
}

void largs_names(lua_State *L, int arg, struct cmdjson_names *out)
{
    bool list = lua_istable(L, arg);
    size_t count = list ? count_values(L, arg) : 1;
    char(*numbers)[NUMBER_SIZE];

    out->items = lua_newuserdatauv(L, count * sizeof(*out->items), 0);
    out->count = 0;
    numbers = lua_newuserdatauv(L, count * sizeof(*numbers), 0);
    if (!list) {
        add_name(L, arg, arg, out, numbers);
        return;
    }
    for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
        luaL_argcheck(L, out->count < count, arg, "the table changed");
        add_name(L, arg, lua_gettop(L), out, numbers);
    }
}

bool largs_inherits(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__index") == LUA_TNIL)
        return false;
    lua_pop(L, 1);
    return true;
}

const char *largs_message(lua_State *L, int arg, size_t *len)
{
    if (lua_istable(L, arg))
        luaL_argerror(L, arg,
            "a table cannot be sent: encode it first, e.g. with json.encode of gwrun.json");
    return lnumber_checklstring(L, arg, len);
}
