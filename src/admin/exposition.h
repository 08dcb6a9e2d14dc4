/* exposition.h - the numbers of all processes as Prometheus reads them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_EXPOSITION_H
#define GW_ADMIN_EXPOSITION_H

#include "admin/snapshot.h"
#include "util/buf.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Append the text. */
void exposition_put(struct buf *out, const struct snapshot *s);

#endif /* GW_ADMIN_EXPOSITION_H */
