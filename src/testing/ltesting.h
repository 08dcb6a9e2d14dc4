/* ltesting.h - the core of gwrun.testing: a sim for Lua.
 *
 * lua/gwrun/testing.lua makes apps and clients of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_LTESTING_H
#define GW_TESTING_LTESTING_H

#include <lua.h>
#include <stdbool.h>

struct coverage;

/* Let require "gwrun.testing.core" find it. coverage: NULL, or what shall know
 * the lines of the scripts that run; it outlives the state. log: the field of
 * the core that says whether to show the scripts' log. */
void ltesting_preload(lua_State *L, struct coverage *coverage, bool log);

#endif /* GW_TESTING_LTESTING_H */
