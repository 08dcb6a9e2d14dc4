/* The answer of /status.json, with the keys that the master gives its own
 * answer (master/control.c). What is missing of a process that has not told
 * anything yet are its counters. */
#include "admin/overview.h"

#include <string.h>

#include "proc/verdict.h"
#include "util/histogram.h"

static void put_counters(
    json_t *counters, const struct counter *table, const uint64_t *numbers)
{
    for (; table && table->name; table++) {
        if (table->kind != COUNTERS_HISTOGRAM)
            json_object_set_new(counters, table->name,
                table->size == sizeof(bool)
                    ? json_boolean(*numbers)
                    : json_integer((json_int_t)*numbers));
        numbers += snapshot_width(table);
    }
}

static size_t width_of(const struct counter *table)
{
    size_t n = 0;

    for (; table->name; table++)
        n += snapshot_width(table);
    return n;
}

static json_t *describe(const struct snapshot *s, size_t index)
{
    const struct snapshot_process *p = &s->processes[index];
    const struct admin_process *what = p->what;
    const struct page_child *c = &p->child;
    json_t *last_end = c->last_end[0] ? ctlmsg_text(c->last_end) : json_null();
    json_t *row = json_pack("{s:s,s:i,s:s,s:s,s:s,s:o,s:i,s:o,s:I,s:b}", "role",
        what->role, "slot", (int)what->slot, "name", what->name, "listen",
        what->listen, "state", c->state[0] ? c->state : "starting", "pid",
        c->runs ? json_integer(c->pid) : json_null(), "restarts",
        (int)c->restarts, "last_end", last_end, "uptime_ms",
        c->runs ? (json_int_t)snapshot_age(s, c->began) : (json_int_t)0,
        "answering", c->answers);
    json_t *counters;

    if (!row || !c->answers)
        return row;
    counters = json_object();
    put_counters(
        counters, what->tables[1], p->numbers + width_of(what->tables[0]));
    put_counters(counters, what->tables[0], p->numbers);
    json_object_set_new(row, "counters", counters);
    return row;
}

json_t *overview_make(const struct snapshot *s)
{
    json_t *processes = json_array();
    json_t *all;

    for (size_t i = 0; i < s->nprocesses; i++)
        json_array_append_new(processes, describe(s, i));
    all = json_pack("{s:s,s:i,s:I,s:i,s:b,s:o}", "version", GWRUN_VERSION,
        "pid", (int)s->system.pid, "uptime_ms",
        (json_int_t)(s->system.pid ? snapshot_age(s, s->system.began) : 0),
        "generation", (int)s->system.generation, "stopping", s->system.stopping,
        "processes", processes);
    verdict_add_problems(all);
    return all;
}

/* The numbers of the histogram in a worker's page, or NULL. */
static const uint64_t *find_times(const struct snapshot_process *p)
{
    const struct counter *row = p->what->tables[1];
    const uint64_t *numbers = p->numbers + width_of(p->what->tables[0]);

    for (; row && row->name; row++) {
        if (row->kind == COUNTERS_HISTOGRAM)
            return numbers;
        numbers += snapshot_width(row);
    }
    return NULL;
}

json_t *overview_event_times(const struct snapshot *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct snapshot_process *p = &s->processes[i];
        const uint64_t *times = find_times(p);
        json_t *counts = times ? json_array() : NULL;

        if (!counts)
            continue;
        for (size_t k = 0; k <= HISTOGRAM_BOUNDS; k++)
            json_array_append_new(counts, json_integer((json_int_t)times[k]));
        json_array_append_new(
            list, json_pack("{s:s,s:i,s:o}", "name", p->what->name, "slot",
                      (int)p->what->slot, "counts", counts));
    }
    return list;
}

