/* histogram.h - how long things took, or how large they were, counted by size.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_HISTOGRAM_H
#define GW_UTIL_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 16

/* Upper bounds, in nanoseconds; what is longer than the last one counts behind
 * it. */
static const uint64_t histogram_bounds[HISTOGRAM_BOUNDS] = {100000, 250000,
    500000, 1000000, 2500000, 5000000, 10000000, 25000000, 50000000, 100000000,
    250000000, 500000000, 1000000000, 2500000000, 5000000000, 10000000000};

/* The same in bytes: 1 KiB, 4 KiB … 1 TiB. */
#define HISTOGRAM_SIZE(i) (UINT64_C(1024) << 2 * (i))

struct histogram {
    uint64_t counts[HISTOGRAM_BOUNDS + 1];
    uint64_t sum; /* nanoseconds, or bytes */
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && ns > histogram_bounds[i])
        i++;
    h->counts[i]++;
    h->sum += ns;
}

static inline void histogram_add_size(struct histogram *h, uint64_t bytes)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && bytes > HISTOGRAM_SIZE(i))
        i++;
    h->counts[i]++;
    h->sum += bytes;
}

#endif /* GW_UTIL_HISTOGRAM_H */
