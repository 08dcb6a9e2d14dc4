/* handshake.h - the body of ON_WEBSOCKET_CONNECT: a client's upgrade request as
 * PHP scripts know it, with get, server and cookie.
 *
 * Also the request that a worker decides about (docs/protocol.md, "handshake").
 *
 * Source: GatewayWorker src/Gateway.php, onWebsocketConnect().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_HANDSHAKE_H
#define GW_GATEWAY_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/client_io.h"
#include "util/buf.h"

/* Append the serialized array. server_port is the one the client came to. */
void handshake_put(struct buf *out, const struct client_io_request *request,
    const union addr *peer, uint16_t server_port);

/* The same with path, uri, remote_addr and headers. */
void handshake_put_question(struct buf *out,
    const struct client_io_request *request, const union addr *peer,
    uint16_t server_port);

#endif /* GW_GATEWAY_HANDSHAKE_H */
