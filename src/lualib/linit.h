/* linit.h - opens everything that scripts can use in a new Lua state.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LINIT_H
#define GW_LUALIB_LINIT_H

#include <lua.h>

/* In the registry, with "mysql", "redis" or "http" behind it: what takes the
 * place of the core that lua/gwrun/<name>.lua is built on. For tests. */
#define LINIT_CORE "gwrun.core."

/* Standard libraries (safe ones), cjson, Gateway, Timer, Log …, and print into
 * the log; a program (worker/program.h) may read its standard input, print to
 * its output and exit. Raises on failure; vm_of(L) must be set. */
void linit_open_libs(lua_State *L);

#endif /* GW_LUALIB_LINIT_H */
