/* queries.h - answers to come. They carry no id: a link's come in the order of
 * its questions.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_QUERIES_H
#define GW_WORKER_QUERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/turn.h"
#include "util/list.h"
#include "worker/gateways_address.h"

#define QUERIES_TIMEOUT 5.0 /* seconds, unless the asker says otherwise */

/* One gateway's answer. */
struct queries_answer {
    struct gateways_address from;
    int err; /* 0, -ENOTCONN, -ENOBUFS, -ENOSYS, -ETIMEDOUT, -ECONNRESET */
    const uint8_t *data; /* serialized value; borrowed during the callback;
                            NULL without err: it was not asked */
    size_t len;
};

/* A question to some gateways. */
struct query;

/* All answers are there, or the deadline passed. Runs once, never inside the
 * call that asked. */
typedef void (*queries_cb)(
    const struct queries_answer *answers, size_t count, void *arg);

/* All questions of a worker. Embedded in its owner. */
struct queries {
    struct turn *turn; /* borrowed */
    struct list list;
};

/* What is to come on a link. Embedded in its owner. */
struct queries_link {
    struct list pending; /* in this order */
    size_t count;
};

void queries_init(struct queries *all, struct turn *turn);
void queries_link_init(struct queries_link *link);

/* A question to count gateways; it ends with cb, or queries_cancel(). timeout
 * in seconds, 0 for the default. */
struct query *queries_new(struct queries *all, size_t count, double timeout,
    queries_cb cb, void *arg);

/* Of the i-th gateway the answer comes on link, behind all others; or none
 * does. */
void queries_expect(struct query *q, size_t i, struct gateways_address from,
    struct queries_link *link);
void queries_refuse(
    struct query *q, size_t i, struct gateways_address from, int err);

/* Who waits for the next answer on link, and the index of it; NULL: nobody
 * does. More may be expected of it then. */
struct query *queries_asker(const struct queries_link *link, size_t *i);

/* How many gateways there may be answers of. */
size_t queries_count(const struct query *q);

/* Nothing comes on link that would be an answer, and nothing is wrong. */
void queries_pass(struct queries_link *link);

/* All have been asked. Whether there is anything to wait for; if not, the
 * callback runs at the end of the turn. */
bool queries_wait(struct query *q);

/* The callback will not run any more; the answers keep their places. */
void queries_cancel(struct query *q);

/* An answer came. 0, or -ENOENT: nobody has asked. packet is borrowed. */
int queries_take_answer(
    struct queries_link *link, const uint8_t *packet, size_t len);

/* No more answers come on link, for that reason. */
void queries_fail_all(struct queries_link *link, int err);

/* End those whose deadline is before now (loop time, ms). */
void queries_expire(struct queries *all, uint64_t now);

/* End all; no callback runs. */
void queries_free_all(struct queries *all);

#endif /* GW_WORKER_QUERIES_H */
