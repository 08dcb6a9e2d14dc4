/* lmysql.h - the core of Mysql: a pool of connections and calls that wait.
 *
 * What scripts use is lua/mysql.lua on top of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LMYSQL_H
#define GW_LUALIB_LMYSQL_H

#include <lua.h>

/* Push the table that lua/mysql.lua is built on. */
void lmysql_push(lua_State *L);

#endif /* GW_LUALIB_LMYSQL_H */
