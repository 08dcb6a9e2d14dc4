/* lspawn.h - functions that run beside the one that started them.
 *
 * The core of gwrun.spawn and gwrun.parallel (lua/gwrun/async.lua). Each
 * function runs in a coroutine of its own, from the end of the turn on, and
 * serves no client: _SESSION and the current client belong to the handler.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LSPAWN_H
#define GW_LUALIB_LSPAWN_H

#include <lua.h>

#define LSPAWN_MAX 10000 /* alive at a time; more raises */

/* Push the table of functions: spawn, ticket, is_serving, now. */
void lspawn_push(lua_State *L);

#endif /* GW_LUALIB_LSPAWN_H */
