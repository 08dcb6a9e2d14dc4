/* gateway_impl.h - what the gateway's own files know of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_GATEWAY_IMPL_H
#define GW_GATEWAY_GATEWAY_IMPL_H

#include "gateway/admissions.h"
#include "gateway/arrivals.h"
#include "gateway/books.h"
#include "gateway/calls.h"
#include "gateway/commands.h"
#include "gateway/gateway.h"
#include "gateway/heartbeat.h"
#include "gateway/inner.h"
#include "gateway/outbox.h"
#include "gateway/roster.h"
#include "gateway/router.h"
#include "net/turn.h"
#include "util/buf.h"
#include "util/log.h"

enum gateway_state {
    GATEWAY_STARTING, /* clients are not accepted yet */
    GATEWAY_SERVING,
    GATEWAY_LEAVING,  /* waits for the clients to leave by themselves */
    GATEWAY_DRAINING, /* tells them to */
    GATEWAY_STOPPED,
};

struct gateway {
    uv_loop_t *loop;                     /* borrowed */
    const struct gateway_conf *conf;     /* borrowed */
    const struct gateway_events *events; /* borrowed */
    void *arg;                           /* borrowed, handed to events */
    /* Owned, as all that follows: */
    struct turn *turn;
    struct books *books;
    struct roster *roster;
    struct router *router;
    struct port *port;
    struct admissions *admissions;
    struct calls *calls;
    struct inner *inner;         /* NULL once stopped */
    struct outbox *outbox;       /* NULL: no book is kept */
    struct discovery *discovery; /* NULL: nobody to tell, or stopped */
    struct arrivals *arrivals;   /* NULL: no other cells, or stopped */
    struct heartbeat *heartbeat; /* NULL when switched off */
    struct commands commands;
    struct turn_task ready;     /* begins to accept clients */
    uv_timer_t *stop_timer;     /* NULL until a stop */
    struct buf scratch;         /* of a request, serialized */
    struct router_conf address; /* and what else the router is told */
    uint64_t names_left_out;    /* of query strings and cookies */
    struct log_share busy, left_out;
    unsigned index;
    enum gateway_state state;
    bool drained;      /* the operator wants no new clients here */
    size_t sockets;    /* of clients, kicked ones included */
    size_t told;       /* clients told goodbye so far, the first in roster */
    uint64_t deadline; /* ms, clock_now: end of the drain time */
    size_t batch;      /* goodbyes per tick */
    /* gateway_leave(): over so long, 0: it was not called; to so many; so many
     * goodbyes so far; and the last ones have so long after the deadline. */
    uint64_t leave_ms;
    size_t to_tell, farewells;
    uint64_t last_ms;
};

/* gateway_clients.c: what the clients' sockets call; arg is the gateway. */
extern const struct client_conn_ops gateway_client_ops;

#endif /* GW_GATEWAY_GATEWAY_IMPL_H */
