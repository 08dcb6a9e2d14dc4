/* gateways_address.h - what a worker knows a gateway by.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_GATEWAYS_ADDRESS_H
#define GW_WORKER_GATEWAYS_ADDRESS_H

#include <stdint.h>

/* Its inner port; the one in the ids of its clients. */
struct gateways_address {
    uint32_t ip; /* host order */
    uint16_t port;
};

#endif /* GW_WORKER_GATEWAYS_ADDRESS_H */
