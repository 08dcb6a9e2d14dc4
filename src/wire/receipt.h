/* receipt.h - what a gateway says about the orders that it has run: the body of
 * FRAME_HANDLED, between gwrun's own gateways and workers (docs/protocol.md).
 *
 * Orders are the commands that nobody answers. Both sides count them from the
 * begin of a link, each kind for itself, modulo 2^32.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_RECEIPT_H
#define GW_WIRE_RECEIPT_H

#include <stddef.h>
#include <stdint.h>

enum receipt_kind {
    RECEIPT_OTHER,   /* no order, and not told */
    RECEIPT_SEND,    /* a message, to one client or to many */
    RECEIPT_CLOSE,   /* the end of a client */
    RECEIPT_MEMBER,  /* of a uid or a group, or not any more */
    RECEIPT_SESSION, /* what a client's session is now */
    RECEIPT_KINDS,
};

#define RECEIPT_LEN ((RECEIPT_KINDS - RECEIPT_SEND) * 4) /* bytes of a body */

struct receipt {
    uint32_t orders[RECEIPT_KINDS];
};

/* Of each command: an enum receipt_kind. */
extern const uint8_t receipt_kinds[UINT8_MAX + 1];

/* One more. */
static inline void receipt_note(struct receipt *r, uint8_t cmd)
{
    r->orders[receipt_kinds[cmd]]++;
}

void receipt_put(uint8_t body[RECEIPT_LEN], const struct receipt *r);

/* 0, or -EPROTO. */
int receipt_parse(struct receipt *out, const void *data, size_t len);

#endif /* GW_WIRE_RECEIPT_H */
