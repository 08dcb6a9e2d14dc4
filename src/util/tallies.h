/* tallies.h - how a script's connections to other servers are used, in memory
 * that outlives it.
 *
 * One process writes, any number read. A pool shows how many connections it has
 * at this moment; what all pools of one kind show is added up, and so the old
 * script's and the new one's during a reload are.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_TALLIES_H
#define GW_UTIL_TALLIES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum tallies_kind { TALLIES_MYSQL, TALLIES_REDIS, TALLIES_HTTP, TALLIES_KINDS };

struct tally {
    _Atomic uint64_t open, idle; /* connections at this moment */
    _Atomic uint64_t waiting;    /* calls that have none, at this moment */
    _Atomic uint64_t waits;      /* calls that had none at first */
    _Atomic uint64_t timeouts;   /* calls that did not end in time */
};

/* Zeroed memory has counted nothing. */
struct tallies {
    struct tally of[TALLIES_KINDS];
};

/* "mysql", "redis", "http" */
extern const char *const tallies_names[TALLIES_KINDS];

/* A process begins: its pools have no connections, and what those before it
 * counted goes on. */
void tallies_begin(struct tallies *t);

/* Embedded in each pool; zeroed: it has shown nothing. */
struct tally_share {
    struct tally *tally; /* borrowed; NULL: nobody looks */
    size_t open, idle, waiting;
};

/* How many it has now. All zero: its end. */
void tally_show(
    struct tally_share *s, size_t open, size_t idle, size_t waiting);

/* A call had to wait for a connection; one did not end in time. */
void tally_wait(struct tally_share *s);
void tally_timeout(struct tally_share *s);

#endif /* GW_UTIL_TALLIES_H */
