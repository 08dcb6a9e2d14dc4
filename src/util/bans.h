/* bans.h - names that are not let in for some time: addresses, uids.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_BANS_H
#define GW_UTIL_BANS_H

#include <stdbool.h>
#include <stddef.h>

#define BANS_MAX 65536 /* at a time; one more is -ENOSPC */

struct ban;

/* All zeros is an empty start. */
struct bans {
    struct ban *map; /* owned; by name */
};

/* For so many seconds from now on, whatever was said of the name before; 0
 * lifts its ban. 0, or -ENOSPC. */
int bans_set(struct bans *b, const void *name, size_t len, double seconds);

/* Is it banned now? Without any ban this costs nothing. */
bool bans_have(struct bans *b, const void *name, size_t len);

void bans_fini(struct bans *b);

#endif /* GW_UTIL_BANS_H */
