/* llog.h - Log and print: the script's lines in gwrun's log.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LLOG_H
#define GW_LUALIB_LLOG_H

#include <lua.h>

/* Push the table Log: error, warn, notice, info, debug, with. */
void llog_push(lua_State *L);

/* print(...): a line of level notice. */
int llog_print(lua_State *L);

#endif /* GW_LUALIB_LLOG_H */
