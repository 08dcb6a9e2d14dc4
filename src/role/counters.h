/* counters.h - the numbers that a process tells of itself: a table a role.
 *
 * Such a table is the one place where a number of a role's status gets the name
 * that operators see, and the words that docs/deployment.md has for it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_COUNTERS_H
#define GW_ROLE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "proc/counter.h"
#include "proc/pages.h"
#include "util/histogram.h"
#include "wire/ctlmsg.h"

/* What every process has to tell. */
struct counters_process {
    size_t memory;
    uint64_t cpu_ms;
    uint64_t log_dropped;
    struct histogram turns; /* of its loop; zeros where nobody measures */
};

extern const struct counter counters_process[];  /* struct counters_process */
extern const struct counter counters_gateway[];  /* struct gateway_status */
extern const struct counter counters_worker[];   /* struct worker_status */
extern const struct counter counters_program[];  /* struct program_status */
extern const struct counter counters_register[]; /* struct register_status */

/* Add a table's numbers to the object; status is what its struct holds now. */
void counters_put(
    json_t *numbers, const struct counter *table, const void *status);

/* How many numbers of a page the table takes; a histogram takes several. */
size_t counters_width(const struct counter *table);

/* The same in a page's numbers, from out on. before: those that an earlier
 * process has left there; what is counted goes on from them. */
void counters_fill(uint64_t *out, const struct counter *table,
    const void *status, const uint64_t *before);

#endif /* GW_ROLE_COUNTERS_H */
