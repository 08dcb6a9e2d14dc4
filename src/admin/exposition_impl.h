/* exposition_impl.h - the parts of Prometheus' text format.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_EXPOSITION_IMPL_H
#define GW_ADMIN_EXPOSITION_IMPL_H

#include "admin/exposition.h"

#define EXPOSITION_NAME_SIZE 128 /* bytes of a metric's name, with the NUL */
#define EXPOSITION_LE_SIZE   32  /* the same of a bucket's bound */

void exposition_family(
    struct buf *out, const char *name, const char *type, const char *help);

/* One line up to the value. labels: more of them as they are told, or ""; le:
 * of a bucket, or NULL. */
void exposition_series(struct buf *out, const char *name, const char *suffix,
    const struct admin_process *p, const char *labels, const char *le);

/* The bound of bucket i of a histogram, in seconds. */
void exposition_bound(char out[EXPOSITION_LE_SIZE], size_t i);

#endif /* GW_ADMIN_EXPOSITION_IMPL_H */
