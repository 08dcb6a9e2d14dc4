/* Prometheus' text format 0.0.4. The name of a metric is made of the table that
 * its row stands in, the row's own name, its unit and its kind: base units,
 * "_total" behind what is counted. A gauge is told of processes that run; what
 * was counted stays. Labels say which process it is and nothing that there can
 * be any number of. */
#include "admin/exposition_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/histogram.h"

static void put_escaped(struct buf *out, const char *text, bool in_label)
{
    for (; *text; text++) {
        if (*text == '\n')
            buf_append_str(out, "\\n");
        else if (*text == '\\' || (*text == '"' && in_label))
            buf_printf(out, "\\%c", *text);
        else
            buf_append_byte(out, (uint8_t)*text);
    }
}

void exposition_family(
    struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    put_escaped(out, help, false);
    buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

/* The words of a table, whose unit is not always the metric's. */
static void put_row_family(struct buf *out, const char *name, const char *type,
    const struct counter *row)
{
    static const char unit[] = ", in milliseconds";
    size_t len = strlen(row->help);
    char help[512];

    if (len >= strlen(unit) &&
        strcmp(row->help + len - strlen(unit), unit) == 0)
        len -= strlen(unit);
    snprintf(help, sizeof(help), "%.*s", (int)len, row->help);
    exposition_family(out, name, type, help);
}

void exposition_series(struct buf *out, const char *name, const char *suffix,
    const struct admin_process *p, const char *labels, const char *le)
{
    buf_printf(out, "%s%s{role=\"%s\",name=\"", name, suffix, p->role);
    put_escaped(out, p->name, true);
    buf_printf(out, "\",slot=\"%u\"", p->slot);
    if (*labels)
        buf_printf(out, ",%s", labels);
    if (le)
        buf_printf(out, ",le=\"%s\"", le);
    buf_append_str(out, "} ");
}

void exposition_bound(char out[EXPOSITION_LE_SIZE], size_t i)
{
    if (i < HISTOGRAM_BOUNDS)
        snprintf(
            out, EXPOSITION_LE_SIZE, "%g", (double)histogram_bounds[i] / 1e9);
    else
        snprintf(out, EXPOSITION_LE_SIZE, "+Inf");
}

/* A number, of milliseconds as seconds. */
static void put_value(struct buf *out, uint64_t value, const char *unit)
{
    if (strcmp(unit, "milliseconds") == 0)
        buf_printf(
            out, "%" PRIu64 ".%03" PRIu64 "\n", value / 1000, value % 1000);
    else
        buf_printf(out, "%" PRIu64 "\n", value);
}

/* "gwrun_gateway_bytes_in_total" */
static void name_metric(char out[EXPOSITION_NAME_SIZE], const char *prefix,
    const struct counter *row)
{
    size_t len = strlen(row->name);
    const char *unit = "";

    if (strcmp(row->unit, "milliseconds") == 0) {
        unit = "_seconds";
        if (len > 3 && strcmp(row->name + len - 3, "_ms") == 0)
            len -= 3;
    } else if (strcmp(row->unit, "seconds") == 0) {
        unit = "_seconds";
    } else if (strcmp(row->unit, "bytes") == 0 && !strstr(row->name, "bytes")) {
        unit = "_bytes";
    }
    snprintf(out, EXPOSITION_NAME_SIZE, "gwrun_%s_%.*s%s%s", prefix, (int)len,
        row->name, unit, row->kind == COUNTERS_COUNTER ? "_total" : "");
}

static void put_bytes_bound(char out[EXPOSITION_LE_SIZE], size_t i)
{
    if (i < HISTOGRAM_BOUNDS)
        snprintf(out, EXPOSITION_LE_SIZE, "%" PRIu64, HISTOGRAM_SIZE(i));
    else
        exposition_bound(out, i);
}

/* Of times or, if sizes, of bytes. */
static void put_histogram(struct buf *out, const char *name, bool sizes,
    const struct admin_process *p, const uint64_t *numbers)
{
    uint64_t count = 0;
    uint64_t sum = numbers[HISTOGRAM_BOUNDS + 1];

    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        char le[EXPOSITION_LE_SIZE];

        count += numbers[i];
        if (sizes)
            put_bytes_bound(le, i);
        else
            exposition_bound(le, i);
        exposition_series(out, name, "_bucket", p, "", le);
        buf_printf(out, "%" PRIu64 "\n", count);
    }
    exposition_series(out, name, "_sum", p, "", NULL);
    if (sizes)
        buf_printf(out, "%" PRIu64 "\n", sum);
    else
        buf_printf(out, "%" PRIu64 ".%09" PRIu64 "\n", sum / 1000000000,
            sum % 1000000000);
    exposition_series(out, name, "_count", p, "", NULL);
    buf_printf(out, "%" PRIu64 "\n", count);
}

