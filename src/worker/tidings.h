/* tidings.h - what the cluster tells a worker's script: Events.onCellGone and
 * Events.onClusterGap.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_TIDINGS_H
#define GW_WORKER_TIDINGS_H

#include "engine/engine.h"
#include "net/turn.h"
#include "util/list.h"

struct complaints;
struct vm;

/* Embedded in its owner, the worker. */
struct tidings {
    struct turn *turn;             /* borrowed */
    struct complaints *complaints; /* borrowed; of what fails */
    struct vm *vm;                 /* borrowed; whom to tell; NULL: nobody */
    struct list waiting;           /* until the end of the turn */
    struct turn_task task;
};

/* What an engine is given, with the tidings as arg. */
extern const struct engine_tidings tidings_wish;

void tidings_init(
    struct tidings *t, struct turn *turn, struct complaints *complaints);
void tidings_fini(struct tidings *t);

/* That script is told from now on, if it has the callbacks; NULL: nobody is. */
void tidings_serve(struct tidings *t, struct vm *vm);

#endif /* GW_WORKER_TIDINGS_H */
