/* lrequest.h - what Events.onRequest gets and what it returns.
 *
 * The request comes as the gateway's bytes; each part of it is decoded when the
 * script first reads it. Its methods are in lua/gwrun/request.lua.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LREQUEST_H
#define GW_LUALIB_LREQUEST_H

#include <lua.h>

/* Takes the function on top, which returns the table of methods, off the stack;
 * called when a script first asks a request for what is no field. */
void lrequest_open(lua_State *L);

/* Push a table with what the methods need of C. */
void lrequest_push_core(lua_State *L);

/* Pops the function that returns the one which answers calls of the push API.
 */
void lrequest_set_api(lua_State *L);

#endif /* GW_LUALIB_LREQUEST_H */
