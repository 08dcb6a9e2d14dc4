/* The request as a Lua table with the metatable of requests. What was decoded
 * stays in the table, so that a script reads it as any other field and may
 * change it; what was not is found through __index in the bytes, which lie in
 * the table under a key that no script can name. */
#include "lualib/lrequest.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lualib/lbuf.h"
#include "lualib/lresponse.h"
#include "lualib/lvalue.h"
#include "wire/httpcall.h"
#include "wire/params.h"
#include "worker/requests.h"

#define TYPE "gwrun.request"

static const char bytes_key; /* its address: of the bytes in a request, … */
static const char api_key;  /* … of the function that answers API calls … */
static const char load_key; /* … and of the one that makes that */

/* Read the bytes of the request at index; they and the array of headers stay on
 * the stack. False: it is none, or the script took them out. */
static bool read_bytes(lua_State *L, int index, struct httpcall *r)
{
    const char *data;
    size_t len, count;

    if (!lua_istable(L, index) ||
        lua_rawgetp(L, index, &bytes_key) != LUA_TSTRING)
        return false;
    data = lua_tolstring(L, -1, &len);
    count = httpcall_count_headers((const uint8_t *)data, len);
    r->head.max = count;
    r->head.fields =
        lua_newuserdatauv(L, (count + 1) * sizeof(*r->head.fields), 0);
    return httpcall_read(r, (const uint8_t *)data, len) == 0;
}

/* ---- fields ---- */

static void push_uri(lua_State *L, const struct httpcall *r)
{
    lua_pushstring(L, r->head.target);
}

static void push_path(lua_State *L, const struct httpcall *r)
{
    lua_pushlstring(L, r->head.target, strcspn(r->head.target, "?"));
}

static void push_remote_addr(lua_State *L, const struct httpcall *r)
{
    lua_pushstring(L, r->remote_addr);
}

/* Push the values of that header, joined; "" when there are none. */
static void push_joined(
    lua_State *L, const struct httpcall *r, const char *name)
{
    luaL_Buffer b;
    const char *separator = strcmp(name, "cookie") == 0 ? "; " : ", ";
    bool more = false;

    luaL_buffinit(L, &b);
    for (size_t i = 0; i < r->head.nfields; i++) {
        if (strcmp(r->head.fields[i].name, name) != 0)
            continue;
        if (more)
            luaL_addstring(&b, separator);
        luaL_addstring(&b, r->head.fields[i].value);
        more = true;
    }
    luaL_pushresult(&b);
}

/* The table on top gets each header under the name that push_name makes of
 * its own. */
static void set_headers(lua_State *L, const struct httpcall *r,
    void (*push_name)(lua_State *L, const char *name))
{
    int t = lua_gettop(L);

    for (size_t i = 0; i < r->head.nfields; i++) {
        const struct httphead_field *f = &r->head.fields[i];

        push_name(L, f->name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, t) == LUA_TNIL)
            lua_pushstring(L, f->value);
        else
            push_joined(L, r, f->name);
        lua_remove(L, -2);
        lua_rawset(L, t);
    }
}

static void push_plain_name(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
}

/* "x-real-ip" as "HTTP_X_REAL_IP". */
static void push_server_name(lua_State *L, const char *name)
{
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    luaL_addstring(&b, "HTTP_");
    for (; *name; name++) {
        char c = *name;

        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        luaL_addchar(&b, c == '-' ? '_' : c);
    }
    luaL_pushresult(&b);
}

