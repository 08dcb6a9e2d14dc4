/* asks.h - questions to gateways: to one, to some, to all.
 *
 * A question is a command that is answered; it never overtakes the commands
 * sent before it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_ASKS_H
#define GW_WORKER_ASKS_H

#include "wire/demand.h"
#include "worker/gateways.h"
#include "worker/queries.h"

#define ASKS_PENDING_MAX                                        \
    65536 /* questions in flight to one gateway; more fail with \
             -ENOBUFS */

/* Ask one gateway, some, or all (targets NULL: every gateway that is known).
 * f is encoded during the call. timeout in seconds, 0 for the default. */
struct query *asks_put(struct gateways *g,
    const struct gateways_address *targets, size_t count, const struct frame *f,
    double timeout, queries_cb cb, void *arg);

/* Ask all gateways of this cell, and of other cells those that have one of the
 * names. only_whether: that another cell has one is answer enough, a list that
 * is not empty. */
struct query *asks_put_about(struct gateways *g, const struct frame *f,
    const struct departures_names *names, bool only_whether, double timeout,
    queries_cb cb, void *arg);

/* A join or a bind for each of the names, of a client of that gateway. */
struct asks_demands {
    struct gateways_address to;
    const struct cmdjson_names *names; /* borrowed */
    struct demand demand;
};

/* Send f for each; the answers, true or false, say that sends of all cells
 * reach the client by that name, or that it was refused. To be called when
 * other cells can be reached. */
struct query *asks_put_demands(struct gateways *g, struct frame *f,
    const struct asks_demands *demands, double timeout, queries_cb cb,
    void *arg);

/* Ask all about the clients that are bound to this worker. Of a gateway that
 * does not know them, as PHP's, the answer is -ENOSYS. */
struct query *asks_put_mine(struct gateways *g, const struct frame *f,
    double timeout, queries_cb cb, void *arg);

#endif /* GW_WORKER_ASKS_H */
