/* Families and rows are only ever added: each is written before its number is,
 * and read up to that. A process that takes the place of another finds what
 * there is by name, and goes on. */
#include "proc/series.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

static uint32_t count_of(const _Atomic uint32_t *count, uint32_t max)
{
    uint32_t n = atomic_load_explicit(count, memory_order_acquire);

    return n < max ? n : max;
}

size_t series_families(const struct series *s)
{
    return count_of(&s->nfamilies, SERIES_FAMILIES_MAX);
}

size_t series_rows(const struct series *s)
{
    return count_of(&s->nrows, SERIES_MAX);
}

static void copy(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);

    memcpy(out, text, len);
    out[len] = '\0';
}

int series_family(
    struct series *s, enum series_type type, const char *name, const char *help)
{
    size_t n = series_families(s);
    struct series_family *f;

    if (strlen(name) >= SERIES_NAME_SIZE)
        return -EMSGSIZE;
    for (size_t i = 0; i < n; i++)
        if (strcmp(s->families[i].name, name) == 0)
            return s->families[i].type == (uint32_t)type ? (int)i : -EEXIST;
    if (n == SERIES_FAMILIES_MAX)
        return -ENOSPC;
    f = &s->families[n];
    f->type = type;
    copy(f->name, sizeof(f->name), name);
    copy(f->help, sizeof(f->help), help);
    atomic_store_explicit(&s->nfamilies, (uint32_t)n + 1, memory_order_release);
    return (int)n;
}

static void refuse(struct series *s)
{
    atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
}

int series_row(
    struct series *s, unsigned family, const char *labels, size_t len)
{
    size_t n = series_rows(s);
    struct series_row *row;

    if (len >= SERIES_LABELS_SIZE)
        return -EMSGSIZE;
    for (size_t i = 0; i < n; i++) {
        row = &s->rows[i];
        if (row->family == family && strncmp(row->labels, labels, len) == 0 &&
            row->labels[len] == '\0')
            return (int)i;
    }
    if (n == SERIES_MAX) {
        refuse(s);
        return -ENOSPC;
    }
    row = &s->rows[n];
    row->family = family;
    memcpy(row->labels, labels, len);
    row->labels[len] = '\0';
    atomic_store_explicit(&s->nrows, (uint32_t)n + 1, memory_order_release);
    return (int)n;
}

static double as_number(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

double series_number(const struct series_row *row)
{
    return as_number(
        atomic_load_explicit(&row->value.number, memory_order_relaxed));
}

void series_set(struct series *s, unsigned row, double to)
{
    uint64_t bits;

    memcpy(&bits, &to, sizeof(bits));
    atomic_store_explicit(
        &s->rows[row].value.number, bits, memory_order_relaxed);
}

void series_add(struct series *s, unsigned row, double by)
{
    series_set(s, row, series_number(&s->rows[row]) + by);
}

void series_observe(struct series *s, unsigned row, double seconds)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && seconds * 1e9 > (double)histogram_bounds[i])
        i++;
    atomic_fetch_add_explicit(
        &s->rows[row].value.counts[i], 1, memory_order_relaxed);
    series_add(s, row, seconds);
}

/* The rows first: their families are there by then. */
void series_copy(struct series_copy *out, const struct series *s)
{
    size_t nrows = series_rows(s);
    size_t nfamilies = series_families(s);

    *out = (struct series_copy){
        .families = xcalloc(nfamilies + 1, sizeof(*out->families)),
        .rows = xcalloc(nrows + 1, sizeof(*out->rows)),
        .nfamilies = nfamilies,
        .refused = atomic_load_explicit(&s->refused, memory_order_relaxed)};
    memcpy(out->families, s->families, nfamilies * sizeof(*out->families));
    for (size_t i = 0; i < nfamilies; i++) {
        struct series_family *f = &out->families[i];

        f->name[sizeof(f->name) - 1] = f->help[sizeof(f->help) - 1] = '\0';
        if (f->type > SERIES_HISTOGRAM)
            f->type = SERIES_GAUGE;
    }
    for (size_t i = 0; i < nrows; i++) {
        struct series_row *row = &out->rows[out->nrows];

        memcpy(row, &s->rows[i], sizeof(*row));
        row->labels[sizeof(row->labels) - 1] = '\0';
        out->nrows += row->family < nfamilies;
    }
}

void series_copy_fini(struct series_copy *c)
{
    free(c->families);
    free(c->rows);
}
