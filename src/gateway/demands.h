/* demands.h - joins and binds of a gateway in a cluster whose callers want
 * more: to hear when sends of all cells reach the client by that name, or that
 * the uid is nobody else's in any cell. Both can be told once the engine has
 * confirmed the name.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_DEMANDS_H
#define GW_GATEWAY_DEMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "wire/demand.h"
#include "wire/frame.h"

#define DEMANDS_MAX 65536 /* that wait; the oldest is refused for one more */

struct demands;

struct demands_conf {
    struct engine *engine; /* borrowed */
    /* For the worker that waits. demand is borrowed. */
    void (*answer)(const struct demand *demand, bool held, void *arg);
    /* For all gateways that have the uid: that login has it alone. */
    void (*tell)(const void *uid, size_t len, uint64_t login, void *arg);
    void *arg; /* borrowed, handed to both */
};

struct demands *demands_new(const struct demands_conf *conf);

/* The engine must be closed. */
void demands_free(struct demands *d);

/* The order f, which demands that, was run (done), or was refused. */
void demands_take(struct demands *d, const struct frame *f,
    const struct demand *demand, bool done);

#endif /* GW_GATEWAY_DEMANDS_H */
