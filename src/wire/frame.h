/* frame.h - the packet between gateways and workers: 28-byte head, ext, body.
 *
 * Source: GatewayWorker src/Protocols/GatewayProtocol.php. All integers are
 * big-endian. Nothing here allocates but the output buffer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_FRAME_H
#define GW_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"

#define FRAME_HEAD_LEN 28
#define FRAME_MAX_LEN  (64 << 20) /* bytes; more is -EMSGSIZE */

#define FRAME_FLAG_STRING 0x01 /* body is bytes, not a serialized value */
#define FRAME_FLAG_RAW    0x02 /* send body without the client's framing */
/* Between gwrun's own gateways and workers that offer "client_addr": ext_data
 * begins with the client's IPv6 address, for which the head has no room. */
#define FRAME_FLAG_IPV6 0x80
#define FRAME_IPV6_LEN  16
/* Between those that offer "ack": the event was given to another worker before,
 * which did not begin it. */
#define FRAME_FLAG_AGAIN 0x40

enum frame_cmd {
    FRAME_ON_CONNECT = 1,
    FRAME_ON_MESSAGE = 3,
    FRAME_ON_CLOSE = 4,
    FRAME_SEND_TO_ONE = 5,
    FRAME_SEND_TO_ALL = 6,
    FRAME_KICK = 7,
    FRAME_DESTROY = 8,
    FRAME_UPDATE_SESSION = 9,
    FRAME_GET_ALL_CLIENT_SESSIONS = 10,
    FRAME_IS_ONLINE = 11,
    FRAME_BIND_UID = 12,
    FRAME_UNBIND_UID = 13,
    FRAME_SEND_TO_UID = 14,
    FRAME_GET_CLIENT_ID_BY_UID = 15,
    FRAME_BATCH_GET_CLIENT_ID_BY_UID = 16,
    FRAME_JOIN_GROUP = 20,
    FRAME_LEAVE_GROUP = 21,
    FRAME_SEND_TO_GROUP = 22,
    FRAME_GET_CLIENT_SESSIONS_BY_GROUP = 23,
    FRAME_GET_CLIENT_COUNT_BY_GROUP = 24,
    FRAME_SELECT = 25,
    FRAME_GET_GROUP_ID_LIST = 26,
    FRAME_UNGROUP = 27,
    FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP = 28,
    FRAME_WORKER_CONNECT = 200,
    FRAME_PING = 201,
    FRAME_GATEWAY_CLIENT_CONNECT = 202,
    FRAME_GET_SESSION_BY_CLIENT_ID = 203,
    FRAME_SET_SESSION = 204,
    FRAME_ON_WEBSOCKET_CONNECT = 205,
    /* Between gwrun's own gateways and workers that offer "handshake". */
    FRAME_HANDSHAKE_WATCH = 240, /* does the script decide about handshakes? */
    FRAME_HANDSHAKE = 241,       /* a request, and back the answer to it */
    /* Between those that offer "ack". */
    FRAME_ACK = 242, /* tell what you begin; back what was begun: ack.h */
};

struct frame {
    uint8_t cmd;
    uint8_t flag;
    uint32_t local_ip; /* host order; the gateway's lan_ip */
    uint16_t local_port;
    uint32_t client_ip; /* host order; 0 for an IPv6 client */
    uint16_t client_port;
    uint8_t client_ip6[FRAME_IPV6_LEN]; /* with FRAME_FLAG_IPV6 */
    uint32_t connection_id;
    uint16_t gateway_port;
    size_t ext_len;
    size_t body_len;
    const uint8_t *ext;  /* borrowed; without the address */
    const uint8_t *body; /* borrowed */
};

/* The length of the packet at data: > 0, 0 need more bytes, -EPROTO claimed
 * length below 28, -EMSGSIZE above limit. A positive result may be larger than
 * len: then the packet is not whole yet. Reads at most the first 4 bytes. */
ssize_t frame_measure(const uint8_t *data, size_t len, size_t limit);

/* Decode one whole packet of len bytes (as frame_measure() said) in place:
 * ext and body point into data. 0, or -EPROTO. */
int frame_decode(struct frame *f, const uint8_t *data, size_t len);

/* Append the packet to out. The lengths' sum must stay below 4 GiB. */
void frame_encode(struct buf *out, const struct frame *f);

/* "ON_MESSAGE" …, "?" when unknown. Static. */
const char *frame_cmd_name(uint8_t cmd);

#endif /* GW_WIRE_FRAME_H */
