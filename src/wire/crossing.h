/* crossing.h - what goes from one cell to others: a command to gateways, or the
 * answer of one, in an envelope.
 *
 * All integers are big-endian. Nothing here allocates but the output buffer and
 * crossing_stored_word().
 *
 *   1 version, 1 kind, 32 the cell's run, 8 sender, 8 its number, 8 how many it
 *   has sent to all cells; then
 *   COPY       as ORDER: one to a name, of several with the same number
 *   TELL       as ORDER: for gateways of the sender's cell, too
 *   ORDER      2 n, n times (4 ip, 2 port), a packet (frame.h)
 *   QUESTION   4 number, 1 n, n bytes: where the answer goes, a packet
 *   ANSWER     4 number, 4 ip, 2 port, 1 where it is (enum crossing_answer), a
 *              serialized value
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_CROSSING_H
#define GW_WIRE_CROSSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "wire/frame.h"

#define CROSSING_VERSION   1
#define CROSSING_RUN_LEN   32  /* bytes */
#define CROSSING_SKIPS     255 /* gateways that an order leaves out */
#define CROSSING_REPLY_MAX 255 /* bytes of the channel for the answer */

enum crossing_kind {
    CROSSING_ORDER = 1,
    CROSSING_QUESTION,
    CROSSING_ANSWER,
    CROSSING_COPY,
    CROSSING_TELL,
};

/* Where the value of an answer is. */
enum crossing_answer {
    CROSSING_HERE,
    CROSSING_TOO_LARGE, /* there is none */
    CROSSING_STORED,    /* in the engine's store (engine_store()) */
};

struct crossing_gateway {
    uint32_t ip; /* host order */
    uint16_t port;
};

struct crossing {
    enum crossing_kind kind;
    const char *run;      /* of the sender's cell; not terminated; borrowed */
    uint64_t sender;      /* a number at random of the process */
    uint64_t number;      /* of its envelopes, from 1 */
    uint64_t to_all;      /* of those, for all cells, with this one */
    const uint8_t *skips; /* ORDER, COPY: for crossing_skips(); borrowed */
    size_t nskips;
    uint32_t question; /* QUESTION, ANSWER */
    const char *reply; /* QUESTION: the channel; not terminated; borrowed */
    size_t reply_len;
    struct crossing_gateway from; /* ANSWER */
    enum crossing_answer answer;  /* ANSWER: where its value is */
    const uint8_t *data;          /* the packet or value; borrowed */
    size_t len;
};

/* Append what stands in front of data; for ORDER and COPY, skips has the
 * gateways. */
void crossing_put(struct buf *out, const struct crossing *c,
    const struct crossing_gateway *skips);

/* Decode in place. 0, -EPROTO, or -EPROTONOSUPPORT: another version. */
int crossing_read(struct crossing *c, const uint8_t *data, size_t len);

/* The word under which the value of an ANSWER is stored, for that inbox: freed
 * by the caller. */
char *crossing_stored_word(const struct crossing *c, const char *inbox);

/* Is the order not for this gateway? */
bool crossing_skips(const struct crossing *c, uint32_t ip, uint16_t port);

#endif /* GW_WIRE_CROSSING_H */
