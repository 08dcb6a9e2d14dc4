/* ltype.h - the metatable of a userdata.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LTYPE_H
#define GW_LUALIB_LTYPE_H

#include <lauxlib.h>

/* Make the metatable of that name, for luaL_setmetatable() and
 * luaL_checkudata(): gc runs before such a userdata is freed; methods are what
 * scripts may call, NULL for none. */
void ltype_register(
    lua_State *L, const char *name, lua_CFunction gc, const luaL_Reg *methods);

#endif /* GW_LUALIB_LTYPE_H */