static void push_headers(lua_State *L, const struct httpcall *r)
{
    lua_createtable(L, 0, (int)r->head.nfields);
    set_headers(L, r, push_plain_name);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    if (!text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, lua_Integer number)
{
    lua_pushinteger(L, number);
    lua_setfield(L, -2, key);
}

static const char *query_of(const struct httpcall *r)
{
    const char *query = strchr(r->head.target, '?');

    return query ? query + 1 : "";
}

/* As PHP's $_SERVER has it. */
static void push_server(lua_State *L, const struct httpcall *r)
{
    lua_createtable(L, 0, (int)r->head.nfields + 10);
    set_headers(L, r, push_server_name);
    set_text(L, "QUERY_STRING", query_of(r));
    set_text(L, "REQUEST_METHOD", r->head.method);
    set_text(L, "REQUEST_URI", r->head.target);
    set_text(L, "SERVER_PROTOCOL", r->head.minor > 0 ? "HTTP/1.1" : "HTTP/1.0");
    set_text(L, "SERVER_NAME", httphead_find(&r->head, "host"));
    set_text(L, "CONTENT_TYPE", httphead_find(&r->head, "content-type"));
    set_text(L, "HTTPS", r->tls ? "on" : NULL);
    set_text(L, "REMOTE_ADDR", r->remote_addr);
    set_number(L, "REMOTE_PORT", r->remote_port);
    set_number(L, "SERVER_PORT", r->server_port);
}

static void push_params(lua_State *L, const char *text,
    size_t (*put)(struct buf *out, const char *text))
{
    struct buf *out = lbuf_push(L);

    put(out, text);
    lvalue_push_info(L, out->data, out->len);
    buf_fini(out);
    lua_remove(L, -2);
}

static void push_get(lua_State *L, const struct httpcall *r)
{
    push_params(L, query_of(r), params_put_query);
}

static void push_cookie(lua_State *L, const struct httpcall *r)
{
    push_joined(L, r, "cookie");
    push_params(L, lua_tostring(L, -1), params_put_cookies);
    lua_remove(L, -2);
}

static const struct {
    const char *name;
    void (*push)(lua_State *L, const struct httpcall *r);
} fields[] = {
    {"headers", push_headers},
    {"get", push_get},
    {"path", push_path},
    {"uri", push_uri},
    {"cookie", push_cookie},
    {"remote_addr", push_remote_addr},
    {"server", push_server},
};

#define NFIELDS (sizeof(fields) / sizeof(fields[0]))

/* Decode field i of the request at index 1 and keep it there; it is on top. */
static bool decode(lua_State *L, size_t i)
{
    struct httpcall r = {0};

    luaL_checkstack(L, 16, "request");
    if (!read_bytes(L, 1, &r))
        return false;
    fields[i].push(L, &r);
    lua_pushstring(L, fields[i].name);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return true;
}

/* ---- the metatable ---- */

/* __index(request, key); upvalue 1: the methods, or what returns them */
static int index_request(lua_State *L)
{
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;

    for (size_t i = 0; key && i < NFIELDS; i++)
        if (strcmp(fields[i].name, key) == 0)
            return decode(L, i);
    lua_settop(L, 2);
    if (lua_isfunction(L, lua_upvalueindex(1))) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_call(L, 0, 1);
        lua_replace(L, lua_upvalueindex(1));
    }
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int next_field(lua_State *L)
{
    lua_settop(L, 2);
    do
        if (!lua_next(L, 1))
            return 0;
    while (lua_islightuserdata(L, -2) && (lua_pop(L, 1), true));
    return 2;
}

/* __pairs(request): all that there is, decoded */
static int pairs_request(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    for (size_t i = 0; i < NFIELDS; i++) {
        lua_pushstring(L, fields[i].name);
        if (lua_rawget(L, 1) == LUA_TNIL)
            decode(L, i);
        lua_settop(L, 1);
    }
    lua_pushcfunction(L, next_field);
    lua_pushvalue(L, 1);
    return 2;
}

/* Read what a gateway has sent. The array of headers stays on the stack. */
static void read_call(
    lua_State *L, struct httpcall *r, const uint8_t *data, size_t len)
{
    size_t count = httpcall_count_headers(data, len);

    r->head.max = count;
    r->head.fields =
        lua_newuserdatauv(L, (count + 1) * sizeof(*r->head.fields), 0);
    if (httpcall_read(r, data, len) < 0)
        luaL_error(L, "the request cannot be read: its gateway is not of this "
                      "version");
}

static void push_request(lua_State *L, const uint8_t *data, size_t len)
{
    struct httpcall r = {0};

    luaL_checkstack(L, 16, "request");
    read_call(L, &r, data, len);
    lua_createtable(L, 0, 8);
    lua_pushstring(L, r.head.method);
    lua_setfield(L, -2, "method");
    lua_pushlstring(L, (const char *)r.body, r.body_len);
    lua_setfield(L, -2, "body");
    lua_pushlstring(L, (const char *)data, len - r.body_len);
    lua_rawsetp(L, -2, &bytes_key);
    luaL_setmetatable(L, TYPE);
    lua_remove(L, -2);
}

/* ---- for lua/gwrun/request.lua ---- */

/* core.header_list(request, name) -> all its values, in their order */
static int header_list(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);
    struct httpcall r = {0};
    lua_Integer n = 0;
    int list;

    lua_settop(L, 2);
    lua_newtable(L);
    list = lua_gettop(L);
    if (read_bytes(L, 1, &r))
        for (size_t i = 0; i < r.head.nfields; i++)
            if (strcasecmp(r.head.fields[i].name, name) == 0) {
                lua_pushstring(L, r.head.fields[i].value);
                lua_rawseti(L, list, ++n);
            }
    lua_settop(L, list);
    return 1;
}

/* core.params(text) -> table, names left out; nil: there is a NUL in it */
static int read_params(lua_State *L)
{
    size_t len, left_out;
    const char *text = luaL_checklstring(L, 1, &len);
    struct buf *out;

    if (strlen(text) != len)
        return 0;
    out = lbuf_push(L);
    left_out = params_put_query(out, text);
    lvalue_push_info(L, out->data, out->len);
    lua_pushinteger(L, (lua_Integer)left_out);
    return 2;
}

void lrequest_push_core(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"header_list", header_list},
        {"params", read_params},
        {NULL, NULL},
    };

    luaL_newlib(L, functions);
}

/* Push the function that answers API calls, made when there is a first one:
 * most workers never have any. */
static void push_api(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &api_key) == LUA_TFUNCTION)
        return;
    lua_pop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &load_key);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &api_key);
}

static void push_call(lua_State *L, const uint8_t *data, size_t len,
    const char *rights, size_t rights_len)
{
    struct httpcall r = {0};

    luaL_checkstack(L, 16, "API");
    push_api(L);
    read_call(L, &r, data, len);
    push_path(L, &r);
    lua_pushlstring(L, (const char *)r.body, r.body_len);
    lua_remove(L, -3);
    lua_pushlstring(L, rights, rights_len);
}

void lrequest_set_api(lua_State *L)
{
    lua_rawsetp(L, LUA_REGISTRYINDEX, &load_key);
}

void lrequest_open(lua_State *L)
{
    static const struct requests_hooks hooks = {
        push_request, lresponse_read, push_call};

    luaL_newmetatable(L, TYPE);
    lua_insert(L, -2);
    lua_pushcclosure(L, index_request, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, pairs_request);
    lua_setfield(L, -2, "__pairs");
    lua_pop(L, 1);
    requests_set_hooks(L, &hooks);
}
