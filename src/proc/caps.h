/* caps.h - what a process of root's can do, reduced for good (capabilities(7)).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_CAPS_H
#define GW_PROC_CAPS_H

#include <linux/capability.h>
#include <stdint.h>

/* What a master needs whose children are another user's: become that user,
 * signal his processes, read keys and write logs wherever they lie. */
#define CAPS_OF_MASTER                                                       \
    (1ULL << CAP_KILL | 1ULL << CAP_SETUID | 1ULL << CAP_SETGID |            \
        1ULL << CAP_SETPCAP | 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | \
        1ULL << CAP_DAC_READ_SEARCH)

/* Take all but keep (1 << CAP_KILL | …) from this process's bounding set: no
 * program that it starts has more. 0, also where it may not, or -errno. */
int caps_bound(uint64_t keep);

/* The same for what it can do itself, and hands on. */
int caps_limit(uint64_t keep);

#endif /* GW_PROC_CAPS_H */
