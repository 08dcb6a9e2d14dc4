/* turn.h - work that is done once at the end of a turn of the loop.
 *
 * A turn is one round of the uv loop: timers, then what the sockets brought.
 * Everything that wants to be written collects during the turn and leaves just
 * before the loop sleeps again, in one system call per socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_TURN_H
#define GW_NET_TURN_H

#include <stdint.h>
#include <uv.h>

#include "util/buf.h"
#include "util/histogram.h"
#include "util/list.h"

#define TURN_SCRATCH_SIZE (128 * 1024) /* bytes at turn_scratch() */
#define TURN_SPARES       16           /* buffers kept for turn_lend() */
#define TURN_SPARE_MAX    (256 * 1024) /* bytes of one of them */

struct turn;

struct turn_task {
    struct list node; /* list_init() before the first use */
    void (*run)(struct turn_task *task);
};

/* One per role object. Does not keep the loop alive. */
struct turn *turn_new(uv_loop_t *loop);

/* Asynchronous: freed when libuv has closed its handles. No task may be
 * scheduled any more; those that are will not run. */
void turn_close(struct turn *t);

/* Count how long turns of the loop take, from the end of its sleep to the end
 * of the tasks, into a histogram, which is borrowed; NULL: not any more. Other
 * turns on the loop are counted if they were made after this one. Of what the
 * loop calls for sockets up to a millisecond is left out. */
void turn_measure(struct turn *t, struct histogram *turns);

/* When the loop ended its last sleep, in ns of the machine's monotonic clock;
 * as of the first call in a turn, if that is within a millisecond. */
uint64_t turn_woken(struct turn *t);

uv_loop_t *turn_loop(const struct turn *t);

/* Run task->run once at the end of this turn; scheduling it again before then
 * changes nothing. run() may schedule tasks: they run in the same turn. */
void turn_schedule(struct turn *t, struct turn_task *task);

/* As above, but before all that is scheduled so far. */
void turn_schedule_first(struct turn *t, struct turn_task *task);

/* Run it once at the end of the next turn, which does not wait for anything. */
void turn_schedule_later(struct turn *t, struct turn_task *task);

/* Take it back: it will not run. Harmless when not scheduled. */
void turn_cancel(struct turn_task *task);

/* Memory to read a socket into, shared by all of the role: what is in it lasts
 * until the callback that filled it returns. */
uint8_t *turn_scratch(struct turn *t);

/* What is written in a turn collects in memory that is free between turns: give
 * some to b, which has none, and take it back once b is empty. */
void turn_lend(struct turn *t, struct buf *b);
void turn_take_back(struct turn *t, struct buf *b);

#endif /* GW_NET_TURN_H */
