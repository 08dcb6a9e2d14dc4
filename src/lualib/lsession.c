/* What a handler changed is found by comparing its decoded session with the
 * copy beside it (ldecoded.c), before the handler waits and when it ends.
 * Sessions are kept decoded for their clients' next events, within a share of
 * the state's memory; one that the gateway has another version of is decoded
 * anew. */
#include "lualib/lsession.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "lualib/ldecoded.h"
#include "lualib/lvalue.h"
#include "wire/phpser.h"
#include "worker/coro.h"
#include "worker/gateways.h"
#include "worker/session.h"
#include "worker/vm.h"

#define SCRATCH_KEEP (64 * 1024) /* bytes kept of what was saved last */

/* Of memory_limit a KEPT_SHARE-th may be taken by sessions that are kept, as
 * serialized bytes; as tables they are a few times as large. */
#define KEPT_SHARE 64
#define KEPT_COST  256 /* bytes, of each */

/* One per state, in the registry. Its user values: a table with the address of
 * the struct coro_client as key, which holds the decoded sessions of events
 * with the mark has_session and what others at these addresses have left; a
 * table of those kept for clients' next events, by number. */
struct lsession {
    struct buf over, gone; /* owned; scratch: what a handler changed */
    struct list kept;      /* struct ldecoded, used last at the end */
    size_t kept_size;
};

enum { USED = 1, KEPT };

static const char registry_key;

static int on_gc(lua_State *L)
{
    struct lsession *s = lua_touserdata(L, 1);

    buf_fini(&s->over);
    buf_fini(&s->gone);
    return 0;
}

/* Push the state's lsession. */
static struct lsession *push_lsession(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
    return lua_touserdata(L, -1);
}

/* sessions that are kept */

/* s is on top, d in its table of kept ones. */
static void drop_kept(lua_State *L, struct lsession *s, struct ldecoded *d)
{
    list_remove(&d->node);
    s->kept_size -= d->size;
    lua_getiuservalue(L, -1, KEPT);
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)d->number);
    lua_pop(L, 1);
}

/* Push the client's session that was kept, and keep it no more. False, and
 * nothing pushed: there is none, or it has changed. */
static bool take_kept(lua_State *L, struct session_id id)
{
    struct lsession *s;
    struct ldecoded *d;

    if (id.number == 0)
        return false;
    s = push_lsession(L);
    lua_getiuservalue(L, -1, KEPT);
    lua_rawgeti(L, -1, (lua_Integer)id.number);
    d = lua_touserdata(L, -1);
    lua_replace(L, -2);
    lua_insert(L, -2); /* below s */
    if (d)
        drop_kept(L, s, d);
    lua_pop(L, 1);
    if (d && d->version == id.version)
        return true;
    lua_pop(L, 1);
    return false;
}

/* Keep the decoded session on top for the client's next event. */
static void keep(lua_State *L, struct session_id id, size_t size)
{
    struct ldecoded *d = lua_touserdata(L, -1);
    size_t max = vm_memory_max(vm_of(L)) / KEPT_SHARE;
    struct lsession *s;

    if (id.number == 0 || id.version != d->version || size > max)
        return; /* … or somebody changed it meanwhile */
    d->number = id.number;
    d->size = size + KEPT_COST;
    s = push_lsession(L);
    while (s->kept_size > max)
        drop_kept(L, s, LIST_ENTRY(s->kept.next, struct ldecoded, node));
    lua_getiuservalue(L, -1, KEPT);
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, (lua_Integer)id.number);
    lua_pop(L, 2);
    list_push_back(&s->kept, &d->node);
    s->kept_size += d->size;
}

/* sessions in use */

/* Push the decoded session that this event uses already; false, and nothing
 * pushed, if it has not used any. */
static bool push_used(lua_State *L, const struct coro_client *client)
{
    if (!client->has_session)
        return false;
    push_lsession(L);
    lua_getiuservalue(L, -1, USED);
    lua_rawgetp(L, -1, client);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return true;
}

/* The decoded session on top, or nil, is this event's; it stays there. */
static void set_used(lua_State *L, struct coro_client *client)
{
    push_lsession(L);
    lua_getiuservalue(L, -1, USED);
    lua_pushvalue(L, -3);
    lua_rawsetp(L, -2, client);
    lua_pop(L, 2);
    client->has_session = !lua_isnil(L, -1);
}

