/* forwarded.h - who stands behind a proxy: X-Forwarded-For and X-Real-IP; and
 * how it came: X-Forwarded-Proto.
 *
 * Anybody can send these headers; they count only as far as trusted proxies
 * wrote them. A proxy appends the peer that it saw, so the list is read from
 * the right: the first address that is no trusted proxy is the client.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_FORWARDED_H
#define GW_CLIENTS_FORWARDED_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"
#include "wire/httphead.h"

#define FORWARDED_MAX 50 /* entries read, from the right */

/* The networks of proxies to trust. */
struct forwarded_trust {
    struct addr_net *nets; /* owned */
    size_t count;
};

/* texts: "10.0.0.0/8" …, NULL-terminated, or NULL for none. 0, or -EINVAL and
 * *bad is the one that is no network. */
int forwarded_trust_init(
    struct forwarded_trust *t, const char *const *texts, const char **bad);
void forwarded_trust_fini(struct forwarded_trust *t);

bool forwarded_trusts(const struct forwarded_trust *t, const union addr *peer);

/* Replace peer, a trusted proxy, by the client that it speaks for. "" for a
 * header that is absent; real_ip counts without X-Forwarded-For only. The port
 * is 0 unless the header names it. peer stays as it is when there is nothing
 * to read. */
void forwarded_find(const struct forwarded_trust *t, union addr *peer,
    const char *forwarded_for, const char *real_ip);

/* The same by the headers of a request; nothing if peer is not trusted. */
void forwarded_read(const struct forwarded_trust *t, union addr *peer,
    const struct httphead *head);

/* Does peer, if it is trusted, say that its client came by https? */
bool forwarded_is_https(const struct forwarded_trust *t, const union addr *peer,
    const struct httphead *head);

#endif /* GW_CLIENTS_FORWARDED_H */
