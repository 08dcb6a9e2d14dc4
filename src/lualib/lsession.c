#include "lualib/lsession.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "lualib/lvalue.h"
#include "wire/phpser.h"
#include "worker/coro.h"
#include "worker/session.h"

/* One per state, in the registry. Its user value is a table with the address of
 * the struct coro_client as key: the session tables of events with the mark
 * has_session, and what others at these addresses have left. */
struct lsession {
    struct buf now; /* owned; scratch: _SESSION as it is */
    struct buf was; /* owned; scratch: and as it was saved last */
};

static const char registry_key;

static int on_gc(lua_State *L)
{
    struct lsession *s = lua_touserdata(L, 1);

    buf_fini(&s->now);
    buf_fini(&s->was);
    return 0;
}

/* Push the state's lsession. */
static struct lsession *push_lsession(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
    return lua_touserdata(L, -1);
}

/* Push the session table that this event uses already; false, and nothing
 * pushed, if it has not used any. */
static bool push_used(lua_State *L, const struct coro_client *client)
{
    if (!client->has_session)
        return false;
    push_lsession(L);
    lua_getiuservalue(L, -1, 1);
    lua_rawgetp(L, -1, client);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return true;
}

/* The table on top is this event's session from now on; it stays there. */
static void use_table(lua_State *L, struct coro_client *client)
{
    push_lsession(L);
    lua_getiuservalue(L, -1, 1);
    lua_pushvalue(L, -3);
    lua_rawsetp(L, -2, client);
    lua_pop(L, 2);
    client->has_session = true;
}

/* Push a table made of the serialized session. 0, or -errno and nothing pushed
 * if it is malformed. */
static int push_saved(lua_State *L)
{
    size_t len;
    const uint8_t *data = session_bytes(L, &len);
    int err = len > 0 ? lvalue_push(L, data, len) : 0;

    if (err < 0)
        return err;
    if (len > 0 && lua_istable(L, -1))
        return 0;
    lua_pop(L, len > 0 ? 1 : 0);
    lua_newtable(L);
    return 0;
}

static void push_session(lua_State *L, struct coro_client *client)
{
    int err;

    if (push_used(L, client))
        return;
    err = push_saved(L);
    if (err < 0)
        luaL_error(L, "the client's session cannot be read: %s",
            err == -ENOTSUP ? "it contains PHP objects"
                            : "it is not what PHP's serialize() writes");
    use_table(L, client);
}

/* Serialize the table on top into out. Raises. */
static void serialize(lua_State *L, struct buf *out)
{
    const char *error;

    buf_clear(out);
    error = lvalue_put(L, -1, out, "_SESSION");
    if (error)
        luaL_error(L, "%s", error);
}

/* Whether the bytes in s->now say something else than the saved ones. Those may
 * come from PHP, with keys in another order. */
static bool is_changed(lua_State *L, struct lsession *s)
{
    size_t len;
    const uint8_t *data = session_bytes(L, &len);

    if (len == s->now.len && memcmp(data, s->now.data, len) == 0)
        return false;
    if (push_saved(L) < 0)
        return true;
    serialize(L, &s->was);
    lua_pop(L, 1);
    return s->was.len != s->now.len ||
           memcmp(s->was.data, s->now.data, s->now.len) != 0;
}

void lsession_flush(lua_State *L)
{
    const struct coro_client *client = coro_client(L);
    struct lsession *s;

    if (!client || !client->has_session)
        return;
    luaL_checkstack(L, 8, NULL);
    push_used(L, client);
    s = push_lsession(L);
    lua_insert(L, -2);
    serialize(L, &s->now);
    if (is_changed(L, s))
        session_save(L, s->now.data, s->now.len);
    lua_pop(L, 2);
}

/* Give the used session table, if there is one, the content of the table on
 * top: the script may hold it in a local. */
