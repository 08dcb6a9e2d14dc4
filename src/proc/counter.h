/* counter.h - one number that a process tells of itself, as a row of a table.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_COUNTER_H
#define GW_PROC_COUNTER_H

#include <stddef.h>

enum counters_kind {
    COUNTERS_GAUGE,   /* what is so at this moment: goes up and down */
    COUNTERS_COUNTER, /* how much there was since the process began: never less
                         than before */
    COUNTERS_HISTOGRAM, /* a struct histogram; for metrics only */
};

/* A table of them ends with one whose name is NULL. */
struct counter {
    const char *name;
    const char *help;
    enum counters_kind kind;
    const char *unit; /* "bytes", "milliseconds", "seconds", "boolean"; "": a
                         number of what help says */
    size_t offset;    /* in the struct that the table belongs to */
    size_t size;      /* of the field there: a bool, an unsigned integer, or a
                         struct histogram */
};

#endif /* GW_PROC_COUNTER_H */
