/* admissions.h - may this websocket in? Those that wait for a worker's word.
 *
 * The request goes to one worker whose script decides (router_pick());
 * its answer, or its end, is the client's. Time limits are port's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ADMISSIONS_H
#define GW_GATEWAY_ADMISSIONS_H

#include <stddef.h>
#include <stdint.h>

#include "clients/request.h"
#include "gateway/roster.h"
#include "gateway/router.h"
#include "wire/frame.h"

#define ADMISSIONS_REASON_MAX 200 /* bytes of a refusal's reason; cut */

struct admissions;
struct admission;

/* What this gateway allows a client; workers are told. */
struct admissions_limits {
    size_t session_max; /* bytes */
    unsigned groups_max;
};

/* router is borrowed. */
struct admissions *admissions_new(
    struct router *router, const struct admissions_limits *limits);
/* Forgets those who still wait; no callback runs. */
void admissions_free(struct admissions *a);

/* Ask about conn; body is the serialized request. NULL: there is no worker to
 * ask. request_answer() or request_answer_with() follows, unless
 * admissions_forget() comes first, which is due in any case. */
struct admission *admissions_begin(struct admissions *a,
    struct client_conn *conn, const uint8_t *body, size_t len);
/* The admission is over: its websocket is gone, or a client now, or refused. */
void admissions_forget(struct admissions *a, struct admission *admission);

/* conn was let in and is c now: give it the session, uid and groups of the
 * answer. 0, or -errno, logged: c must not stay. */
int admissions_apply(
    const struct admission *admission, struct roster *roster, struct client *c);

/* The same by an answer alone. */
int admissions_apply_answer(
    const struct answer *said, struct roster *roster, struct client *c);

/* A worker's answer: the number of the question in connection_id; the body, a
 * string, "0" or a status, a space and a reason; else wire/answer.h. One that
 * is not valid refuses with 500, and is logged. Answers that nobody waits for
 * and those of a worker that was not asked are ignored. */
void admissions_answer(
    struct admissions *a, const struct frame *f, uint32_t serial);

/* The worker with this serial is lost: those it was asked about get 503. */
void admissions_worker_gone(struct admissions *a, uint32_t serial);

#endif /* GW_GATEWAY_ADMISSIONS_H */
