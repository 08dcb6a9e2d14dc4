/* scriptmetrics.h - what scripts count (gwrun.metrics), as Prometheus reads it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_SCRIPTMETRICS_H
#define GW_ADMIN_SCRIPTMETRICS_H

#include "admin/snapshot.h"
#include "util/buf.h"

/* Append the text. */
void scriptmetrics_put(struct buf *out, const struct snapshot *s);

#endif /* GW_ADMIN_SCRIPTMETRICS_H */
