/* reglink.h - a gateway's or worker's connections to its registers.
 *
 * One link per register address, each redialed for ever; pings every 25 s.
 * Address lists of several registers are united. While a register is away its
 * last list stays in force.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_REGLINK_H
#define GW_PROC_REGLINK_H

#include <stdbool.h>
#include <stddef.h>

#include "net/turn.h"

struct reglink;

/* The united list changed: count unique "host:port" texts, borrowed. */
typedef void (*reglink_addresses_cb)(
    const char *const *addresses, size_t count, void *arg);

/* Announce a gateway's inner address to all registers. */
struct reglink *reglink_open_gateway(struct turn *turn,
    const char *const *registers, const char *secret_key, const char *address);

/* Ask all registers for the gateways, as a worker. */
struct reglink *reglink_open_worker(struct turn *turn,
    const char *const *registers, const char *secret_key,
    reglink_addresses_cb addresses_cb, void *arg);

/* Registers that are not connected at present. */
size_t reglink_missing(const struct reglink *l);

/* Has each register answered, or failed to? */
bool reglink_is_settled(const struct reglink *l);

/* Asynchronous; the callback will not run any more. */
void reglink_close(struct reglink *l);

#endif /* GW_PROC_REGLINK_H */
