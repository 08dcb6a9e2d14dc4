/* lredis.h - the core of gwrun.redis: connections whose calls yield.
 *
 * lua/gwrun/redis.lua makes the commands, transactions and subscriptions of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LREDIS_H
#define GW_LUALIB_LREDIS_H

#include <lua.h>

#define LREDIS_WORDS_MAX 100000 /* in one command; fit on Lua's stack */
#define LREDIS_BATCH_MAX 10000  /* commands in one pipeline */
#define LREDIS_PUSHED_MAX                              \
    (16 * 1024 * 1024) /* bytes unread; then it is cut \
                        */

/* Push the table of functions. */
void lredis_push(lua_State *L);

#endif /* GW_LUALIB_LREDIS_H */