static void refill(lua_State *L, const struct coro_client *client)
{
    if (!push_used(L, client))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    lua_pushnil(L);
    while (lua_next(L, -3)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_pop(L, 1);
}

void lsession_replace(lua_State *L, const struct buf *value)
{
    luaL_checkstack(L, 8, NULL);
    session_save(L, value->data, value->len);
    if (lvalue_push(L, value->data, value->len) == 0) {
        refill(L, coro_client(L));
        lua_pop(L, 1);
    }
}

int lsession_merge(lua_State *L, const struct buf *over)
{
    struct lsession *s;
    const uint8_t *data;
    size_t len;
    int err;

    lsession_flush(L);
    luaL_checkstack(L, 8, NULL);
    s = push_lsession(L);
    data = session_bytes(L, &len);
    buf_clear(&s->now);
    err = phpser_merge(&s->now, data, len, over->data, over->len);
    if (err == 0)
        lsession_replace(L, &s->now);
    lua_pop(L, 1);
    return err;
}

bool lsession_is_current(lua_State *L, const struct client_id *id)
{
    const struct coro_client *client = coro_client(L);

    return client && client->id.local_ip == id->local_ip &&
           client->id.local_port == id->local_port &&
           client->id.connection_id == id->connection_id;
}

/* "10.0.0.5" */
static void push_ipv4(lua_State *L, uint32_t ip)
{
    struct in_addr addr = {.s_addr = htonl(ip)};
    char text[INET_ADDRSTRLEN];

    lua_pushstring(L, inet_ntop(AF_INET, &addr, text, sizeof(text)));
}

/* "10.0.0.5" or "2001:db8::1"; "::" when it is not known: GatewayWorker's
 * gateways have no room for IPv6, a gateway that is gone tells nothing. */
static void push_client_address(lua_State *L, const struct coro_client *client)
{
    char text[INET6_ADDRSTRLEN];

    if (client->client_ip != 0)
        push_ipv4(L, client->client_ip);
    else
        lua_pushstring(
            L, inet_ntop(AF_INET6, client->client_ip6, text, sizeof(text)));
}

static void push_server(lua_State *L, const struct coro_client *client)
{
    char id[CLIENT_ID_LEN + 1];

    lua_createtable(L, 0, 5);
    push_client_address(L, client);
    lua_setfield(L, -2, "REMOTE_ADDR");
    lua_pushinteger(L, client->client_port);
    lua_setfield(L, -2, "REMOTE_PORT");
    push_ipv4(L, client->id.local_ip);
    lua_setfield(L, -2, "GATEWAY_ADDR");
    lua_pushinteger(L, client->gateway_port);
    lua_setfield(L, -2, "GATEWAY_PORT");
    client_id_format(id, &client->id);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "GATEWAY_CLIENT_ID");
}

static bool is_name(lua_State *L, int index, const char *name)
{
    return lua_type(L, index) == LUA_TSTRING &&
           strcmp(lua_tostring(L, index), name) == 0;
}

/* A global that is not there is read. */
static int on_read_global(lua_State *L)
{
    struct coro_client *client;
    bool session = is_name(L, 2, "_SESSION");

    if (!session && !is_name(L, 2, "_SERVER"))
        return 0;
    client = coro_client(L);
    if (!client)
        return 0;
    if (session)
        push_session(L, client);
    else
        push_server(L, client);
    return 1;
}

/* A global that is not there is set. */
static int on_new_global(lua_State *L)
{
    struct coro_client *client;

    if (is_name(L, 2, "_SERVER"))
        return luaL_error(L, "_SERVER cannot be replaced");
    if (!is_name(L, 2, "_SESSION")) {
        lua_rawset(L, 1);
        return 0;
    }
    client = coro_client(L);
    if (!client)
        return luaL_error(L,
            "_SESSION belongs to a client, and no client is served here; "
            "use Gateway.setSession(client_id, table)");
    if (lua_isnil(L, 3))
        lua_newtable(L);
    else if (!lua_istable(L, 3))
        return luaL_error(
            L, "_SESSION must be a table or nil, got %s", luaL_typename(L, 3));
    use_table(L, client);
    return 0;
}

static void push_value(lua_State *L, const void *data, size_t len)
{
    int err = lvalue_push(L, data, len);

    if (err < 0)
        luaL_error(L, "malformed serialized value (%d bytes)", (int)len);
}

void lsession_open(lua_State *L)
{
    static const struct session_hooks hooks = {
        .flush = lsession_flush,
        .push_value = push_value,
    };
    static const luaL_Reg meta[] = {
        {"__index", on_read_global},
        {"__newindex", on_new_global},
        {NULL, NULL},
    };
    struct lsession *s = lua_newuserdatauv(L, sizeof(*s), 1);

    memset(s, 0, sizeof(*s));
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);

    lua_pushglobaltable(L);
    luaL_newlib(L, meta);
    lua_pushliteral(L, "the globals' metatable makes _SESSION and _SERVER");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    session_set_hooks(L, &hooks);
}