/* Push the decoded session of this event. */
static void push_session(lua_State *L, struct coro_client *client)
{
    const uint8_t *data;
    size_t len;

    if (push_used(L, client))
        return;
    luaL_checkstack(L, 16, NULL);
    if (!take_kept(L, session_id(L))) {
        data = session_bytes(L, &len);
        ldecoded_push(L, data, len)->version = session_id(L).version;
    }
    set_used(L, client);
}

/* Raise why the session cannot be saved. */
static void refuse(lua_State *L, int err, size_t size)
{
    if (err == -EMSGSIZE)
        luaL_error(L,
            "_SESSION would be %I bytes when saved, more than the %I "
            "that its gateway takes (max_session)",
            (LUAI_UACINT)size, (LUAI_UACINT)session_max(L));
    luaL_error(L, "_SESSION cannot be saved: %s",
        err == -ENOTSUP ? "a PHP reference in it would lose what it means"
                        : "what is saved is not valid");
}

/* Save what changed in _SESSION. False: its gateway does not take it. */
static bool save(lua_State *L)
{
    const struct coro_client *client = coro_client(L);
    struct lsession *s;
    const uint8_t *data;
    size_t len;
    bool unsaved = false;

    if (!client || !client->has_session)
        return true;
    luaL_checkstack(L, 8, NULL);
    s = push_lsession(L);
    push_used(L, client);
    data = session_bytes(L, &len);
    if (ldecoded_diff(L, data, len, &s->over, &s->gone)) {
        const struct phpser_patch patch = {
            s->over.data, s->over.len, s->gone.data, s->gone.len};
        int err = session_save(L, &patch, &len);

        if (err == -ENOTCONN || err == -ENOBUFS)
            unsaved = true; /* tried again at the next wait, if there is one */
        else if (err < 0)
            refuse(L, err, len);
        else
            ldecoded_saved(L, &s->over, &s->gone);
        buf_shrink(&s->over, SCRATCH_KEEP);
        buf_shrink(&s->gone, SCRATCH_KEEP);
    }
    lua_pop(L, 2);
    return !unsaved;
}

void lsession_flush(lua_State *L)
{
    save(L);
}

/* The handler is through: save, and keep the table for the next event. A
 * handler that fails does not come here, nor does its table. */
static void finish(lua_State *L)
{
    struct coro_client *client = coro_client(L);
    size_t len;
    bool saved = save(L);

    if (!client || !client->has_session)
        return;
    push_used(L, client);
    if (saved) {
        ldecoded_settle(L);
        session_bytes(L, &len);
        keep(L, session_id(L), len);
    }
    lua_pushnil(L);
    set_used(L, client);
    lua_pop(L, 2);
}

/* The session was saved: the script may hold its table in a local. */
static void refill(lua_State *L)
{
    struct coro_client *client = coro_client(L);
    const uint8_t *data;
    size_t len;

    luaL_checkstack(L, 16, NULL);
    if (push_used(L, client)) {
        data = session_bytes(L, &len);
        ldecoded_refill(L, data, len);
        ((struct ldecoded *)lua_touserdata(L, -1))->version =
            session_id(L).version;
        lua_pop(L, 1);
    } else if (take_kept(L, session_id(L))) {
        lua_pop(L, 1); /* it is not the session any more */
    }
}

/* Push true, or nil, message, code; their number. */
static int push_result(lua_State *L, int err, size_t size)
{
    if (err == 0) {
        refill(L);
        lua_pushboolean(L, true);
        return 1;
    }
    if (err == -EMSGSIZE)
        return lsession_fail_too_large(L, size, session_max(L));
    if (err != -ENOTSUP)
        return lvalue_fail(L, err);
    lua_pushliteral(
        L, "a PHP reference in the session would lose what it means");
    return lvalue_fail_with(L, err);
}

int lsession_fail_too_large(lua_State *L, size_t size, size_t max)
{
    lua_pushfstring(L,
        "the session would be %I bytes, more than the %I that its "
        "gateway takes (max_session)",
        (LUAI_UACINT)size, (LUAI_UACINT)max);
    return lvalue_fail_with(L, -EMSGSIZE);
}

int lsession_replace(lua_State *L, const struct buf *value)
{
    const struct phpser_patch patch = {value->data, value->len, "b:1;", 4};
    size_t size;
    int err = session_save(L, &patch, &size);

    return push_result(L, err, size);
}