/* One row, of every process that has table at place; its numbers begin there.
 */
struct family {
    const struct counter *table;
    size_t place; /* in tables */
    const struct counter *row;
    size_t at; /* in a page, behind those of the tables before */
};

static size_t width_of(const struct counter *table)
{
    size_t n = 0;

    for (; table && table->name; table++)
        n += snapshot_width(table);
    return n;
}

static void put_row(struct buf *out, const struct snapshot *s,
    const struct family *f, const char *prefix)
{
    static const char *const types[] = {"gauge", "counter", "histogram"};
    const struct counter *row = f->row;
    char name[EXPOSITION_NAME_SIZE];

    name_metric(name, prefix, row);
    put_row_family(out, name, types[row->kind], row);
    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct snapshot_process *p = &s->processes[i];
        const struct admin_process *what = p->what;
        size_t at = f->at + (f->place > 0 ? width_of(what->tables[0]) : 0);

        if (what->tables[f->place] != f->table ||
            (row->kind == COUNTERS_GAUGE && !p->child.runs))
            continue;
        if (row->kind == COUNTERS_HISTOGRAM) {
            put_histogram(out, name, strcmp(row->unit, "bytes") == 0, what,
                p->numbers + at);
            continue;
        }
        exposition_series(out, name, "", what, "", NULL);
        put_value(out, p->numbers[at], row->unit);
    }
}

/* Has a process before this one the same table there? */
static bool was_put(const struct snapshot *s, size_t index, size_t place)
{
    const struct counter *table = s->processes[index].what->tables[place];

    for (size_t i = 0; i < index; i++)
        if (s->processes[i].what->tables[place] == table)
            return true;
    return false;
}

static void put_tables(struct buf *out, const struct snapshot *s, size_t place)
{
    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct admin_process *what = s->processes[i].what;
        struct family f = {.table = what->tables[place], .place = place};

        if (!f.table || was_put(s, i, place))
            continue;
        for (f.row = f.table; f.row->name; f.row++) {
            put_row(out, s, &f, place > 0 ? what->role : "process");
            f.at += snapshot_width(f.row);
        }
    }
}

static void put_up(struct buf *out, const struct snapshot *s)
{
    static const char up[] = "gwrun_process_up";
    static const char restarts[] = "gwrun_process_restarts_total";
    static const char uptime[] = "gwrun_process_uptime_seconds";

    exposition_family(
        out, up, "gauge", "whether it is ready and answers its master");
    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct page_child *c = &s->processes[i].child;

        exposition_series(out, up, "", s->processes[i].what, "", NULL);
        put_value(out, c->answers && strcmp(c->state, "ready") == 0, "");
    }
    exposition_family(
        out, restarts, "counter", "processes that took the place of another");
    for (size_t i = 0; i < s->nprocesses; i++) {
        exposition_series(out, restarts, "", s->processes[i].what, "", NULL);
        put_value(out, s->processes[i].child.restarts, "");
    }
    exposition_family(out, uptime, "gauge", "how long it has run");
    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct page_child *c = &s->processes[i].child;

        if (!c->runs)
            continue;
        exposition_series(out, uptime, "", s->processes[i].what, "", NULL);
        put_value(out, snapshot_age(s, c->began), "milliseconds");
    }
}

static void put_system(struct buf *out, const struct snapshot *s)
{
    exposition_family(
        out, "gwrun_info", "gauge", "1, with the version that runs");
    buf_printf(out, "gwrun_info{version=\"%s\"} 1\n", GWRUN_VERSION);
    exposition_family(
        out, "gwrun_stopping", "gauge", "whether the system is stopping");
    buf_printf(out, "gwrun_stopping %d\n", s->system.stopping);
    exposition_family(out, "gwrun_script_generation", "gauge",
        "generation of the script: how often it was loaded");
    buf_printf(out, "gwrun_script_generation %u\n", s->system.generation);
    exposition_family(
        out, "gwrun_uptime_seconds", "gauge", "how long the master has run");
    buf_append_str(out, "gwrun_uptime_seconds ");
    put_value(out, s->system.pid ? snapshot_age(s, s->system.began) : 0,
        "milliseconds");
}

void exposition_put(struct buf *out, const struct snapshot *s)
{
    put_system(out, s);
    put_up(out, s);
    put_tables(out, s, 0);
    put_tables(out, s, 1);
}
