/* router_impl.h - what the router's own files know of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ROUTER_IMPL_H
#define GW_GATEWAY_ROUTER_IMPL_H

#include "gateway/given.h"
#include "gateway/router.h"
#include "util/buf.h"
#include "util/list.h"

struct router_worker {
    struct list node;  /* in router->leaving, else alone */
    struct conn *conn; /* borrowed; NULL while it leaves */
    char *key;         /* owned */
    uint64_t key_hash; /* the same in every gateway */
    size_t clients;    /* bound to it */
    uint32_t serial;   /* tells it from others that had its slot */
    uint16_t slot;
    struct router_features features;
    struct given *given; /* owned; NULL: it does not acknowledge */
    uint64_t running;    /* events that it began and is not through with */
    bool behind;         /* it had more than it may; router_drained() is due */
};

struct event {
    const void *body; /* borrowed */
    size_t len;
    uint8_t cmd;
    bool again; /* was given to a worker that did not begin it */
};

/* An event that waits for a worker. */
struct held {
    struct list node;
    struct client *client; /* kept alive by client->held */
    struct event event;
    uint8_t body[];
};

struct router {
    struct router_conf conf;
    struct router_worker **workers; /* owned, and what it points to; by slot */
    size_t nslots, nworkers;
    uint32_t last_serial;
    struct list leaving; /* workers of which nobody knows yet what they began */
    struct list held;    /* struct held, oldest first */
    struct list paused;  /* clients not read from */
    size_t nheld, held_bytes, npaused;
    struct router_counters counters;
    bool decided;      /* router_asks() when there were workers last */
    size_t last_asked; /* slot */
    uint64_t random;
    struct buf scratch; /* of router_close() */
};

/* router.c: keep a copy at the end of list, which is router->held or becomes
 * it. */
void router_hold(struct router *r, struct list *list, struct client *c,
    const struct event *e);
void router_free_worker(struct router_worker *w);

/* router_choose.c: a worker with room for a client that is bound to none, or
 * NULL. */
struct router_worker *router_choose(struct router *r, const struct client *c);
struct router_worker *router_least_busy(const struct router *r);

/* router_choose.c: whether it takes more events. One that acknowledges may have
 * so much that it has not begun, wherever that lies. */
bool router_has_room(const struct router *r, const struct router_worker *w);

/* router_choose.c: a hash that all gateways share. */
uint64_t router_hash(const void *data, size_t len);

#endif /* GW_GATEWAY_ROUTER_IMPL_H */
