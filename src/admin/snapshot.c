/* One copy of every page, so that all that is told of a moment is of it, and no
 * page is read twice for one answer. */
#include "admin/snapshot.h"

#include <stdlib.h>

#include "util/alloc.h"

void snapshot_take(
    struct snapshot *out, const struct admin_system *system, uint64_t now)
{
    size_t count = pages_count(system->pages);

    if (system->refresh)
        system->refresh(system->arg);
    *out = (struct snapshot){.now = now, .nprocesses = count};
    pages_read_system(system->pages, &out->system);
    out->processes = xcalloc(count, sizeof(*out->processes));
    for (size_t i = 0; i < count; i++) {
        struct snapshot_process *p = &out->processes[i];
        struct page *page = pages_at(system->pages, i);

        p->what = &system->processes[i];
        page_read_child(page, &p->child);
        page_read(page, p->numbers);
        p->series = page_series(page);
        p->faults = page_faults(page);
        p->timings = page_timings(page);
        p->tallies = page_tallies(page);
    }
}

void snapshot_fini(struct snapshot *s)
{
    free(s->processes);
}

uint64_t snapshot_age(const struct snapshot *s, uint64_t since)
{
    return s->now > since ? s->now - since : 0;
}

size_t snapshot_width(const struct counter *row)
{
    return row->kind == COUNTERS_HISTOGRAM ? row->size / sizeof(uint64_t) : 1;
}
