/* A metric for each field of a tally, with the kind of the server as the label
 * "pool". Of what a process has never used nothing is told. */
#include "admin/poolmetrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "admin/exposition_impl.h"

#define FIELDS(x)                                                               \
    x(open, "gwrun_pool_connections", "gauge",                                  \
        "connections to other servers, those that are being opened too")        \
        x(idle, "gwrun_pool_idle_connections", "gauge", "of them unused") x(    \
            waiting, "gwrun_pool_waiting", "gauge",                             \
            "calls that wait for a connection") x(waits,                        \
            "gwrun_pool_waits_total", "counter",                                \
            "calls that had to wait for a connection, or for one to be opened") \
            x(timeouts, "gwrun_pool_timeouts_total", "counter",                 \
                "calls that did not end in time")

#define NAME(field, name, type, help) {name, type, help},
static const struct {
    const char *name, *type, *help;
} families[] = {FIELDS(NAME)};
#define NFAMILIES (sizeof(families) / sizeof(families[0]))

#define COPY(field, name, type, help) \
    atomic_load_explicit(&t->field, memory_order_relaxed),

static void put_tally(struct buf *out, size_t family,
    const struct snapshot_process *p, enum tallies_kind kind)
{
    const struct tally *t = &p->tallies->of[kind];
    const uint64_t numbers[NFAMILIES] = {FIELDS(COPY)};
    char label[32];
    uint64_t used = 0;

    for (size_t i = 0; i < NFAMILIES; i++)
        used |= numbers[i];
    if (!used || (*families[family].type == 'g' && !p->child.runs))
        return;
    snprintf(label, sizeof(label), "pool=\"%s\"", tallies_names[kind]);
    exposition_series(out, families[family].name, "", p->what, label, NULL);
    buf_printf(out, "%" PRIu64 "\n", numbers[family]);
}

void poolmetrics_put(struct buf *out, const struct snapshot *s)
{
    for (size_t i = 0; i < NFAMILIES; i++) {
        exposition_family(
            out, families[i].name, families[i].type, families[i].help);
        for (size_t k = 0; k < s->nprocesses; k++)
            for (unsigned kind = 0; kind < TALLIES_KINDS; kind++)
                put_tally(out, i, &s->processes[k], (enum tallies_kind)kind);
    }
}
