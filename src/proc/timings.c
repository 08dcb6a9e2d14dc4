/* Rows are only ever added, each before the number of them says so. */
#include "proc/timings.h"

#include <string.h>

size_t timings_count(const struct timings *t)
{
    uint32_t n = atomic_load_explicit(&t->count, memory_order_acquire);

    return n < TIMINGS_MAX ? n : TIMINGS_MAX;
}

/* The row of that name, which may have to be made. NULL: there are too many. */
static struct timing *find(struct timings *t, const char *name)
{
    size_t n = timings_count(t), len = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (strcmp(t->rows[i].name, name) == 0)
            return &t->rows[i];
    if (n == TIMINGS_MAX || len >= TIMINGS_NAME_SIZE)
        return NULL;
    memcpy(t->rows[n].name, name, len + 1);
    atomic_store_explicit(&t->count, (uint32_t)n + 1, memory_order_release);
    return &t->rows[n];
}

/* Nobody else writes. */
static void add(_Atomic uint64_t *number, uint64_t by)
{
    uint64_t was = atomic_load_explicit(number, memory_order_relaxed);

    atomic_store_explicit(number, was + by, memory_order_relaxed);
}

void timings_note(struct timings *t, const char *name, uint64_t ns)
{
    struct timing *row = find(t, name);
    size_t i = 0;

    if (!row)
        return;
    while (i < HISTOGRAM_BOUNDS && ns > histogram_bounds[i])
        i++;
    add(&row->counts[i], 1);
    add(&row->sum, ns);
}
