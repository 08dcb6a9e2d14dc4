/* receipts.h - what a gateway was sent and what of it it has run.
 *
 * Embedded in a peer; all zeros is a valid one of which nothing is known.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_RECEIPTS_H
#define GW_WORKER_RECEIPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proc/claims.h"
#include "util/list.h"
#include "wire/frame.h"
#include "wire/receipt.h"

struct receipts {
    struct receipt written;   /* orders, on the links that there are now … */
    struct receipt confirmed; /* … and that the gateway has said to have run */
    bool heard;               /* it has said that, on these links */
    bool known;               /* it does; or did, when it was last heard */
    struct claims_sent *shown; /* borrowed; where it sees what is written; NULL:
                                  it does not */
};

#define RECEIPTS_WAIT                                                          \
    2 /* seconds, about, that a gateway of this machine may take to count what \
         was lost; then the worker does */

/* A command is written to it. */
static inline void receipts_note(struct receipts *r, uint8_t cmd)
{
    receipt_note(&r->written, cmd);
    if (r->shown)
        claims_note_sent(r->shown, &r->written, cmd);
}

/* FRAME_HANDLED has come. 0, or -EPROTO: it cannot be true (logged). */
int receipts_take(
    struct receipts *r, const char *gateway, const struct frame *f);

/* Its first event is here, in front of which it would have said so: PHP's, and
 * gwrun's older ones, do not. */
void receipts_settle(struct receipts *r);

/* Let the gateway see from now on what is written, in that page, which is open
 * until receipts_end(). */
void receipts_show(struct receipts *r, struct claims *page);

/* The links have ended. How many orders it has not said to have run; 0 of one
 * that never says so. Logged. page: in which it sees what was written, or NULL;
 * then it is to count them, and is put into waits until it has. */
uint64_t receipts_end(struct receipts *r, const char *gateway,
    struct claims *page, struct list *waits);

/* A second has passed: how many orders are lost that no gateway has counted. */
uint64_t receipts_tick(struct list *waits);

/* The same, when no gateway is waited for any more. */
uint64_t receipts_close(struct list *waits);

#endif /* GW_WORKER_RECEIPTS_H */
