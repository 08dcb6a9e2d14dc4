/* limits.h - how many connections there are, in all and from each address.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_LIMITS_H
#define GW_CLIENTS_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "util/bans.h"

struct limit;

/* One household of addresses: an IPv4 address, or the /64 that an IPv6
 * customer has for himself. */
#define LIMITS_KEY_LEN 9 /* family, then an IPv4 address or a v6 /64 */
void limits_make_key(uint8_t key[LIMITS_KEY_LEN], const union addr *peer);

struct limits {
    struct limit *map; /* owned; by address */
    size_t total, max;
    size_t max_per_ip; /* 0: addresses do not count */
    struct bans bans;  /* of keys */
};

/* Whoever comes from peer's household is refused for so many seconds; as
 * bans_set(). */
int limits_ban(struct limits *l, const union addr *peer, double seconds);

/* Is it? peer is only looked at where there are bans. */
bool limits_bans(struct limits *l, const union addr *peer);

/* One more connection. 0, or -EAGAIN: there are too many. */
int limits_enter(struct limits *l);
/* It comes from peer. 0 with *out (may be NULL), -EAGAIN: too many do, or
 * -EPERM: peer is banned. */
int limits_count(struct limits *l, const union addr *peer, struct limit **out);
/* It is gone; limit NULL when it was not counted. */
void limits_leave(struct limits *l, struct limit *limit);
void limits_fini(struct limits *l);

#endif /* GW_CLIENTS_LIMITS_H */
