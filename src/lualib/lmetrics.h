/* lmetrics.h - gwrun.metrics: numbers of a script's own for /metrics.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LMETRICS_H
#define GW_LUALIB_LMETRICS_H

#include <lua.h>

/* Push the core of lua/gwrun/metrics.lua. */
void lmetrics_push(lua_State *L);

#endif /* GW_LUALIB_LMETRICS_H */
