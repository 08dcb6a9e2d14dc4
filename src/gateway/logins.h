/* logins.h - which login of a uid is the newest, where only one may stay.
 *
 * Every login has its time. The newest stays, and whoever else has the uid is
 * closed; one that comes behind a newer one, by another way, is closed itself.
 * Times of two machines may differ, so they are compared for LOGINS_FRESH
 * seconds only: whatever stands that long is older than what comes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_LOGINS_H
#define GW_GATEWAY_LOGINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/list.h"

#define LOGINS_FRESH 10    /* seconds */
#define LOGINS_MAX   65536 /* uids; the oldest is forgotten for one more */

struct login;

/* Embedded; begins as zeros. */
struct logins {
    struct login *by_uid; /* owned */
    struct list oldest;   /* the same, by when they came */
};

void logins_fini(struct logins *l);

/* A login, connection 0: elsewhere. now in ms. True: it is the newest that is
 * known, and others are to go. False: there is a newer one, since *newest; or
 * this one is known. */
bool logins_note(struct logins *l, const void *uid, size_t len, uint64_t time,
    uint32_t connection, uint64_t now);

/* The newest one, or 0 when none is fresh; *connection: of whom, 0: elsewhere.
 */
uint64_t logins_newest(struct logins *l, const void *uid, size_t len,
    uint64_t now, uint32_t *connection);

#endif /* GW_GATEWAY_LOGINS_H */
