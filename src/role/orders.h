/* orders.h - what an operator's command wants of a gateway: gwrun kick, ban and
 * drain, as the master hands them on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_ORDERS_H
#define GW_ROLE_ORDERS_H

#include "gateway/gateway.h"
#include "wire/ctlmsg.h"

/* Which clients a message means: its "client_id", "uid", "group", "ip". The
 * texts are borrowed from it. */
struct gateway_pick orders_pick(const json_t *m);

/* Run the order of a message ("do": "kick", "ban", "drain"). The answer, of
 * type "order" with "clients", those that were closed, or with "message", what
 * is wrong. g NULL: it has no clients. */
json_t *orders_run(struct gateway *g, const json_t *m);

#endif /* GW_ROLE_ORDERS_H */
