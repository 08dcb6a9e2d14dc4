/* regmsg.h - the lines between a register and its gateways and workers.
 *
 * Source: GatewayWorker src/Register.php. One JSON object a line.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_REGMSG_H
#define GW_WIRE_REGMSG_H

#include <stddef.h>

#include "util/buf.h"

#define REGMSG_MAX_LEN (1 << 20) /* bytes of a line */

enum regmsg_event {
    REGMSG_GATEWAY_CONNECT,
    REGMSG_WORKER_CONNECT,
    REGMSG_PING,
    REGMSG_BROADCAST_ADDRESSES,
};

struct regmsg {
    enum regmsg_event event;
    char *secret_key; /* owned; "" when absent */
    char *address;    /* owned; gateway_connect only, else NULL */
    char **addresses; /* owned; broadcast_addresses only */
    size_t count;     /* of addresses */
};

/* Parse one line without its end. 0, or -EPROTO for anything that is not one
 * of the four messages with the fields it needs. regmsg_fini() ends it. */
int regmsg_parse(struct regmsg *out, const void *line, size_t len);
void regmsg_fini(struct regmsg *m);

/* Append one line with its "\n". Key order and escaping as PHP writes them. */
void regmsg_put_gateway_connect(
    struct buf *out, const char *address, const char *secret_key);
void regmsg_put_worker_connect(struct buf *out, const char *secret_key);
void regmsg_put_ping(struct buf *out);
void regmsg_put_broadcast_addresses(
    struct buf *out, const char *const *addresses, size_t count);

#endif /* GW_WIRE_REGMSG_H */
