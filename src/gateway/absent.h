/* absent.h - workers whose machine could not be reached any more, until they
 * are there again, or for an hour. Those that left, or died, are none.
 *
 * Embedded in its owner; all zeros is a valid one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ABSENT_H
#define GW_GATEWAY_ABSENT_H

#include <stddef.h>
#include <stdint.h>

#include "net/reach.h"

#define ABSENT_MAX 64      /* the oldest are forgotten */
#define ABSENT_MS  3600000 /* ms that one is remembered */

struct absent {
    struct absent_worker {
        char *key;   /* owned */
        uint64_t at; /* ms, clock_now */
    } list[ABSENT_MAX];
    size_t count; /* oldest first */
};

void absent_fini(struct absent *a);

/* The worker with that key (copied) is away; is there again. */
void absent_add(struct absent *a, const char *key, uint64_t now);
void absent_strike(struct absent *a, const char *key);

/* Each that is away at that time. */
void absent_report(
    struct absent *a, uint64_t now, reach_link_cb each, void *arg);

#endif /* GW_GATEWAY_ABSENT_H */
