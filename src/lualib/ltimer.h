/* ltimer.h - Timer: functions that run later, and sleep().
 *
 * Each callback runs in a coroutine of its own. A persistent timer whose
 * callback still waits when it is due again skips that time. Timers stop when
 * a newer script takes over.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LTIMER_H
#define GW_LUALIB_LTIMER_H

#include <lua.h>

#define LTIMER_MAX         100000 /* timers of one script; more raises */
#define LTIMER_SECONDS_MAX 1e9

/* Push the table of functions. */
void ltimer_push(lua_State *L);

#endif /* GW_LUALIB_LTIMER_H */
