/* framing.h - where a message ends in a byte stream: lines and length prefixes.
 *
 * Sources: Workerman src/Protocols/Text.php and Frame.php; GatewayWorker
 * src/Lib/Gateway.php for the replies.
 *
 * Every measure function: the length of the first packet in data, > 0 and
 * perhaps larger than len (then it is not whole yet); 0 need more bytes;
 * -EPROTO never valid; -EMSGSIZE above limit.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_FRAMING_H
#define GW_WIRE_FRAMING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"

/* A message inside its packet; borrowed. */
struct framing_message {
    const uint8_t *data;
    size_t len;
};

/* "…\n" or "…\r\n". limit counts the bytes before the line feed. */
ssize_t framing_line_measure(const uint8_t *data, size_t len, size_t limit);
struct framing_message framing_line_message(const uint8_t *packet, size_t len);
void framing_line_encode(struct buf *out, const void *data, size_t len);

/* The client protocol "frame": 4 bytes big-endian, the whole packet's length
 * with themselves, then the message. limit counts the message. */
#define FRAMING_PREFIX_LEN 4
ssize_t framing_prefix_measure(const uint8_t *data, size_t len, size_t limit);
struct framing_message framing_prefix_message(
    const uint8_t *packet, size_t len);
void framing_prefix_encode(struct buf *out, const void *data, size_t len);

/* A gateway's reply: 4 bytes big-endian, the length of what follows. */
ssize_t framing_reply_measure(const uint8_t *data, size_t len, size_t limit);
struct framing_message framing_reply_message(const uint8_t *packet, size_t len);
void framing_reply_encode(struct buf *out, const void *data, size_t len);

#endif /* GW_WIRE_FRAMING_H */
