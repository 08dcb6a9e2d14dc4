/* A url of Redis, and the table that lua/gwrun/redis.lua makes of it and of its
 * options, become the structs of upstream/. Whom TLS trusts is read from its
 * files once, into a userdata that all connections of a client share. */
#include "lualib/lredisconf.h"

#include <lauxlib.h>

#include "lualib/lfields.h"
#include "net/trust.h"
#include "upstream/redisurl.h"

#define TRUST_TYPE "gwrun.redis.trust"

static int free_trust(lua_State *L)
{
    struct ssl_ctx_st **trust = luaL_checkudata(L, 1, TRUST_TYPE);

    trust_free(*trust);
    *trust = NULL;
    return 0;
}

int lredisconf_trust(lua_State *L)
{
    struct ssl_ctx_st **trust;
    struct trust_conf conf;
    char err[TRUST_ERROR_SIZE];

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    conf.ca_file = lfields_string(L, "ca_file", NULL);
    conf.cert_file = lfields_string(L, "cert_file", NULL);
    conf.key_file = lfields_string(L, "key_file", NULL);
    conf.insecure = lfields_flag(L, "insecure");
    trust = lua_newuserdatauv(L, sizeof(struct ssl_ctx_st *), 0);
    *trust = NULL;
    if (luaL_newmetatable(L, TRUST_TYPE)) {
        lua_pushcfunction(L, free_trust);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *trust = trust_new(&conf, err);
    if (*trust)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, err);
    return 2;
}

/* Runs protected: url is freed by its caller. */
static int push_url(lua_State *L)
{
    const struct redisurl *url = lua_touserdata(L, 1);

    lua_newtable(L);
    lua_pushboolean(L, url->tls);
    lua_setfield(L, -2, "tls");
    lua_pushboolean(L, url->cluster);
    lua_setfield(L, -2, "cluster");
    lua_pushstring(L, url->user);
    lua_setfield(L, -2, "user");
    lua_pushstring(L, url->password);
    lua_setfield(L, -2, "password");
    lua_pushstring(L, url->master);
    lua_setfield(L, -2, "master");
    lua_pushinteger(L, url->db);
    lua_setfield(L, -2, "db");
    lua_pushstring(L, url->hosts[0]);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, url->ports[0]);
    lua_setfield(L, -2, "port");
    lua_newtable(L); /* host, port, host, port … */
    for (size_t i = 0; i < url->count; i++) {
        lua_pushstring(L, url->hosts[i]);
        lua_rawseti(L, -2, (lua_Integer)i * 2 + 1);
        lua_pushinteger(L, url->ports[i]);
        lua_rawseti(L, -2, (lua_Integer)i * 2 + 2);
    }
    lua_setfield(L, -2, "hosts");
    return 1;
}

int lredisconf_parse(lua_State *L)
{
    struct redisurl url;
    char err[REDISURL_ERROR_SIZE];
    const char *text = luaL_checkstring(L, 1);
    int rc;

    lua_settop(L, 1);
    luaL_checkstack(L, 8, NULL);
    lua_pushcfunction(L, push_url); /* allocates nothing of Lua's later */
    if (redisurl_parse(&url, text, err) < 0) {
        redisurl_fini(&url);
        lua_pushnil(L);
        lua_pushstring(L, err);
        return 2;
    }
    lua_pushlightuserdata(L, &url);
    rc = lua_pcall(L, 1, 1, 0);
    redisurl_fini(&url);
    return rc == LUA_OK ? 1 : lua_error(L);
}

/* Of which master, and whom to ask for it. */
static void read_sentinels(
    lua_State *L, struct lredisconf *out, const char *master)
{
    struct sentinel_conf *s = &out->sentinels;
    lua_Integer words;

    *s = (struct sentinel_conf){.master = master,
        .tls = out->redis.tls,
        .tls_name = out->redis.tls_name,
        .user = lfields_string(L, "sentinel_user", NULL),
        .password = lfields_string(L, "sentinel_password", NULL),
        .hosts = out->hosts,
        .ports = out->ports};
    out->redis.sentinels = s;
    lua_getfield(L, 1, "hosts");
    words = luaL_len(L, -1);
    for (lua_Integer i = 1; i < words && s->count < SENTINEL_MAX; i += 2) {
        lua_geti(L, -1, i);
        out->hosts[s->count] = lua_tostring(L, -1); /* the table has it */
        lua_geti(L, -2, i + 1);
        out->ports[s->count++] = (uint16_t)lua_tointeger(L, -1);
        lua_pop(L, 2);
    }
}

void lredisconf_read(lua_State *L, struct lredisconf *out)
{
    struct redis_conf *conf = &out->redis;
    const char *master;

    conf->host = lfields_string(L, "host", NULL);
    luaL_argcheck(L, conf->host, 1, "host expected");
    conf->port = (uint16_t)lfields_number(L, "port");
    conf->user = lfields_string(L, "user", NULL);
    conf->password = lfields_string(L, "password", NULL);
    conf->db = (int)lfields_number(L, "db");
    conf->connect_ms = lfields_ms(L, "connect_timeout");
    conf->tls_name = lfields_string(L, "server_name", NULL);
    lua_getfield(L, 1, "trust");
    if (!lua_isnil(L, -1))
        conf->tls = *(struct ssl_ctx_st **)luaL_checkudata(L, -1, TRUST_TYPE);
    master = lfields_string(L, "master", NULL);
    if (master)
        read_sentinels(L, out, master);
}
