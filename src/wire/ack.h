/* ack.h - what a worker says about the events that a gateway gave it: the body
 * of FRAME_ACK, between gwrun's own gateways and workers (docs/protocol.md).
 *
 * The events of a link are taken in the order in which they were given; some of
 * them wait behind others of their client and begin later.
 *
 * The body of FRAME_HANGS is the number of one event, from 1, among all that
 * were taken on the link, as four bytes. It is the last word of a worker that
 * is killed because the handler of that event does not come back.
 *
 * With a window an event may begin only if the gateway has let it. The body of
 * FRAME_WINDOW is a number, four bytes: the events up to this one may be taken,
 * and begin then. One that waited may begin when its client, whose id the
 * worker has put into FRAME_WANTS, comes in a FRAME_GRANT. Such a grant has the
 * number of the last event that may be taken now and connection ids, four bytes
 * each.
 *
 * The body of FRAME_LEFT is what a worker says of a link that has ended: its
 * pair and a NUL; then, unless it knows no such link, how many events it had
 * taken on it and which of them have not begun and never will, by their number,
 * four bytes each.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_ACK_H
#define GW_WIRE_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

/* Numbers as they stand on the wire. */
struct ack_numbers {
    const uint8_t *data; /* borrowed */
    size_t count;
};

struct ack {
    uint32_t taken;            /* events, since the last one that said so */
    uint32_t ended;            /* events whose handlers are through, likewise */
    struct ack_numbers waits;  /* of those taken, 0 …: not begun yet */
    struct ack_numbers begins; /* connection ids: one that waited begins */
};

/* 0, or -EPROTO. The numbers point into data. */
int ack_parse(struct ack *out, const void *data, size_t len);

/* waits and begins as ack_put_number() made them. */
void ack_put(struct buf *out, uint32_t taken, uint32_t ended,
    const struct buf *waits, const struct buf *begins);
void ack_put_number(struct buf *out, uint32_t number);

struct ack_left {
    const char *pair; /* borrowed; NUL-terminated */
    bool known;       /* else nothing more is said */
    uint32_t taken;
    struct ack_numbers unbegun;
};

/* 0, or -EPROTO. It points into data. */
int ack_parse_left(struct ack_left *out, const void *data, size_t len);

/* unbegun as ack_put_number() made it; or, with NULL, no such link is known. */
void ack_put_left(struct buf *out, const char *pair, uint32_t taken,
    const struct buf *unbegun);

/* i < numbers->count */
uint32_t ack_number(const struct ack_numbers *numbers, size_t i);

#endif /* GW_WIRE_ACK_H */
