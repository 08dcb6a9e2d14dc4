/* losses.h - the clients that were given up although their gateway may live.
 *
 * When only the network was away, a gateway that comes back also tells of the
 * clients that left meanwhile. The script has heard of their end already.
 *
 * Embedded in its owner; all zeros is a valid empty one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_LOSSES_H
#define GW_WORKER_LOSSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/client_id.h"

#define LOSSES_KEEP_MS (10 * 60 * 1000) /* since the last one of a gateway */

struct losses {
    struct loss *gateways; /* owned; those with losses, few */
    size_t count;
};

void losses_add(struct losses *l, const struct client_id *id, uint64_t now);

/* Forget it; whether it was there. */
bool losses_strike(struct losses *l, const struct client_id *id);

/* Forget what is older than LOSSES_KEEP_MS. */
void losses_expire(struct losses *l, uint64_t now);
void losses_fini(struct losses *l);

#endif /* GW_WORKER_LOSSES_H */
