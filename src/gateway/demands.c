/* What waits is a copy of the demand and of its name. A login that had to wait
 * for longer than logins are compared is told to nobody: others may have come
 * since. */
#include "gateway/demands.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "gateway/logins.h"
#include "util/alloc.h"
#include "util/list.h"

struct waiting {
    struct list node; /* in demands->waiting */
    struct engine_wait wait;
    struct demands *d;
    struct demand demand; /* its reply is owned */
    uint64_t since;       /* ms */
    size_t len;
    char name[];
};

struct demands {
    struct demands_conf conf;
    struct list waiting; /* the oldest first */
    size_t count;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void drop(struct waiting *w)
{
    list_remove(&w->node);
    list_remove(&w->wait.node);
    w->d->count--;
    free((char *)w->demand.reply);
    free(w);
}

static void settle(struct waiting *w, bool held)
{
    const struct demands_conf *conf = &w->d->conf;
    bool fresh = now_ms() - w->since < LOGINS_FRESH * 1000;

    if ((w->demand.flags & DEMAND_ONLY) && held && fresh)
        conf->tell(w->name, w->len, w->demand.login, conf->arg);
    if (w->demand.flags & DEMAND_WAIT)
        conf->answer(&w->demand, held, conf->arg);
    drop(w);
}

static void on_done(struct engine_wait *wait, bool held)
{
    settle(LIST_ENTRY(wait, struct waiting, wait), held);
}

static struct waiting *first(const struct demands *d)
{
    return LIST_ENTRY(d->waiting.next, struct waiting, node);
}

static struct waiting *new_waiting(
    struct demands *d, const struct frame *f, const struct demand *demand)
{
    struct waiting *w;

    if (d->count >= DEMANDS_MAX)
        settle(first(d), false);
    w = xcalloc(1, sizeof(*w) + f->ext_len);
    w->d = d;
    w->demand = *demand;
    w->demand.reply =
        xstrndup(demand->reply ? demand->reply : "", demand->reply_len);
    w->since = now_ms();
    w->wait.done = on_done;
    list_init(&w->wait.node);
    w->len = f->ext_len;
    memcpy(w->name, f->ext, f->ext_len);
    list_init(&w->node);
    list_push_back(&d->waiting, &w->node);
    d->count++;
    return w;
}

void demands_take(struct demands *d, const struct frame *f,
    const struct demand *demand, bool done)
{
    enum engine_name kind =
        f->cmd == FRAME_BIND_UID ? ENGINE_UID : ENGINE_GROUP;
    struct waiting *w = new_waiting(d, f, demand);
    int holds = done ? engine_wait_for_name(
                           d->conf.engine, kind, w->name, w->len, &w->wait)
                     : -1;

    if (holds != 0)
        settle(w, holds > 0);
}

struct demands *demands_new(const struct demands_conf *conf)
{
    struct demands *d = xcalloc(1, sizeof(*d));

    d->conf = *conf;
    list_init(&d->waiting);
    return d;
}

void demands_free(struct demands *d)
{
    while (!list_empty(&d->waiting))
        drop(first(d));
    free(d);
}
