/* poolmetrics.h - scripts' connections to other servers, as Prometheus reads
 * them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_POOLMETRICS_H
#define GW_ADMIN_POOLMETRICS_H

#include "admin/snapshot.h"
#include "util/buf.h"

/* Append the text. */
void poolmetrics_put(struct buf *out, const struct snapshot *s);

#endif /* GW_ADMIN_POOLMETRICS_H */
