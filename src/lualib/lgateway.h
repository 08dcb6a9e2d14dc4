/* lgateway.h - Gateway: what a script can tell and ask the gateways.
 *
 * Names and arguments are GatewayWorker's. Commands are here and in C; queries
 * are in lua/gateway.lua on top of a small core (lquery.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LGATEWAY_H
#define GW_LUALIB_LGATEWAY_H

#include <lua.h>

/* Push the table of commands. */
void lgateway_push(lua_State *L);

/* Push the table that lua/gateway.lua builds its queries from: ask() and its
 * helpers, and the command numbers. */
void lquery_push(lua_State *L);

#endif /* GW_LUALIB_LGATEWAY_H */
