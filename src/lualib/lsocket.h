/* lsocket.h - the core of gwrun.socket: streams of bytes whose calls yield.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LSOCKET_H
#define GW_LUALIB_LSOCKET_H

#include <lua.h>

#define LSOCKET_STREAMS_MAX 256                /* of a Lua state; -ENOBUFS */
#define LSOCKET_READ_MAX    (16 * 1024 * 1024) /* bytes of one read; raises */

/* Push the core, for lua/gwrun/socket.lua. */
void lsocket_push(lua_State *L);

#endif /* GW_LUALIB_LSOCKET_H */
