/* superglobals.h - a client's upgrade request as PHP scripts know it: $_GET,
 * $_SERVER and $_COOKIE, the body of ON_WEBSOCKET_CONNECT.
 *
 * Also the request that a worker decides about (docs/protocol.md, "handshake").
 *
 * Source: GatewayWorker src/Gateway.php, onWebsocketConnect().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_SUPERGLOBALS_H
#define GW_GATEWAY_SUPERGLOBALS_H

#include <stddef.h>
#include <stdint.h>

#include "clients/client_conn.h"
#include "util/buf.h"

/* Append the serialized array. server_port is the one the client came to. How
 * many names of query and cookies are left out (wire/params.h). */
size_t superglobals_put(struct buf *out,
    const struct client_conn_request *request, const union addr *peer,
    uint16_t server_port);

/* The same with path, uri, remote_addr and headers. */
size_t superglobals_put_question(struct buf *out,
    const struct client_conn_request *request, const union addr *peer,
    uint16_t server_port);

#endif /* GW_GATEWAY_SUPERGLOBALS_H */
