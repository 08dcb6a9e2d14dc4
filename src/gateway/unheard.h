/* unheard.h - what a worker was given that does not acknowledge, as PHP's: how
 * many events may not have run when its link ends.
 *
 * Such a worker runs what it reads, one event after the other, and says nothing
 * of it. What it was given before it last spoke it has run but for what came
 * while it was busy; that is taken to be no more than it was given in the last
 * UNHEARD_TICKS - 1 seconds. One that is busy for longer says nothing at all
 * meanwhile, and then all counts that it was given since it spoke.
 *
 * Embedded in its owner; all zeros is a valid one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_UNHEARD_H
#define GW_GATEWAY_UNHEARD_H

#include <stdbool.h>
#include <stdint.h>

#define UNHEARD_TICKS 6 /* seconds, the one that runs included */

struct unheard {
    uint64_t lately[UNHEARD_TICKS]; /* events given, each tick of them */
    uint64_t since;                 /* it spoke */
    unsigned now;                   /* in lately */
    bool speaks;                    /* it ever did */
};

static inline void unheard_give(struct unheard *u)
{
    u->lately[u->now]++;
    u->since++;
}

static inline void unheard_hear(struct unheard *u)
{
    u->since = 0;
    u->speaks = true;
}

/* A second has passed in which the loop ran. */
void unheard_tick(struct unheard *u);

/* Its link ends: what nobody knows of. It starts anew. */
uint64_t unheard_end(struct unheard *u);

#endif /* GW_GATEWAY_UNHEARD_H */
