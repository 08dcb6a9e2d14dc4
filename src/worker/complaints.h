/* complaints.h - errors of the script, told to its Events.onError.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_COMPLAINTS_H
#define GW_WORKER_COMPLAINTS_H

#include <stdint.h>

#include "net/turn.h"
#include "util/list.h"

#define COMPLAINTS_MAX 10 /* told in a second; the rest is counted */

struct vm;

/* Embedded in its owner, the worker. */
struct complaints {
    struct turn *turn;   /* borrowed */
    struct vm *vm;       /* borrowed; whom to tell; NULL: nobody */
    struct list waiting; /* until the end of the turn */
    struct turn_task task;
    uint64_t second;   /* loop time, s, of told */
    unsigned told;     /* in it */
    uint64_t left_out; /* not told, since the last that was */
};

void complaints_init(struct complaints *c, struct turn *turn);
void complaints_fini(struct complaints *c);

/* That script is told from now on, if it has onError; NULL: nobody is. */
void complaints_serve(struct complaints *c, struct vm *vm);

/* Something of the script has failed: a callback, or "timer" or "spawn".
 * client: as scripts know it, or NULL; error: the message with traceback. It is
 * told at the end of the turn. c NULL: there is nobody to tell. */
void complaints_take(struct complaints *c, const char *event,
    const char *client, const char *error);

#endif /* GW_WORKER_COMPLAINTS_H */
