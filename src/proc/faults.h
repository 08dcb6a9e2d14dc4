/* faults.h - where a script raises errors, and how often, in memory that
 * outlives it.
 *
 * One process writes, any number read.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_FAULTS_H
#define GW_PROC_FAULTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define FAULTS_MAX        32 /* places; the errors of others count together */
#define FAULTS_PLACE_SIZE 96 /* bytes with the NUL; of a longer one the end */

struct fault {
    _Atomic uint64_t count;
    char place[FAULTS_PLACE_SIZE]; /* "scripts/events.lua:12" */
};

/* Zeroed memory has none. */
struct faults {
    _Atomic uint32_t count; /* of rows */
    _Atomic uint64_t others;
    struct fault rows[FAULTS_MAX];
};

/* An error with this message was raised: its place is what the message begins
 * with. */
void faults_note(struct faults *f, const char *message);

/* How many rows there are. */
size_t faults_count(const struct faults *f);

#endif /* GW_PROC_FAULTS_H */
