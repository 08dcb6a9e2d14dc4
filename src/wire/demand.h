/* demand.h - what is wanted of a join or a bind beside: the body of JOIN_GROUP
 * and BIND_UID, between gwrun's own gateways and workers where LIMITS say so.
 * GatewayWorker's have none there.
 *
 *   1 flags; with DEMAND_WAIT 4 number, 1 n, n bytes: where the answer goes
 * when sends of all cells reach the client by that name; with DEMAND_ONLY 8
 * bytes, the time of the login
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_DEMAND_H
#define GW_WIRE_DEMAND_H

#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define DEMAND_WAIT 1
#define DEMAND_ONLY 2 /* nobody else shall have the uid */

struct demand {
    uint8_t flags;
    uint32_t question; /* DEMAND_WAIT */
    const char *reply; /* not terminated; borrowed */
    size_t reply_len;
    uint64_t login; /* DEMAND_ONLY: nanoseconds since 1970 */
};

void demand_put(struct buf *out, const struct demand *d);

/* 0 or -EPROTO. */
int demand_read(struct demand *d, const uint8_t *data, size_t len);

/* A login alone: the body of FRAME_ONLY. */
void demand_put_login(struct buf *out, uint64_t login);
int demand_read_login(uint64_t *login, const uint8_t *data, size_t len);

#endif /* GW_WIRE_DEMAND_H */
