/* overview.h - how the system is, as JSON: what `gwrun status --json` prints.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_OVERVIEW_H
#define GW_ADMIN_OVERVIEW_H

#include "admin/snapshot.h"
#include "wire/ctlmsg.h"

/* A new object. */
json_t *overview_make(const struct snapshot *s);

/* How long events took so far: a new list with "name", "slot" and "counts", by
 * histogram_bounds, of each worker. */
json_t *overview_event_times(const struct snapshot *s);

/* How long callbacks took so far: a new list with "name" of the workers,
 * "callback", "counts" as above, and "seconds", their sum. */
json_t *overview_callbacks(const struct snapshot *s);

/* The largest groups: a new list with "group" and "members". */
json_t *overview_groups(const struct admin_system *system);

/* The cells of the cluster: a new object with "age_ms", "there", "gone",
 * "clients" and "rows"; null when none were seen yet. They are looked for while
 * this is called. now in ms, of the machine's monotonic clock. */
json_t *overview_cells(const struct admin_system *system, uint64_t now);

/* Where scripts raised errors: a new list with "name", "place" and "count";
 * place null: somewhere else. */
json_t *overview_faults(const struct snapshot *s);

#endif /* GW_ADMIN_OVERVIEW_H */
