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

/* Where scripts raised errors: a new list with "name", "place" and "count";
 * place null: somewhere else. */
json_t *overview_faults(const struct snapshot *s);

#endif /* GW_ADMIN_OVERVIEW_H */
