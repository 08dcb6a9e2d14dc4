/* simclock.h - a clock that stands still, behind a loop (net/clock.h).
 *
 * Timers wait for a time of the loop that never comes, SIMCLOCK_PARKED above
 * the clock's; simclock_step() starts those that are due there anew, with 0.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_SIMCLOCK_H
#define GW_CLI_SIMCLOCK_H

#include <stdint.h>
#include <uv.h>

#include "net/clock.h"

#define SIMCLOCK_PARKED (1ULL << 48) /* ms; nobody waits so long for real */

/* From now on it is the loop's; wall is the time on the wall, in seconds since
 * 1970. */
void simclock_start(struct clock *c, uv_loop_t *loop, double wall);

/* Take it away: what still waits on the loop does so in real time. */
void simclock_stop(uv_loop_t *loop);

/* Park the timers that were started since the last time, so that none of them
 * runs out by itself. Before and after each turn. */
void simclock_park(uv_loop_t *loop);

/* Move the clock to when the next timer is due, but at most by max_ms. What is
 * due runs in the next turn, in its order. Returns by how much. */
uint64_t simclock_step(uv_loop_t *loop, uint64_t max_ms);

#endif /* GW_CLI_SIMCLOCK_H */
