/* world.h - the roles of one configuration on one loop, in this process.
 *
 * For gwrun dev and gwrun test; gwrun start gives each role a process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_WORLD_H
#define GW_CLI_WORLD_H

#include <stddef.h>
#include <uv.h>

#include "cli/config.h"

struct world {
    uv_loop_t loop;
    struct config config;      /* owned */
    struct register_role *reg; /* owned, as all roles; NULL: it does not run */
    struct gateway **gateways; /* one for each entry of the configuration */
    struct worker **workers;   /* one for each index */
};

/* Make the loop. The roles begin one by one. */
void world_init(struct world *w);

/* The configuration becomes the world's; an entry of gateways is one gateway
 * here, whatever its count. */
void world_configure(struct world *w, struct config *c);

/* Take ownership of fds on success. 0, or -errno with a line in err. */
int world_open_register(struct world *w, int fd, char err[256]);
int world_open_gateway(struct world *w, size_t i,
    const struct gateway_slot *slot, const struct gateway_events *events,
    void *arg, char err[256]);
void world_open_worker(
    struct world *w, unsigned i, const struct worker_events *events, void *arg);

/* At once; nothing happens when it does not run. Not inside its callbacks. */
void world_close_gateway(struct world *w, size_t i);
void world_close_worker(struct world *w, unsigned i);

/* Close all that still runs, and the loop. What else has handles on it must
 * have closed them. */
void world_fini(struct world *w);

#endif /* GW_CLI_WORLD_H */
