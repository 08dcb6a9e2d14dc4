/* given.h - the events that a worker was given and has not begun, as packets:
 * who may begin them is decided here.
 *
 * Kept in case that the worker dies: then others get them. What the worker has
 * said about them (wire/ack.h) takes them out again. With a page
 * (proc/claims.h) it has to claim each before it begins: then given_revoke()
 * and given_close() tell, whatever became of worker and link, which have begun.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_GIVEN_H
#define GW_GATEWAY_GIVEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/claims.h"
#include "util/buf.h"
#include "wire/ack.h"

struct given;

/* The page is taken over; NULL: there is none. */
struct given *given_new(struct claims *page);
void given_free(struct given *g);

/* Whether one more may be given to a worker that takes high_water bytes at a
 * time. */
bool given_has_room(const struct given *g, size_t high_water);

/* A packet went out; copied. */
void given_add(struct given *g, const uint8_t *packet, size_t len);

/* This packet is about to be here no more. Borrowed. */
typedef void (*given_gone_cb)(const uint8_t *packet, size_t len, void *arg);

/* The number of events that begin, each told to gone; or -EPROTO: it speaks of
 * others than those that are here. */
ssize_t given_take(
    struct given *g, const struct ack *ack, given_gone_cb gone, void *arg);

/* Between machines: the worker may take events of which at most line are not
 * known to be taken, and begin them; of those that waited so many as queued may
 * begin and not be known to have begun. Before the first one. */
void given_set_window(struct given *g, uint32_t line, uint32_t queued);

/* The first event of that client that waits could begin. 0, or -EPROTO: none
 * does, or it has been said. */
int given_want(struct given *g, uint32_t connection_id);

/* Whether the worker is to be told that more may begin: then the body of a
 * FRAME_GRANT is appended to out. */
bool given_grant(struct given *g, struct buf *out);

typedef void (*given_each_cb)(const uint8_t *packet, size_t len, void *arg);

/* Forget the event with this number, from 1, of all that were added; dropped
 * gets it before. False: it is not here any more. */
bool given_drop(
    struct given *g, uint32_t number, given_each_cb dropped, void *arg);

/* The link is lost: with a page, the worker begins nothing more of this. */
void given_revoke(struct given *g);

/* After that: whether the worker has joined the page, and so claimed all that
 * it began. */
bool given_is_claimed(const struct given *g);

/* Nothing more will be said. Forget what the worker has claimed without having
 * said so; begun gets each before it, and may say that it has not begun, since
 * somebody else knows better: then it stays. 0: nothing that is left here has
 * begun or will. -ENOTCONN: there is no page, or the worker has not joined it:
 * what it has said is all that is known. -EPROTO: what stands in the page is
 * not valid, and nobody knows. */
typedef bool (*given_begun_cb)(const uint8_t *packet, size_t len, void *arg);
int given_close(struct given *g, given_begun_cb begun, void *arg);

/* While begun is told of an event: its number, as in given_drop(). */
uint32_t given_struck(const struct given *g);

/* Nothing more will be said, but that: forget what begun gets, which is all
 * that has begun and was not told of. 0: nothing that is left here has begun or
 * will; -EPROTO: it speaks of others than those that are here. */
int given_leave(struct given *g, const struct ack_left *left,
    given_begun_cb begun, void *arg);

/* Nothing was or will be said, and the worker has a window: forget all that it
 * may have begun, or still may, which gone gets before. What is left here has
 * not begun and never will. */
void given_close_window(struct given *g, given_each_cb gone, void *arg);

/* claims_pulse() of its page; false: there is none. */
bool given_pulse(const struct given *g, uint64_t *pulse);

/* What is here is with others, and so is the page, which is revoked. The worker
 * goes on with that page, and with the numbers as they are. */
void given_renew(struct given *g, struct claims *page);
/* It has the new page. */
void given_renewed(struct given *g);

/* claims_count_unrun() of the page that the worker has; -ENOTSUP: there is
 * none. */
int given_count_unrun(
    const struct given *g, const struct receipt *run, struct receipt *unrun);

/* Both links are lost: the worker begins no requests any more, either. */
void given_revoke_requests(struct given *g);

/* After given_revoke_requests(): whether the worker has begun the request that
 * was the number-th of all that it was given, from 1. -ENOTCONN: nobody knows.
 */
int given_has_begun_request(const struct given *g, uint32_t number);

size_t given_count(const struct given *g);
size_t given_bytes(const struct given *g);

/* Bytes of those that the worker has not even taken off the link. */
size_t given_untaken(const struct given *g);

/* Each packet, those of a client in order. */
void given_each(const struct given *g, given_each_cb each, void *arg);

#endif /* GW_GATEWAY_GIVEN_H */
