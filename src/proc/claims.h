/* claims.h - who may begin an event: a page of shared memory for each pair of a
 * gateway and a worker of one machine, as long as the event link between them.
 *
 * The worker claims an event before its handler begins: it writes the event's
 * number down and advances an index, by one compare-and-swap and no system
 * call. To take events back the gateway sets a bit in the same word. What lies
 * below the index then has begun, nothing else has or ever will: no clock is
 * asked, and a worker that was stopped for an hour in between cannot change it.
 *
 * The gateway makes the file and tells its name on the event link; the worker
 * maps it and takes the name away. Where that does not work the page is never
 * joined, and what the worker has said is all that there is to know. Each side
 * checks what it reads: the other one may have written anything.
 *
 * The worker also shows there how many orders (wire/receipt.h) it has put on
 * the command link: one store each. When the links end, one of the two counts
 * those that were not run, and the other one learns that: the gateway if it
 * lives, since it knows what it has run, whatever became of the worker.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_CLAIMS_H
#define GW_PROC_CLAIMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/secret.h"
#include "wire/receipt.h"

/* Events that a worker may have of a gateway and not have begun, as far as the
 * gateway knows; a number of each stands in the page, 4 bytes. */
#define CLAIMS_EVENTS 16384

#define CLAIMS_UNRUN_MAX                                                   \
    (1u << 28) /* orders of a kind that were sent and not run; more is not \
                  valid: 8 GB would wait for the link */

#define CLAIMS_PREFIX_SIZE 64 /* bytes, with the NUL */

struct claims;

/* What the files of the run in that folder are called, up to the last part:
 * "/dev/shm/gwrun-91c0…". */
void claims_prefix(char out[CLAIMS_PREFIX_SIZE], const char *run_dir);

/* Remove what a run that was killed has left behind. */
void claims_clean(const char *prefix);

/* ---- the gateway ---- */

/* A new page, with room on its disk for all of it. 0, or -errno: *out is
 * untouched. */
int claims_create(struct claims **out, const char *prefix);

/* For claims_open(). Borrowed. */
const char *claims_name(const struct claims *c);

/* From now on nothing is claimed any more. The number of claims there were,
 * which wraps around; -ENOTCONN: the worker has never joined and will not;
 * -EPROTO: what stands there is not valid. The same answer each time. */
int64_t claims_revoke(struct claims *c);

/* From now on no request begins any more. How many of those that the worker was
 * given have begun, from the first one on, which wraps around; -ENOTCONN: the
 * worker does not say so here, and will not; -EPROTO. */
int64_t claims_revoke_requests(struct claims *c);

/* What was claimed as number i, from 0; one of the last CLAIMS_EVENTS - 1: over
 * what stood before them the worker may have written. */
uint32_t claims_get(const struct claims *c, uint32_t i);

/* What moves with each claim and each beat of the worker; what the number is
 * says nothing. False: the worker has not joined, or the page is revoked. */
bool claims_pulse(const struct claims *c, uint64_t *pulse);

/* Whether the worker shows what it sends: an earlier version does not. */
bool claims_shows_sent(const struct claims *c);

/* The link of commands has ended, on which these were run: count the others. 0;
 * -ENOTSUP: the worker does not show them; -EALREADY: it has counted them
 * itself; -EPROTO: what stands there is not valid. To be called once. */
int claims_count_unrun(
    struct claims *c, const struct receipt *run, struct receipt *unrun);

/* ---- the worker ---- */

/* So many requests have begun; with a page that takes the place of another one,
 * also those that were claimed there. */
void claims_join_requests(struct claims *c, uint32_t begun);

/* May the next request begin? One after the other, as they came. */
bool claims_begin_request(struct claims *c);

/* Where a worker shows what it has sent; the gateway reads it at any time. */
struct claims_sent {
    _Atomic uint32_t orders[RECEIPT_KINDS];
};

/* Join the page of that name, a text of len bytes from the gateway. 0, or
 * -errno: *out is untouched. */
int claims_open(
    struct claims **out, const char *prefix, const void *name, size_t len);

/* May the event with this number begin? 0: it has, as far as the gateway is
 * concerned; -ECANCELED: it belongs to others; -EPROTO: what stands there is
 * not valid. Once it is not 0 it never is again. */
int claims_begin(struct claims *c, uint32_t number);

/* Show from now on what was sent, and it was that until now. Where it is to be
 * stored, with claims_note_sent(); borrowed. */
struct claims_sent *claims_show_sent(
    struct claims *c, const struct receipt *sent);

/* Of that command as many as sent has it now. */
static inline void claims_note_sent(
    struct claims_sent *at, const struct receipt *sent, uint8_t cmd)
{
    uint8_t kind = receipt_kinds[cmd];

    atomic_store_explicit(
        &at->orders[kind], sent->orders[kind], memory_order_relaxed);
}

/* The links have ended; of what was sent this was confirmed. 0: the gateway has
 * counted the others, and confirmed gets what had been sent by then; -EAGAIN:
 * it has not, yet; -EPROTO: what stands there is not valid. */
int claims_hear_counted(const struct claims *c, const struct receipt *sent,
    struct receipt *confirmed);

/* The gateway is not waited for any more: the others than those in confirmed
 * are the worker's to count. 0, or -EPROTO, as above. */
int claims_take_account(
    struct claims *c, const struct receipt *sent, struct receipt *confirmed);

/* It lives. One store, and no system call. */
void claims_beat(struct claims *c);

/* ---- both ---- */

/* The same one, to be closed once more. */
struct claims *claims_share(struct claims *c);

/* NULL is allowed. */
void claims_close(struct claims *c);

#endif /* GW_PROC_CLAIMS_H */
