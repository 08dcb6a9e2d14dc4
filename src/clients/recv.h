/* recv.h - from the bytes of a client to its messages.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_RECV_H
#define GW_CLIENTS_RECV_H

#include <stddef.h>
#include <stdint.h>

#include "clients/client_conn.h"

struct client_shared;

/* What has a connection while it is a client. */
extern const struct client_stage recv_stage;

/* Bytes of a client, which may be changed. */
void recv_bytes(struct client_conn *c, uint8_t *data, size_t len);

/* For protocols: one whole message. */
void recv_deliver(struct client_conn *c, const void *data, size_t len,
    enum protocol_form form);
/* It broke the rules: close it, nothing that it says matters any more. */
void recv_fail(struct client_conn *c, enum client_conn_cause cause, int code,
    const char *reason);
/* The same for a message over the limit. */
void recv_too_large(struct client_conn *c);

/* Close clients whose message takes too long. */
void recv_sweep(struct client_shared *shared, uint64_t now);

#endif /* GW_CLIENTS_RECV_H */
