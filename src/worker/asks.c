/* To whom a question goes, and who cannot get it now. Each gateway has so many
 * questions in flight at most. */
#include "worker/asks.h"

#include <errno.h>
#include <string.h>

#include "worker/gateways_impl.h"

static void ask(struct gateways *g, struct query *q, size_t i,
    struct gateways_address at, const struct frame *f)
{
    struct peer *p = gateways_find(g, at.ip, at.port);
    int err = 0;

    if (!p) {
        err = departures_ask(g->departures, at, f, q, i);
        if (err == 0)
            return;
    } else if (!p->commands)
        err = -ENOTCONN;
    else if (conn_is_full(p->commands) || p->answers.count >= ASKS_PENDING_MAX)
        err = -ENOBUFS;
    if (err < 0) {
        g->sends_failed++;
        queries_refuse(q, i, at, err);
        return;
    }
    peer_put(p, f);
    queries_expect(q, i, at, &p->answers);
}

/* All questions are put: wait for answers, if there will be any. */
static struct query *begin_wait(struct gateways *g, struct query *q)
{
    if (queries_wait(q))
        gateways_tick_within(g, GATEWAYS_TICK_BUSY_MS);
    return q;
}

struct query *asks_put(struct gateways *g,
    const struct gateways_address *targets, size_t count, const struct frame *f,
    double timeout, queries_cb cb, void *arg)
{
    size_t all = g->npeers + departures_count(g->departures);
    struct query *q =
        queries_new(&g->queries, targets ? count : all, timeout, cb, arg);
    struct list *node;
    size_t i = 0;

    if (targets) {
        for (; i < count; i++)
            ask(g, q, i, targets[i], f);
        return begin_wait(g, q);
    }
    LIST_FOREACH (node, &g->peers)
        ask(g, q, i++, LIST_ENTRY(node, struct peer, node)->at, f);
    departures_ask_all(g->departures, f, q, i);
    return begin_wait(g, q);
}

struct query *asks_put_about(struct gateways *g, const struct frame *f,
    const struct departures_names *names, bool only_whether, double timeout,
    queries_cb cb, void *arg)
{
    size_t beyond = departures_count(g->departures);
    /* one more for where the others are */
    struct query *q = queries_new(&g->queries,
        g->npeers + (beyond > 0 ? beyond + 1 : 0), timeout, cb, arg);
    struct list *node;
    size_t i = 0;

    LIST_FOREACH (node, &g->peers)
        ask(g, q, i++, LIST_ENTRY(node, struct peer, node)->at, f);
    if (beyond > 0)
        departures_ask_about(g->departures, f, names, only_whether, q, i);
    return begin_wait(g, q);
}

struct query *asks_put_demands(struct gateways *g, struct frame *f,
    const struct asks_demands *demands, double timeout, queries_cb cb,
    void *arg)
{
    const struct cmdjson_names *names = demands->names;
    struct query *q = queries_new(&g->queries, names->count, timeout, cb, arg);
    struct demand demand = demands->demand;
    struct gateways_address to = demands->to;
    struct buf body = {0};

    demand.flags |= DEMAND_WAIT;
    demand.reply = departures_reply(g->departures);
    demand.reply_len = strlen(demand.reply);
    for (size_t i = 0; i < names->count; i++) {
        int err;

        demand.question = departures_number(g->departures);
        buf_clear(&body);
        demand_put(&body, &demand);
        f->ext = (const uint8_t *)names->items[i].data;
        f->ext_len = names->items[i].len;
        f->body = body.data;
        f->body_len = body.len;
        err = gateways_send(g, to.ip, to.port, f);
        if (err < 0)
            queries_refuse(q, i, to, err);
        else
            departures_expect(g->departures, demand.question, to, q, i);
    }
    buf_fini(&body);
    return begin_wait(g, q);
}

struct query *asks_put_mine(struct gateways *g, const struct frame *f,
    double timeout, queries_cb cb, void *arg)
{
    struct query *q = queries_new(&g->queries, g->npeers, timeout, cb, arg);
    struct list *node;
    size_t i = 0;

    LIST_FOREACH (node, &g->peers) {
        const struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (!p->commands || p->receipts.known)
            ask(g, q, i, p->at, f);
        else
            queries_refuse(q, i, p->at, -ENOSYS);
        i++;
    }
    return begin_wait(g, q);
}
