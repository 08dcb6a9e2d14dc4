/* asks.h - websockets that wait for a worker's word on their handshake.
 *
 * The request goes to one worker whose script decides (router_pick_decider());
 * its answer, or its end, is the client's. Time limits are client_io's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ASKS_H
#define GW_GATEWAY_ASKS_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/client_io.h"
#include "gateway/router.h"
#include "wire/frame.h"

#define ASKS_REASON_MAX 200 /* bytes of a refusal's reason; cut */

struct asks;
struct ask;

/* router is borrowed. */
struct asks *asks_new(struct router *router);
/* No callback. */
void asks_free(struct asks *a);

/* Ask about conn; body is the serialized request. NULL: there is no worker to
 * ask. client_answer() follows, unless asks_forget() comes first. */
struct ask *asks_begin(
    struct asks *a, struct client_conn *conn, const uint8_t *body, size_t len);
/* conn is gone. */
void asks_forget(struct asks *a, struct ask *ask);

/* A worker's answer: the number of the question in connection_id, in the body
 * "0" or a status, a space and a reason. Answers that nobody waits for and
 * those of a worker that was not asked are ignored. */
void asks_answer(struct asks *a, const struct frame *f, uint32_t serial);

/* It will not answer any more: 503. */
void asks_worker_gone(struct asks *a, uint32_t serial);

#endif /* GW_GATEWAY_ASKS_H */
