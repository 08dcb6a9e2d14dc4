/* calls.h - HTTP requests that wait for a worker's answer.
 *
 * Each goes to one worker whose script has onRequest, whichever has room. The
 * worker says when it begins. Should it be lost, what it has not begun for
 * certain (router_may_have_begun()) goes to another worker; what it has begun,
 * or may have, never does: its answer is 502 then. Time limits are the clients'
 * (clients/).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_CALLS_H
#define GW_GATEWAY_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/router.h"
#include "wire/answer.h"
#include "wire/frame.h"
#include "wire/httpcall.h"

struct calls;
struct call;

struct calls_conf {
    struct router *router; /* borrowed */
    size_t response_max;   /* bytes of an answer's body */
    /* The answer to what began with asker; borrowed. said NULL: a status of
     * ours, 502 or 503. calls_forget() is still due. */
    void (*on_answer)(void *asker, const struct answer *said, unsigned status);
    /* A worker has begun with it: its bytes are kept no longer. */
    void (*on_begun)(void *asker);
};

struct calls_counters {
    uint64_t again;  /* of them to another one than the first */
    uint64_t lost;   /* begun, or perhaps, by a worker that was lost: 502 */
    uint64_t faulty; /* answers that were not valid: 502 */
};

struct calls *calls_new(const struct calls_conf *conf);
/* No callback. */
void calls_free(struct calls *cs);

/* Give it to a worker; h is borrowed. rights NULL: to one whose script has
 * onRequest; else it is a call of the push API by who has these. NULL: none has
 * room. on_answer() follows, not inside the call, unless calls_forget() comes
 * first, which is due in any case. */
struct call *calls_begin(struct calls *cs, void *asker,
    const struct httpcall *h, const char *rights);
void calls_forget(struct calls *cs, struct call *call);

/* The body of FRAME_REQUEST_BEGUN from that worker: numbers of requests. */
void calls_begun(
    struct calls *cs, uint32_t serial, const uint8_t *body, size_t len);

/* A worker's answer: the number of the request in connection_id. One that
 * nobody waits for, or of another worker, is ignored. */
void calls_answer(struct calls *cs, const struct frame *f, uint32_t serial);

/* That worker was removed and nothing more comes from it. */
void calls_worker_settled(struct calls *cs, const struct router_worker *w);

/* Those that wait. */
size_t calls_count(const struct calls *cs);

const struct calls_counters *calls_counters(const struct calls *cs);

#endif /* GW_GATEWAY_CALLS_H */
