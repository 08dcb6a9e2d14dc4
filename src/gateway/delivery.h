/* delivery.h - sends the message that a command carries in its body.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_DELIVERY_H
#define GW_GATEWAY_DELIVERY_H

#include <stddef.h>

#include "clients/port.h"
#include "gateway/picked.h"
#include "gateway/roster.h"
#include "util/buf.h"
#include "util/log.h"
#include "wire/frame.h"

/* Embedded in struct commands; port is borrowed, the rest starts as zeros. */
struct delivery {
    struct port *port;
    struct buf json; /* of values that are no strings */
    struct log_share faults;
};

void delivery_fini(struct delivery *d);

/* Queue the body of f for c, or for every client that is picked. How many
 * messages are dropped because a client is gone; one, with a line in the log,
 * if the body is nothing that this protocol can carry. */
size_t delivery_to_one(
    struct delivery *d, struct client *c, const struct frame *f);
size_t delivery_to_picked(
    struct delivery *d, const struct picked *picked, const struct frame *f);

#endif /* GW_GATEWAY_DELIVERY_H */
