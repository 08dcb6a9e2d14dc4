/* lwebsocket.h - the core of gwrun.websocket: connections whose calls yield.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LWEBSOCKET_H
#define GW_LUALIB_LWEBSOCKET_H

#include <lua.h>

#define LWEBSOCKET_HEADERS_MAX 64 /* lines of a request; more raises */

/* Push the table of functions. */
void lwebsocket_push(lua_State *L);

#endif /* GW_LUALIB_LWEBSOCKET_H */
