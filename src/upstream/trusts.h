/* trusts.h - whose certificates are accepted, read once for many connections.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_TRUSTS_H
#define GW_UPSTREAM_TRUSTS_H

#include "net/trust.h"

#define TRUSTS_MAX 16 /* kept; one more is refused */

struct trusts;

struct trusts *trusts_new(void);
void trusts_free(struct trusts *t); /* connections keep what they have */

/* What connects to servers with certificates of the authorities in ca_file
 * (NULL: the system's), or, insecure, with any. Borrowed until trusts_free().
 * NULL, and why, when the file is not what it should be. */
struct ssl_ctx_st *trusts_find(struct trusts *t, const char *ca_file,
    bool insecure, char err[TRUST_ERROR_SIZE]);

#endif /* GW_UPSTREAM_TRUSTS_H */
