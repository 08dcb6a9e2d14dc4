/* world.h - the roles of one configuration on one loop, in this process.
 *
 * For gwrun dev and gwrun test; gwrun start gives each role a process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_WORLD_H
#define GW_ROLE_WORLD_H

#include <stddef.h>
#include <uv.h>

#include "config/config.h"
#include "role/programs.h"
#include "role/role.h"

struct world {
    uv_loop_t loop;
    struct config config;   /* owned */
    struct shared *shared;  /* owned */
    struct role *reg;       /* owned, as all roles; NULL: it does not run */
    struct role **gateways; /* by entry of the configuration */
    struct role **workers;  /* by slot (slots_workers()) */
    unsigned nworkers;
    struct role *admin;
    struct pages *pages; /* owned; where there is an operators' port */
    const struct programs *programs; /* borrowed; or NULL */
    uint64_t began;                  /* ms */
};

/* Make the loop. The roles begin one by one. */
void world_init(struct world *w);

/* The configuration becomes the world's; an entry of gateways is one gateway
 * here, whatever its count. */
void world_configure(struct world *w, struct config *c);

/* What all workers and programs share becomes the world's. */
void world_share(struct world *w, struct shared *shared);

/* Take ownership of descriptors on success. 0, or -errno with a line in err. */
int world_open_register(struct world *w, int fd, char err[256]);
int world_open_gateway(struct world *w, const struct role_slot *slot,
    const struct role_events *events, void *arg, char err[256]);
void world_open_worker(
    struct world *w, unsigned i, const struct role_events *events, void *arg);
/* The operators' port, on fd, with a plan's pages, which stay the caller's. */
int world_open_admin(struct world *w, int fd, int pages_fd, char err[256]);

/* Free one of the world's roles at once, and forget it; NULL is nothing. Not
 * inside its callbacks. */
void world_close(struct role **role);

/* Close all that still runs, and the loop. What else has handles on it must
 * have closed them. */
void world_fini(struct world *w);

#endif /* GW_ROLE_WORLD_H */
