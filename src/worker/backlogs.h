/* backlogs.h - how much of each gateway waits in the mailboxes, and whose link
 * is not read for that.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_BACKLOGS_H
#define GW_WORKER_BACKLOGS_H

#include "util/list.h"
#include "worker/gateways.h"

/* Of all gateways. Embedded in its owner. */
struct backlogs {
    struct gateways *gateways; /* borrowed */
    struct list list;          /* struct backlog */
    size_t max;                /* bytes of one, above which it is not read */
    size_t queued;             /* events of all */
    bool stopped;              /* nothing is read any more: no link goes on */
};

/* Borrows gateways, which outlives it. It ends when all is removed. */
void backlogs_init(struct backlogs *all, struct gateways *gateways, size_t max);

/* An event of that gateway is queued, or is not any more; bytes: the same both
 * times. */
void backlogs_add(
    struct backlogs *all, struct gateways_address from, size_t bytes);
void backlogs_remove(
    struct backlogs *all, struct gateways_address from, size_t bytes);

#endif /* GW_WORKER_BACKLOGS_H */
