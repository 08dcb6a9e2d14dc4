/* ltesting.h - the core of gwrun.testing: a sim for Lua.
 *
 * lua/gwrun/testing.lua makes apps and clients of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_LTESTING_H
#define GW_CLI_LTESTING_H

#include <lua.h>

/* Let require "gwrun.testing.core" find it. */
void ltesting_preload(lua_State *L);

#endif /* GW_CLI_LTESTING_H */
