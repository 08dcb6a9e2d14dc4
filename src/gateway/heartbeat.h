/* heartbeat.h - pings silent clients and ends dead ones.
 *
 * A client without a byte for idle_timeout is ended. Left to the default, that
 * holds where websocket PINGs leave, one after ping_interval of silence: other
 * protocols have no ping that a peer must answer, so there silence ends nobody
 * unless the configuration says so.
 *
 * With ping_data or ping_not_response_limit it is GatewayWorker's heartbeat on
 * every protocol: ping_data is sent as a message every ping_interval to those
 * who said nothing in a whole one, and a client silent for (limit + 1)
 * intervals is ended; limit 0 ends nobody.
 *
 * One timer visits a slice of the clients at a time, so that a million of them
 * cost little; a client is visited eight times per interval
 * and timeout.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_HEARTBEAT_H
#define GW_GATEWAY_HEARTBEAT_H

#include <uv.h>

#include "gateway/gateway_conf.h"
#include "gateway/roster.h"

struct heartbeat;

/* NULL when conf switches it off. roster and conf are borrowed. */
struct heartbeat *heartbeat_open(
    uv_loop_t *loop, const struct gateway_conf *conf, struct roster *roster);

/* Asynchronous; NULL is allowed. */
void heartbeat_close(struct heartbeat *h);

/* The clock of struct client's times. */
uint32_t heartbeat_ticks(const uv_loop_t *loop);

#endif /* GW_GATEWAY_HEARTBEAT_H */
