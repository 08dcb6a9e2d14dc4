/* given.h - the events that a worker was given and has not begun, as packets.
 *
 * Kept in case that the worker dies: then others get them. What the worker has
 * said about them (wire/ack.h) takes them out again.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_GIVEN_H
#define GW_GATEWAY_GIVEN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/ack.h"

struct given;

struct given *given_new(void);
void given_free(struct given *g);

/* A packet went out; copied. */
void given_add(struct given *g, const uint8_t *packet, size_t len);

/* The number of events that begin, or -EPROTO: it speaks of others than those
 * that are here. */
ssize_t given_take(struct given *g, const struct ack *ack);

size_t given_count(const struct given *g);
size_t given_bytes(const struct given *g);

/* Each packet, those of a client in order. */
void given_each(const struct given *g,
    void (*each)(const uint8_t *packet, size_t len, void *arg), void *arg);

#endif /* GW_GATEWAY_GIVEN_H */
