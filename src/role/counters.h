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

#include "wire/ctlmsg.h"

enum counters_kind {
    COUNTERS_GAUGE,   /* what is so at this moment: goes up and down */
    COUNTERS_COUNTER, /* how much there was since the process began: never less
                         than before */
};

/* One number. A table of them ends with one whose name is NULL. */
struct counter {
    const char *name;
    const char *help;
    enum counters_kind kind;
    const char *unit; /* "bytes", "milliseconds", "boolean"; "": a number of
                         what help says */
    size_t offset;    /* in the struct that the table belongs to */
    size_t size;      /* of the field there: a bool, or an unsigned integer */
};

/* What every process has to tell. */
struct counters_process {
    size_t memory;
    uint64_t cpu_ms;
    uint64_t log_dropped;
};

extern const struct counter counters_process[];  /* struct counters_process */
extern const struct counter counters_gateway[];  /* struct gateway_status */
extern const struct counter counters_worker[];   /* struct worker_status */
extern const struct counter counters_program[];  /* struct program_status */
extern const struct counter counters_register[]; /* struct register_status */

/* Add a table's numbers to the object; status is what its struct holds now. */
void counters_put(
    json_t *numbers, const struct counter *table, const void *status);

#endif /* GW_ROLE_COUNTERS_H */
