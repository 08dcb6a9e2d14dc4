/* lhttp.h - the core of gwrun.http: requests that yield.
 *
 * lua/gwrun/http.lua makes Http.get() and its kin of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LHTTP_H
#define GW_LUALIB_LHTTP_H

#include <lua.h>

#define LHTTP_HEADERS_MAX 256 /* lines of a request; more raises */

/* Push the table of functions. */
void lhttp_push(lua_State *L);

#endif /* GW_LUALIB_LHTTP_H */
