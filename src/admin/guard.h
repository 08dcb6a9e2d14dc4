/* guard.h - whom the operators' port answers, and what it lets him do.
 *
 * A port on loopback can be reached by every page that a browser of this
 * machine shows, under any name that resolves to it: so requests for names that
 * are not ours are refused, and whatever changes something needs a page of our
 * own and the key.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_GUARD_H
#define GW_ADMIN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/admin_conf.h"
#include "util/buf.h"
#include "wire/httpcall.h"

/* The event stream of pages that watch; as a websocket's, its Origin counts. */
#define GUARD_LIVE       "/live"
#define GUARD_COOKIE     "gwrun_admin"
#define GUARD_SESSIONS   32             /* the oldest gives way */
#define GUARD_SESSION_MS (12 * 3600000) /* then the key is asked for again */
#define GUARD_GUESSES    10             /* wrong keys in … */
#define GUARD_GUESSES_MS 60000          /* … this time; more are 429 */

struct guard;

/* conf is borrowed. */
struct guard *guard_new(const struct admin_conf *conf);
void guard_free(struct guard *g);

/* May a request for this host, from this page, be answered at all? 0, or the
 * status to refuse with: 421, 403. */
unsigned guard_judge(const struct guard *g, const struct httpcall *request);

/* Methods that change nothing. */
bool guard_is_safe(const char *method);

/* Is there a key to give? */
bool guard_has_key(const struct guard *g);

/* Does the request come from one who has given it: by the cookie that
 * guard_enter() set, or in "Authorization: Bearer"? now in ms. */
bool guard_knows(struct guard *g, const struct httpcall *request, uint64_t now);

/* The request's body is a key. 0, and the value of Set-Cookie appended to
 * cookie; 403 when it is wrong, 429 when too many were, 404 when there is none.
 * The right one is never refused for others' guesses. */
unsigned guard_enter(struct guard *g, const struct httpcall *request,
    uint64_t now, struct buf *cookie);

/* Forget all who gave it to this browser. */
void guard_leave(struct guard *g, const struct httpcall *request);

#endif /* GW_ADMIN_GUARD_H */
