/* Only what the page shows of a cell is kept: so many rows, and the rest as
 * numbers. This cell has a row in any case. */
#include "gateway/outlook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/alloc.h"

static uint64_t seconds_between(double from, double to)
{
    return to > from ? (uint64_t)(to - from) : 0;
}

static void put_row(
    struct page_cell *row, const struct look *l, const struct look_cell *c)
{
    *row = (struct page_cell){.clients = c->clients,
        .seconds = seconds_between(c->there ? c->since : c->heard, l->now),
        .gateways = (uint32_t)c->ngateways,
        .workers = (uint32_t)c->workers,
        .there = c->there};
    snprintf(row->name, sizeof(row->name), "%s", c->name);
    snprintf(row->version, sizeof(row->version), "%s", c->version);
}

static void on_seen(const struct look *l, void *arg)
{
    struct outlook *o = arg;
    struct page_cells *seen = o->seen;

    if (!seen)
        seen = o->seen = xmalloc(sizeof(*seen));
    *seen = (struct page_cells){.seen = clock_now(o->loop)};
    for (size_t i = 0; i < l->ncells; i++) {
        const struct look_cell *c = &l->cells[i];
        bool here = strcmp(c->name, o->cell) == 0;

        seen->clients += c->clients;
        seen->there += c->there;
        seen->gone += !c->there;
        if (seen->count < PAGES_CELLS)
            seen->count++;
        else if (!here)
            continue;
        put_row(&seen->rows[seen->count - 1], l, c);
        seen->rows[seen->count - 1].here = here;
    }
}

void outlook_init(
    struct outlook *o, uv_loop_t *loop, struct engine *engine, const char *cell)
{
    *o = (struct outlook){
        .looker = {.engine = engine, .seen = on_seen, .arg = o},
        .loop = loop,
        .cell = cell};
}

void outlook_fini(struct outlook *o)
{
    free(o->seen);
}

bool outlook_take(struct outlook *o, struct page_cells *out)
{
    uint64_t now = clock_now(o->loop);

    if (o->asked_at == 0 || now - o->asked_at >= ENGINE_REFRESH * 1000) {
        o->asked_at = now;
        look_ask(&o->looker);
    }
    if (!o->seen)
        return false;
    *out = *o->seen;
    free(o->seen);
    o->seen = NULL;
    return true;
}
