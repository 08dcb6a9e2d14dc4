/* Metrics of scripts: a name is told once, with the series of all processes
 * that have it. Where two kinds of workers give it different types the first
 * counts: Prometheus would refuse the whole. */
#include "admin/scriptmetrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/exposition_impl.h"
#include "util/alloc.h"

/* A family of a process. */
struct place {
    const struct snapshot_process *process;
    const struct series_family *family;
    uint32_t index;
};

static int compare(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    int order = strcmp(left->family->name, right->family->name);

    if (order != 0)
        return order;
    return (left->process > right->process) - (left->process < right->process);
}

/* All of them, those of a name together; the caller frees *out. */
static size_t gather(struct place **out, const struct snapshot *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->nprocesses; i++)
        n += series_families(s->processes[i].series);
    *out = xcalloc(n + 1, sizeof(**out));
    n = 0;
    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct snapshot_process *p = &s->processes[i];
        size_t count = series_families(p->series);

        for (size_t k = 0; k < count; k++)
            (*out)[n++] =
                (struct place){p, &p->series->families[k], (uint32_t)k};
    }
    qsort(*out, n, sizeof(**out), compare);
    return n;
}

static void put_number(struct buf *out, double number)
{
    if (fabs(number) < 1e15 && number == floor(number))
        buf_printf(out, "%.0f\n", number);
    else
        buf_printf(out, "%.9g\n", number);
}

static void put_histogram(struct buf *out, const char *name,
    const struct admin_process *p, const struct series_row *row)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        char le[EXPOSITION_LE_SIZE];

        count +=
            atomic_load_explicit(&row->value.counts[i], memory_order_relaxed);
        exposition_bound(le, i);
        exposition_series(out, name, "_bucket", p, row->labels, le);
        buf_printf(out, "%" PRIu64 "\n", count);
    }
    exposition_series(out, name, "_sum", p, row->labels, NULL);
    put_number(out, series_number(row));
    exposition_series(out, name, "_count", p, row->labels, NULL);
    buf_printf(out, "%" PRIu64 "\n", count);
}

static void put_rows(
    struct buf *out, const char *name, const struct place *place)
{
    const struct series *s = place->process->series;
    const struct admin_process *what = place->process->what;
    size_t n = series_rows(s);

    for (size_t i = 0; i < n; i++) {
        const struct series_row *row = &s->rows[i];

        if (row->family != place->index)
            continue;
        if (place->family->type == SERIES_HISTOGRAM) {
            put_histogram(out, name, what, row);
            continue;
        }
        exposition_series(out, name, "", what, row->labels, NULL);
        put_number(out, series_number(row));
    }
}

/* A counter's has the ending that belongs there. */
static void name_metric(
    char out[EXPOSITION_NAME_SIZE], const struct series_family *f)
{
    static const char total[] = "_total";
    size_t len = strlen(f->name);
    bool has = len > strlen(total) &&
               strcmp(f->name + len - strlen(total), total) == 0;

    snprintf(out, EXPOSITION_NAME_SIZE, "%s%s", f->name,
        f->type == SERIES_COUNTER && !has ? total : "");
}

static void put_refused(struct buf *out, const struct snapshot *s)
{
    static const char name[] = "gwrun_metrics_refused_total";

    exposition_family(out, name, "counter",
        "calls of the script's metrics that there was no room for");
    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct snapshot_process *p = &s->processes[i];

        if (series_families(p->series) == 0)
            continue;
        exposition_series(out, name, "", p->what, "", NULL);
        buf_printf(out, "%" PRIu64 "\n",
            atomic_load_explicit(&p->series->refused, memory_order_relaxed));
    }
}

void scriptmetrics_put(struct buf *out, const struct snapshot *s)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct place *places;
    size_t n = gather(&places, s);
    const struct series_family *told = NULL;

    for (size_t i = 0; i < n; i++) {
        const struct series_family *f = places[i].family;
        char name[EXPOSITION_NAME_SIZE];

        name_metric(name, f);
        if (!told || strcmp(told->name, f->name) != 0) {
            told = f;
            exposition_family(out, name, types[f->type], f->help);
        }
        if (f->type == told->type)
            put_rows(out, name, &places[i]);
    }
    free(places);
    if (n > 0)
        put_refused(out, s);
}
