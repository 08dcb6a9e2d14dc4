/* lshared.h - gwrun.shared: a small table that all workers of a machine share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LSHARED_H
#define GW_LUALIB_LSHARED_H

#include <lua.h>

/* Push the module. */
void lshared_push(lua_State *L);

#endif /* GW_LUALIB_LSHARED_H */
