/* vigil.h - what a cell tells of itself and others, once: that a cell is gone,
 * and that this one was away.
 *
 *   NAME:gone:RUN    who tells of it, for ENGINE_EXPIRY, then "begun", for
 *                    CELLS_REMEMBERED; goes when that run comes back
 *   "gap" "gap_at"   in the cell's record: the longest of its processes' gaps
 * in seconds, and when one was told last
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_VIGIL_H
#define GW_ENGINE_VIGIL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#define VIGIL_QUIET       6 /* s without a new gap: all processes are back */
#define VIGIL_OLD         120 /* s; a gap that nobody wanted to know is forgotten */
#define VIGIL_MEMBER_SIZE (ENGINE_RUN_SIZE + ENGINE_NAME_MAX + 1)

/* Embedded in an engine. */
struct vigil {
    struct engine *engine;             /* borrowed */
    const struct engine_tidings *wish; /* borrowed; NULL: it only tells gaps */
    void *arg;                         /* borrowed, handed to it */
    uint64_t up_at; /* ms, loop time; it is there since then */
    bool asks_gone, asks_gap;
    char member[VIGIL_MEMBER_SIZE]; /* "run cell", of which we shall tell */
    char heard[32];                 /* when it was heard of, as Redis has it */
};

/* The engine is there; it was away for so long, or 0: it was not before. */
void vigil_begin(struct vigil *v, uint64_t now, uint64_t away_ms);

/* To be called every few seconds while it is there. */
void vigil_look(struct vigil *v, uint64_t now);

#endif /* GW_ENGINE_VIGIL_H */
