/* Questions to gateways. Answers carry no id: each link has a queue of what is
 * to come. A question that nobody waits for any more keeps its place there, so
 * that its late answer is not taken for another's. */
#include <errno.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/log.h"
#include "wire/framing.h"
#include "worker/gateways_impl.h"

#define QUERY_TIMEOUT_MAX 86400.0 /* seconds */

struct pending {
    struct list node;             /* in peer->pending */
    struct gateways_query *query; /* NULL: skip the answer */
    size_t index;                 /* in query->answers */
};

struct gateways_query {
    struct list node; /* in gateways->queries */
    struct gateways *g;
    gateways_answers_cb cb;
    void *arg;
    uint64_t deadline;       /* loop time, ms */
    struct turn_task failed; /* no gateway took the question */
    size_t count;
    size_t left;               /* answers to come */
    struct pending **pendings; /* owned; [count], NULL: not to come */
    struct gateways_answer answers[];
};

static void free_query(struct gateways_query *q)
{
    list_remove(&q->node);
    turn_cancel(&q->failed);
    for (size_t i = 0; i < q->count; i++) {
        if (q->pendings[i])
            q->pendings[i]->query = NULL;
        free((void *)q->answers[i].data);
    }
    free(q->pendings);
    free(q);
}

/* Tell the asker; the query is gone afterwards. */
static void finish(struct gateways_query *q)
{
    list_remove(&q->node); /* no deadline, while cb runs */
    q->cb(q->answers, q->count, q->arg);
    free_query(q);
}

static void on_failed(struct turn_task *task)
{
    finish(LIST_ENTRY(task, struct gateways_query, failed));
}

/* Take the pending that is next off p's queue; its query or NULL. */
static struct gateways_query *take_next(struct peer *p, size_t *index)
{
    struct pending *next = LIST_ENTRY(p->pending.next, struct pending, node);
    struct gateways_query *q = next->query;

    *index = next->index;
    if (q) {
        q->pendings[next->index] = NULL;
        q->left--;
    }
    list_remove(&next->node);
    p->npending--;
    free(next);
    return q;
}

void queries_answer(struct peer *p, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_reply_message(packet, len);
    struct gateways_query *q;
    struct gateways_answer *a;
    size_t i;

    if (list_empty(&p->pending)) {
        log_warn("answer to no question gateway=%s", p->name);
        return;
    }
    q = take_next(p, &i);
    if (!q)
        return;
    a = &q->answers[i];
    a->len = m.len;
    if (q->left > 0) {
        a->data = xmemdup(m.data, m.len);
        return;
    }
    /* The last answer is handed on in place. */
    a->data = m.data;
    list_remove(&q->node);
    q->cb(q->answers, q->count, q->arg);
    a->data = NULL;
    free_query(q);
}

void queries_fail_all(struct peer *p, int err)
{
    while (!list_empty(&p->pending)) {
        size_t i;
        struct gateways_query *q = take_next(p, &i);

        if (!q)
            continue;
        q->answers[i].err = err;
        if (q->left == 0)
            finish(q);
    }
}

static void expire(struct gateways_query *q)
{
    for (size_t i = 0; i < q->count; i++) {
        if (!q->pendings[i])
            continue;
        q->pendings[i]->query = NULL;
        q->pendings[i] = NULL;
        q->answers[i].err = -ETIMEDOUT;
    }
    q->left = 0;
    finish(q);
}

void queries_expire(struct gateways *g, uint64_t now)
{
    struct list due, *node, *tmp;

    list_init(&due);
    LIST_FOREACH_SAFE (node, tmp, &g->queries) {
        struct gateways_query *q =
            LIST_ENTRY(node, struct gateways_query, node);

        if (q->deadline > now || q->left == 0)
            continue;
        list_remove(node);
        list_push_back(&due, node);
    }
    while (!list_empty(&due))
        expire(LIST_ENTRY(due.next, struct gateways_query, node));
}

void queries_free_all(struct gateways *g)
{
    while (!list_empty(&g->queries))
        free_query(LIST_ENTRY(g->queries.next, struct gateways_query, node));
}

/* Put question i to p. 0 or why not. */
static int ask_one(
    struct gateways_query *q, size_t i, struct peer *p, const struct frame *f)
{
    struct pending *next;

    if (!p || !p->commands)
        return -ENOTCONN;
    if (conn_is_full(p->commands) || p->npending >= GATEWAYS_PENDING_MAX)
        return -ENOBUFS;
    peer_put(p, f);
    next = xcalloc(1, sizeof(*next));
    next->query = q;
    next->index = i;
    list_init(&next->node);
    list_push_back(&p->pending, &next->node);
    p->npending++;
    q->pendings[i] = next;
    q->left++;
    return 0;
}

static struct gateways_query *new_query(struct gateways *g, size_t count,
    double timeout, gateways_answers_cb cb, void *arg)
{
    struct gateways_query *q =
        xcalloc(1, sizeof(*q) + count * sizeof(q->answers[0]));
    double wait = timeout > 0 ? timeout : GATEWAYS_QUERY_TIMEOUT;

    if (wait > QUERY_TIMEOUT_MAX)
        wait = QUERY_TIMEOUT_MAX;
    q->g = g;
    q->cb = cb;
    q->arg = arg;
    q->count = count;
    q->deadline = clock_now(turn_loop(g->turn)) + (uint64_t)(wait * 1000.0);
    q->pendings = xcalloc(count > 0 ? count : 1, sizeof(struct pending *));
    list_init(&q->failed.node);
    q->failed.run = on_failed;
    list_init(&q->node);
    list_push_back(&g->queries, &q->node);
    return q;
}

/* All questions are put: wait for answers, if there will be any. */
static struct gateways_query *begin_wait(struct gateways_query *q)
{
    if (q->left == 0)
        turn_schedule(q->g->turn, &q->failed);
    else
        gateways_tick_within(q->g, GATEWAYS_TICK_BUSY_MS);
    return q;
}

static void ask(struct gateways_query *q, size_t i,
    const struct gateways_address *at, const struct frame *f)
{
    struct gateways_answer *a = &q->answers[i];

    a->from = *at;
    a->err = ask_one(q, i, gateways_find(q->g, at->ip, at->port), f);
    if (a->err < 0)
        q->g->sends_failed++;
}

struct gateways_query *gateways_ask(struct gateways *g,
    const struct gateways_address *targets, size_t count, const struct frame *f,
    double timeout, gateways_answers_cb cb, void *arg)
{
    struct gateways_query *q =
        new_query(g, targets ? count : g->npeers, timeout, cb, arg);
    struct list *node;
    size_t i = 0;

    if (targets) {
        for (; i < count; i++)
            ask(q, i, &targets[i], f);
        return begin_wait(q);
    }
    LIST_FOREACH (node, &g->peers)
        ask(q, i++, &LIST_ENTRY(node, struct peer, node)->at, f);
    return begin_wait(q);
}

struct gateways_query *gateways_ask_mine(struct gateways *g,
    const struct frame *f, double timeout, gateways_answers_cb cb, void *arg)
{
    struct gateways_query *q = new_query(g, g->npeers, timeout, cb, arg);
    struct list *node;
    size_t i = 0;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (!p->commands || p->receipts.known)
            ask(q, i, &p->at, f);
        else
            q->answers[i] =
                (struct gateways_answer){.from = p->at, .err = -ENOSYS};
        i++;
    }
    return begin_wait(q);
}

void gateways_cancel(struct gateways_query *q)
{
    free_query(q);
}
