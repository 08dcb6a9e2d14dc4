/* snapshot.h - how all processes were at one moment.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_SNAPSHOT_H
#define GW_ADMIN_SNAPSHOT_H

#include "admin/admin_conf.h"
#include "proc/faults.h"
#include "proc/series.h"
#include "proc/timings.h"
#include "util/tallies.h"

struct snapshot_process {
    const struct admin_process *what; /* borrowed */
    struct page_child child;
    uint64_t numbers[PAGES_NUMBERS];
    const struct series *series;   /* borrowed; goes on changing, as … */
    const struct faults *faults;   /* … this … */
    const struct timings *timings; /* … and this … */
    const struct tallies *tallies; /* … and this */
};

struct snapshot {
    uint64_t now; /* ms, of the machine's monotonic clock */
    struct pages_system system;
    struct snapshot_process *processes; /* owned */
    size_t nprocesses;
};

/* Look at all pages. snapshot_fini() ends it. */
void snapshot_take(
    struct snapshot *out, const struct admin_system *system, uint64_t now);
void snapshot_fini(struct snapshot *s);

/* Milliseconds since that time, 0 when it is in the future. */
uint64_t snapshot_age(const struct snapshot *s, uint64_t since);

/* How many numbers of a page a row takes. */
size_t snapshot_width(const struct counter *row);

#endif /* GW_ADMIN_SNAPSHOT_H */
