/* llimit.h - parts of a handler whose waits can be cut short.
 *
 * The core of gwrun.deadline, gwrun.whileConnected and of what gwrun.parallel
 * does with its functions when nobody waits for them any more
 * (lua/gwrun/async.lua).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LLIMIT_H
#define GW_LUALIB_LLIMIT_H

#include <lua.h>

/* Add the functions limit, deadline and connected to the table on top. */
void llimit_add(lua_State *L);

#endif /* GW_LUALIB_LLIMIT_H */
