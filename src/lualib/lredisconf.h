/* lredisconf.h - where the server of a Redis connection is.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LREDISCONF_H
#define GW_LUALIB_LREDISCONF_H

#include <lua.h>

#include "upstream/redis.h"

struct lredisconf {
    struct redis_conf redis;
    struct sentinel_conf
        sentinels; /* where redis.sentinels points to, if any */
    const char *hosts[SENTINEL_MAX];
    uint16_t ports[SENTINEL_MAX];
};

/* Fill out, zeros, by the table at index 1: {host, port, user, password, db,
 * connect_timeout}; with {trust, server_name} by TLS, with {master, hosts,
 * sentinel_user, sentinel_password} where sentinels say. It was checked by
 * lua/gwrun/redis.lua. out points to strings that stay on the stack. */
void lredisconf_read(lua_State *L, struct lredisconf *out);

/* trust{ca_file, cert_file, key_file, insecure} -> what goes into the table's
 * trust | nil, message */
int lredisconf_trust(lua_State *L);

/* parse(url) -> {tls, cluster, user, password, host, port, db, hosts} and with
 * sentinels also {master} | nil, message. hosts is a list of host, port, host,
 * port …; the first are host and port, too. */
int lredisconf_parse(lua_State *L);

#endif /* GW_LUALIB_LREDISCONF_H */
