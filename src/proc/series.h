/* series.h - numbers that a script counts, in memory that outlives it.
 *
 * A family is a metric: its name, type and help; a series is one of its
 * numbers, by the labels it has. One process writes, any number read meanwhile:
 * what it has written is there when it is stopped, dead, or another one in its
 * place.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_SERIES_H
#define GW_PROC_SERIES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "util/histogram.h"

#define SERIES_MAX          1000 /* in a process; more are refused */
#define SERIES_FAMILIES_MAX 200  /* the same */
#define SERIES_NAME_SIZE    100 /* bytes with the NUL; longer is -EMSGSIZE … */
#define SERIES_HELP_SIZE    200 /* … and is cut … */
#define SERIES_LABELS_SIZE  248 /* … and is -EMSGSIZE */

enum series_type { SERIES_COUNTER, SERIES_GAUGE, SERIES_HISTOGRAM };

struct series_family {
    uint32_t type; /* enum series_type */
    char name[SERIES_NAME_SIZE];
    char help[SERIES_HELP_SIZE];
};

/* One number, of a histogram its sum. */
struct series_value {
    _Atomic uint64_t number; /* the bits of a double */
    _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1];
};

struct series_row {
    uint32_t family;
    char labels[SERIES_LABELS_SIZE]; /* as they are told: a="b",c="d" */
    struct series_value value;
};

/* All of a process. Zeroed memory is an empty one. */
struct series {
    _Atomic uint32_t nfamilies, nrows;
    _Atomic uint64_t refused; /* series that there was no room for */
    struct series_family families[SERIES_FAMILIES_MAX];
    struct series_row rows[SERIES_MAX];
};

/* ---- the process ---- */

/* The family of that name, made when it is not there. Its index, -EEXIST when
 * it is of another type, -ENOSPC, or -EMSGSIZE. */
int series_family(struct series *s, enum series_type type, const char *name,
    const char *help);

/* The series of these labels, likewise. */
int series_row(
    struct series *s, unsigned family, const char *labels, size_t len);

/* By the index of a series. */
void series_add(struct series *s, unsigned row, double by);
void series_set(struct series *s, unsigned row, double to);
void series_observe(struct series *s, unsigned row, double seconds);

/* ---- anybody ---- */

size_t series_families(const struct series *s);
size_t series_rows(const struct series *s);
double series_number(const struct series_row *row);

/* What there was of a process at one moment. Texts in it end, types are known,
 * and each row has its family there, whatever the process has written. */
struct series_copy {
    struct series_family *families; /* owned, like … */
    struct series_row *rows;        /* … these */
    size_t nfamilies, nrows;
    uint64_t refused;
};

void series_copy(struct series_copy *out, const struct series *s);
void series_copy_fini(struct series_copy *c);

#endif /* GW_PROC_SERIES_H */
