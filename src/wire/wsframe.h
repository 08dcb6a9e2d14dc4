/* wsframe.h - websocket frames as a server reads and writes them.
 *
 * Source: RFC 6455 section 5.2. No extensions: the reserved bits are zero.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_WSFRAME_H
#define GW_WIRE_WSFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"

#define WSFRAME_HEAD_MAX    10  /* bytes of a head that a server writes */
#define WSFRAME_CONTROL_MAX 125 /* payload of a Close, Ping or Pong */

enum wsframe_opcode {
    WSFRAME_CONTINUATION = 0x0,
    WSFRAME_TEXT = 0x1,
    WSFRAME_BINARY = 0x2,
    WSFRAME_CLOSE = 0x8,
    WSFRAME_PING = 0x9,
    WSFRAME_PONG = 0xa,
};

struct wsframe {
    enum wsframe_opcode opcode;
    bool final;   /* the message ends with it */
    uint64_t len; /* of the payload, as announced */
    uint8_t mask[4];
};

/* Read the head of a client's frame at data. The head's length, > 0; 0 need
 * more bytes; -EPROTO what no client may send: no mask, an unknown opcode, a
 * reserved bit, a control frame that is long or in pieces, a length with its
 * highest bit set. A length in more bytes than it needs is accepted. */
ssize_t wsframe_read(struct wsframe *f, const uint8_t *data, size_t len);

/* Take the mask off the whole payload, in place. */
void wsframe_unmask(const struct wsframe *f, uint8_t *payload);

/* Whether a Close frame may carry this code (RFC 6455 section 7.4 and IANA). */
bool wsframe_is_close_code(unsigned code);

/* The payload of a Close frame. */
#define WSFRAME_REASON_MAX (WSFRAME_CONTROL_MAX - 2) /* bytes */
#define WSFRAME_NO_CODE    1005 /* what an empty payload means */
struct wsframe_close {
    unsigned code;
    const uint8_t *reason; /* UTF-8; borrowed */
    size_t len;
};

/* 0; -EPROTO a code that may not be sent, or too long; -EILSEQ the reason is
 * not UTF-8. */
int wsframe_read_close(
    struct wsframe_close *out, const uint8_t *payload, size_t len);
void wsframe_put_close(struct buf *out, const struct wsframe_close *close);

/* Write the head of a final frame without a mask; returns its length, at most
 * WSFRAME_HEAD_MAX. */
size_t wsframe_put_head(uint8_t *out, enum wsframe_opcode opcode, size_t len);

#endif /* GW_WIRE_WSFRAME_H */
