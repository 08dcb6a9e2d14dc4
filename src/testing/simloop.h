/* simloop.h - the loop of a test's world: its clock stands still, and it knows
 * whether something is on its way.
 *
 * No role knows of it. gwrun is linked so (-Wl,--wrap, see Makefile) that its
 * calls of the libuv functions that start and end timers, connections and
 * requests come to simloop.c, which passes them on to libuv unless the loop is
 * one of these.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_SIMLOOP_H
#define GW_TESTING_SIMLOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "net/clock.h"

struct simloop;

/* Stop the clock of a loop on which nothing has started yet. wall is the time
 * on the wall, in seconds since 1970. The loop's data is ours until
 * simloop_close(). */
struct simloop *simloop_open(uv_loop_t *loop, double wall);

/* Give the loop back: timers that still wait do so in real time. NULL is
 * nothing. */
void simloop_close(struct simloop *s);

/* Borrowed, as long as s lives. */
const struct clock *simloop_clock(const struct simloop *s);

/* Move the clock to when the next timer is due, but at most by max_ms. What is
 * due runs in the next turn, in its order. Returns by how much. */
uint64_t simloop_step(struct simloop *s, uint64_t max_ms);

/* Does a thread work for the loop (on a password, a name)? */
bool simloop_is_computing(const struct simloop *s);

/* Bytes that conns of the loop have to write or have written, less those that
 * conns of the loop have read. 0: nothing is on its way between them. */
int64_t simloop_in_flight(const struct simloop *s);

#endif /* GW_TESTING_SIMLOOP_H */
