/* A list of gateways that the configuration gives: it is told once, on the turn
 * after discovery_watch(), and holds for as long as the process runs. Nothing
 * is asked, so nothing can be missing. */
#include <stdlib.h>

#include "discovery/discovery_impl.h"
#include "util/alloc.h"
#include "util/list.h"

struct fixed {
    struct discovery d;
    struct turn_task task;       /* tells the list */
    const char *const *gateways; /* borrowed */
    discovery_changed_cb changed;
    void *arg; /* borrowed, handed to changed */
};

static void tell(struct turn_task *task)
{
    struct fixed *f = LIST_ENTRY(task, struct fixed, task);
    size_t count = 0;

    while (f->gateways[count])
        count++;
    f->changed(f->gateways, count, f->arg); /* may end in close */
}

static size_t missing(const struct discovery *d)
{
    return 0;
}

static bool is_settled(const struct discovery *d)
{
    const struct fixed *f = (const struct fixed *)d;

    return list_empty(&f->task.node);
}

static void close_fixed(struct discovery *d)
{
    struct fixed *f = (struct fixed *)d;

    turn_cancel(&f->task);
    free(f);
}

static const struct discovery_ops static_ops = {
    .missing = missing, .is_settled = is_settled, .close = close_fixed};

struct discovery *discovery_static_watch(struct turn *turn,
    const char *const *gateways, discovery_changed_cb changed, void *arg)
{
    struct fixed *f = xcalloc(1, sizeof(*f));

    f->d.ops = &static_ops;
    f->gateways = gateways;
    f->changed = changed;
    f->arg = arg;
    f->task.run = tell;
    list_init(&f->task.node);
    turn_schedule(turn, &f->task);
    return &f->d;
}
