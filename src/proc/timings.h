/* timings.h - how long a script's callbacks took, by their name, in memory that
 * outlives it.
 *
 * One process writes, any number read.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_TIMINGS_H
#define GW_PROC_TIMINGS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "util/histogram.h"

#define TIMINGS_MAX       12 /* names; there are fewer callbacks */
#define TIMINGS_NAME_SIZE 24 /* bytes with the NUL */

struct timing {
    _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1];
    _Atomic uint64_t sum;         /* nanoseconds */
    char name[TIMINGS_NAME_SIZE]; /* "onMessage" */
};

/* Zeroed memory has none. */
struct timings {
    _Atomic uint32_t count; /* of rows */
    struct timing rows[TIMINGS_MAX];
};

/* The callback of that name, a short one, took so long. */
void timings_note(struct timings *t, const char *name, uint64_t ns);

/* How many rows there are. */
size_t timings_count(const struct timings *t);

#endif /* GW_PROC_TIMINGS_H */