/* Append the elements of merged that over has, too. */
static void put_merged(
    struct buf *out, const struct buf *merged, const struct buf *over)
{
    struct phpser_reader r;
    struct phpser_token t;

    phpser_read(&r, over->data, over->len);
    phpser_next(&r, &t);
    phpser_put_array(out, t.count);
    phpser_read(&r, merged->data, merged->len);
    phpser_next(&r, &t);
    for (;;) {
        const uint8_t *element = r.at;
        size_t key_len, len;

        if (phpser_next(&r, &t) <= 0 || t.type == PHPSER_END)
            break;
        key_len = (size_t)(r.at - element);
        do
            phpser_next(&r, &t);
        while (r.depth > 1);
        if (phpser_find(over->data, over->len, element, key_len, &len))
            buf_append(out, element, (size_t)(r.at - element));
    }
    phpser_put_end(out);
}

int lsession_merge(lua_State *L, const struct buf *over)
{
    struct phpser_patch patch = {0};
    struct lsession *s;
    const uint8_t *data;
    size_t len;
    int err;

    lsession_flush(L);
    luaL_checkstack(L, 8, NULL);
    s = push_lsession(L);
    lua_pop(L, 1);
    data = session_bytes(L, &len);
    buf_clear(&s->over);
    buf_clear(&s->gone);
    err = phpser_merge(&s->gone, data, len, over->data, over->len);
    if (err < 0)
        return push_result(L, err, 0);
    put_merged(&s->over, &s->gone, over);
    patch.over = s->over.data;
    patch.over_len = s->over.len;
    err = session_save(L, &patch, &len);
    return push_result(L, err, len);
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

    lua_createtable(L, 0, 6);
    push_client_address(L, client);
    lua_setfield(L, -2, "REMOTE_ADDR");
    lua_pushinteger(L, client->client_port);
    lua_setfield(L, -2, "REMOTE_PORT");
    push_ipv4(L, client->id.local_ip);
    lua_setfield(L, -2, "GATEWAY_ADDR");
    lua_pushinteger(L, client->gateway_port);
    lua_setfield(L, -2, "GATEWAY_PORT");
    lua_pushstring(L, gateways_name(vm_gateways(vm_of(L)), client->id.local_ip,
                          client->id.local_port));
    lua_setfield(L, -2, "GATEWAY_NAME");
    if (client->streams) {
        lua_pushliteral(L, "sse");
        lua_setfield(L, -2, "PROTOCOL");
    }
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
    if (!session) {
        push_server(L, client);
        return 1;
    }
    push_session(L, client);
    ldecoded_push_table(L);
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
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    if (!lua_istable(L, 3))
        return luaL_error(
            L, "_SESSION must be a table or nil, got %s", luaL_typename(L, 3));
    push_session(L, client);
    lua_pushvalue(L, 3);
    ldecoded_use(L);
    return 0;
}

static void check_value(lua_State *L, int err, size_t len)
{
    if (err < 0)
        luaL_error(L, "malformed serialized value (%d bytes)", (int)len);
}

static void push_value(lua_State *L, const void *data, size_t len)
{
    check_value(L, lvalue_push(L, data, len), len);
}

static void push_info(lua_State *L, const void *data, size_t len)
{
    check_value(L, lvalue_push_info(L, data, len), len);
}

static void push_saved(lua_State *L, const void *data, size_t len)
{
    check_value(L, lvalue_push_session(L, data, len), len);
}

void lsession_open(lua_State *L)
{
    static const struct session_hooks hooks = {
        .flush = lsession_flush,
        .end = finish,
        .push_value = push_value,
        .push_info = push_info,
        .push_session = push_saved,
    };
    static const luaL_Reg meta[] = {
        {"__index", on_read_global},
        {"__newindex", on_new_global},
        {NULL, NULL},
    };
    struct lsession *s = lua_newuserdatauv(L, sizeof(*s), KEPT);

    memset(s, 0, sizeof(*s));
    list_init(&s->kept);
    lua_newtable(L);
    lua_setiuservalue(L, -2, USED);
    lua_newtable(L);
    lua_setiuservalue(L, -2, KEPT);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);

    lua_pushglobaltable(L);
    luaL_newlib(L, meta);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    session_set_hooks(L, &hooks);
}
