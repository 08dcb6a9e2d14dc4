/* raised.h - what a script has raised, as text: it may be any value.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_RAISED_H
#define GW_WORKER_RAISED_H

#include <lua.h>
#include <stdbool.h>

#define RAISED_ENTRIES_MAX 16  /* of a table are shown; the rest is "…" */
#define RAISED_DEPTH_MAX   3   /* tables within tables are shown */
#define RAISED_LEN_MAX     900 /* bytes of a table's text, about */

/* Push the text of the value at index and return it: strings and numbers as
 * they are, what has a __tostring as that says, other tables as their content
 * in one line: {code = 42, message = "no such room"}. Runs no other
 * metamethods. Raises only when memory is out. */
const char *raised_text(lua_State *L, int index);

/* A message handler: the text of what was raised, with a traceback. */
int raised_traceback(lua_State *L);

/* Is the function of ar (with "S") in a Lua file that came with gwrun? */
bool raised_is_ours(lua_State *L, const lua_Debug *ar);

/* luaL_error() that names the script's line, also when Lua files that came with
 * gwrun are in between. For mistakes of the script's. */
int raised_error(lua_State *L, const char *fmt, ...);

#endif /* GW_WORKER_RAISED_H */
