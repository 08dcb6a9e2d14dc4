/* What the operators' port knows of the master and its children: written into
 * the pages that all share, whenever it may have changed, so that nobody has to
 * ask the master for it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/master_impl.h"
#include "net/clock.h"
#include "util/utf8.h"

static void write_child(const struct child *c, struct page *page)
{
    struct page_child told = {.runs = child_runs(c),
        .answers = child_runs(c) && child_answers(c),
        .restarts = c->restarts,
        .began = c->spawned_at};

    told.pid = told.runs ? (int32_t)c->process.pid : 0;
    snprintf(told.state, sizeof(told.state), "%s", child_state_name(c));
    if (c->last_end) { /* cut, but not within a character */
        snprintf(told.last_end, sizeof(told.last_end), "%s", c->last_end);
        told.last_end[utf8_valid_len(
            (const uint8_t *)told.last_end, strlen(told.last_end))] = '\0';
    }
    page_write_child(page, &told);
}

void bulletin_write(const struct master *m)
{
    const struct pages_system system = {.pid = (int32_t)getpid(),
        .generation = m->reload.generation,
        .stopping = m->stopping,
        .began = m->began};

    if (!m->pages)
        return;
    for (size_t i = 0; i < m->conf->nchildren; i++)
        write_child(&m->children[i], pages_at(m->pages, i));
    pages_write_system(m->pages, &system);
}