json_t *overview_callbacks(const struct snapshot *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct snapshot_process *p = &s->processes[i];
        size_t n = timings_count(p->timings);

        for (size_t k = 0; k < n; k++) {
            const struct timing *t = &p->timings->rows[k];
            char name[TIMINGS_NAME_SIZE];
            json_t *counts = json_array();

            snprintf(
                name, sizeof(name), "%.*s", (int)sizeof(name) - 1, t->name);
            for (size_t b = 0; b <= HISTOGRAM_BOUNDS; b++)
                json_array_append_new(counts,
                    json_integer((json_int_t)atomic_load(&t->counts[b])));
            json_array_append_new(
                list, json_pack("{s:s,s:o,s:o,s:f}", "name", p->what->name,
                          "callback", ctlmsg_text(name), "counts", counts,
                          "seconds", (double)atomic_load(&t->sum) / 1e9));
        }
    }
    return list;
}

/* Members of all gateways that have the group among their own largest ones. */
static void add_group(json_t *by_name, const struct page_top *top)
{
    json_t *text = ctlmsg_text(top->name);
    const char *name = json_string_value(text);

    json_object_set_new(by_name, name,
        json_integer(json_integer_value(json_object_get(by_name, name)) +
                     (json_int_t)top->members));
    json_decref(text);
}

/* The largest one of by_name, which it leaves. */
static json_t *take_largest(json_t *by_name)
{
    const char *name, *largest = NULL;
    json_t *members, *row;
    json_int_t most = -1;

    json_object_foreach(by_name, name, members)
    {
        if (json_integer_value(members) > most) {
            most = json_integer_value(members);
            largest = name;
        }
    }
    row = json_pack("{s:s,s:I}", "group", largest, "members", most);
    json_object_del(by_name, largest);
    return row;
}

json_t *overview_groups(const struct admin_system *system)
{
    json_t *by_name = json_object(), *list = json_array();

    for (size_t i = 0; i < pages_count(system->pages); i++) {
        struct page_tops tops;

        page_read_tops(pages_at(system->pages, i), &tops);
        if (strcmp(system->processes[i].role, "gateway") != 0)
            continue;
        for (size_t k = 0; k < tops.count; k++)
            add_group(by_name, &tops.rows[k]);
    }
    while (json_object_size(by_name) > 0 && json_array_size(list) < PAGES_TOPS)
        json_array_append_new(list, take_largest(by_name));
    json_decref(by_name);
    return list;
}

static json_t *make_cell(const struct page_cell *c)
{
    return json_pack("{s:o,s:o,s:b,s:b,s:I,s:I,s:i,s:i}", "name",
        ctlmsg_text(c->name), "version", ctlmsg_text(c->version), "there",
        c->there, "here", c->here, "seconds", (json_int_t)c->seconds, "clients",
        (json_int_t)c->clients, "gateways", (int)c->gateways, "workers",
        (int)c->workers);
}

json_t *overview_cells(const struct admin_system *system, uint64_t now)
{
    struct page_cells cells;
    json_t *rows;

    pages_want_cells(system->pages, now);
    pages_read_cells(system->pages, &cells);
    if (cells.seen == 0)
        return json_null();
    rows = json_array();
    for (size_t i = 0; i < cells.count; i++)
        json_array_append_new(rows, make_cell(&cells.rows[i]));
    return json_pack("{s:I,s:i,s:i,s:I,s:o}", "age_ms",
        (json_int_t)(now > cells.seen ? now - cells.seen : 0), "there",
        (int)cells.there, "gone", (int)cells.gone, "clients",
        (json_int_t)cells.clients, "rows", rows);
}

static void add_fault(json_t *list, const struct snapshot_process *p,
    json_t *place, uint64_t count)
{
    json_array_append_new(
        list, json_pack("{s:s,s:o,s:I}", "name", p->what->name, "place", place,
                  "count", (json_int_t)count));
}

json_t *overview_faults(const struct snapshot *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->nprocesses; i++) {
        const struct snapshot_process *p = &s->processes[i];
        const struct faults *f = p->faults;
        size_t n = faults_count(f);
        uint64_t others = atomic_load(&f->others);

        for (size_t k = 0; k < n; k++) {
            char place[FAULTS_PLACE_SIZE];

            snprintf(place, sizeof(place), "%.*s", (int)sizeof(place) - 1,
                f->rows[k].place);
            add_fault(
                list, p, ctlmsg_text(place), atomic_load(&f->rows[k].count));
        }
        if (others > 0)
            add_fault(list, p, json_null(), others);
    }
    return list;
}
