/* lglobals.h - lets a script give its globals a metatable, as "strict" modules
 * do, beside the one that makes _SESSION and _SERVER.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LGLOBALS_H
#define GW_LUALIB_LGLOBALS_H

#include <lua.h>

/* Replace getmetatable and setmetatable by ones that know of both. After
 * lsession_open(). */
void lglobals_open(lua_State *L);

#endif /* GW_LUALIB_LGLOBALS_H */
