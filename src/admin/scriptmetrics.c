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
    const struct admin_process *process;
    const struct series_copy *series;
    uint32_t index;                  /* of it, in there */
    char name[EXPOSITION_NAME_SIZE]; /* as it is told */
};

static const struct series_family *family_of(const struct place *p)
{
    return &p->series->families[p->index];
}

static int compare(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    int order = strcmp(left->name, right->name);

    if (order != 0)
        return order;
    return (left->process > right->process) - (left->process < right->process);
}

/* A counter's has the ending that belongs there. */
static void name_metric(struct place *p)
{
    static const char total[] = "_total";
    const struct series_family *f = family_of(p);
    size_t len = strlen(f->name);
    bool has = len > strlen(total) &&
               strcmp(f->name + len - strlen(total), total) == 0;

    snprintf(p->name, sizeof(p->name), "%s%s", f->name,
        f->type == SERIES_COUNTER && !has ? total : "");
}

/* All of them, those of a name together; the caller frees *out. */
static size_t gather(struct place **out, const struct snapshot *s,
    const struct series_copy *copies)
{
    size_t n = 0;

    for (size_t i = 0; i < s->nprocesses; i++)
        n += copies[i].nfamilies;
    *out = xcalloc(n + 1, sizeof(**out));
    n = 0;
    for (size_t i = 0; i < s->nprocesses; i++) {
        for (size_t k = 0; k < copies[i].nfamilies; k++) {
            struct place *p = &(*out)[n++];

            p->process = s->processes[i].what;
            p->series = &copies[i];
            p->index = (uint32_t)k;
            name_metric(p);
        }
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

static void put_rows(struct buf *out, const struct place *place)
{
    const struct series_copy *s = place->series;

    for (size_t i = 0; i < s->nrows; i++) {
        const struct series_row *row = &s->rows[i];

        if (row->family != place->index)
            continue;
        if (family_of(place)->type == SERIES_HISTOGRAM) {
            put_histogram(out, place->name, place->process, row);
            continue;
        }
        exposition_series(
            out, place->name, "", place->process, row->labels, NULL);
        put_number(out, series_number(row));
    }
}

static void put_refused(
    struct buf *out, const struct snapshot *s, const struct series_copy *copies)
{
    static const char name[] = "gwrun_metrics_refused_total";

    exposition_family(out, name, "counter",
        "calls of the script's metrics that there was no room for");
    for (size_t i = 0; i < s->nprocesses; i++) {
        if (copies[i].nfamilies == 0)
            continue;
        exposition_series(out, name, "", s->processes[i].what, "", NULL);
        buf_printf(out, "%" PRIu64 "\n", copies[i].refused);
    }
}

static void put_all(
    struct buf *out, const struct snapshot *s, const struct series_copy *copies)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct place *places;
    size_t n = gather(&places, s, copies);
    const struct place *told = NULL;

    for (size_t i = 0; i < n; i++) {
        const struct place *p = &places[i];
        const struct series_family *f = family_of(p);

        if (!told || strcmp(told->name, p->name) != 0) {
            told = p;
            exposition_family(out, p->name, types[f->type], f->help);
        }
        if (f->type == family_of(told)->type)
            put_rows(out, p);
    }
    free(places);
    if (n > 0)
        put_refused(out, s, copies);
}

void scriptmetrics_put(struct buf *out, const struct snapshot *s)
{
    struct series_copy *copies = xcalloc(s->nprocesses + 1, sizeof(*copies));

    for (size_t i = 0; i < s->nprocesses; i++)
        series_copy(&copies[i], s->processes[i].series);
    put_all(out, s, copies);
    for (size_t i = 0; i < s->nprocesses; i++)
        series_copy_fini(&copies[i]);
    free(copies);
}
