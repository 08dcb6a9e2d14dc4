/* Questions to gateways. Answers carry no id: each link has a queue of what is
 * to come. A question that nobody waits for any more keeps its place there, so
 * that its late answer is not taken for another's. */
#include "worker/queries.h"

#include <errno.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "wire/framing.h"

#define QUERY_TIMEOUT_MAX 86400.0 /* seconds */

struct pending {
    struct list node;    /* in queries_link->pending */
    struct query *query; /* NULL: skip the answer */
    size_t index;        /* in query->answers */
};

struct query {
    struct list node;    /* in queries->list */
    struct queries *all; /* borrowed */
    queries_cb cb;
    void *arg;
    uint64_t deadline;       /* loop time, ms */
    struct turn_task failed; /* no gateway took the question */
    size_t count;
    size_t left;               /* answers to come */
    struct pending **pendings; /* owned; [count], NULL: not to come */
    struct queries_answer answers[];
};

void queries_init(struct queries *all, struct turn *turn)
{
    all->turn = turn;
    list_init(&all->list);
}

void queries_link_init(struct queries_link *link)
{
    list_init(&link->pending);
    link->count = 0;
}

static void free_query(struct query *q)
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
static void finish(struct query *q)
{
    list_remove(&q->node); /* no deadline, while cb runs */
    q->cb(q->answers, q->count, q->arg);
    free_query(q);
}

static void on_failed(struct turn_task *task)
{
    finish(LIST_ENTRY(task, struct query, failed));
}

/* Take the pending that is next off the link's queue; its query or NULL. */
static struct query *take_next(struct queries_link *link, size_t *index)
{
    struct pending *next = LIST_ENTRY(link->pending.next, struct pending, node);
    struct query *q = next->query;

    *index = next->index;
    if (q) {
        q->pendings[next->index] = NULL;
        q->left--;
    }
    list_remove(&next->node);
    link->count--;
    free(next);
    return q;
}

int queries_take_answer(
    struct queries_link *link, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_reply_message(packet, len);
    struct query *q;
    struct queries_answer *a;
    size_t i;

    if (list_empty(&link->pending))
        return -ENOENT;
    q = take_next(link, &i);
    if (!q)
        return 0;
    a = &q->answers[i];
    a->len = m.len;
    if (q->left > 0) {
        a->data = xmemdup(m.data, m.len);
        return 0;
    }
    /* The last answer is handed on in place. */
    a->data = m.data;
    list_remove(&q->node);
    q->cb(q->answers, q->count, q->arg);
    a->data = NULL;
    free_query(q);
    return 0;
}

void queries_fail_all(struct queries_link *link, int err)
{
    while (!list_empty(&link->pending)) {
        size_t i;
        struct query *q = take_next(link, &i);

        if (!q)
            continue;
        q->answers[i].err = err;
        if (q->left == 0)
            finish(q);
    }
}

struct query *queries_asker(const struct queries_link *link, size_t *i)
{
    const struct pending *next;

    if (list_empty(&link->pending))
        return NULL;
    next = LIST_ENTRY(link->pending.next, struct pending, node);
    *i = next->index;
    return next->query;
}

size_t queries_count(const struct query *q)
{
    return q->count;
}

void queries_pass(struct queries_link *link)
{
    queries_fail_all(link, 0);
}

static void expire(struct query *q)
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

void queries_expire(struct queries *all, uint64_t now)
{
    struct list due, *node, *tmp;

    list_init(&due);
    LIST_FOREACH_SAFE (node, tmp, &all->list) {
        struct query *q = LIST_ENTRY(node, struct query, node);

        if (q->deadline > now || q->left == 0)
            continue;
        list_remove(node);
        list_push_back(&due, node);
    }
    while (!list_empty(&due))
        expire(LIST_ENTRY(due.next, struct query, node));
}

void queries_free_all(struct queries *all)
{
    while (!list_empty(&all->list))
        free_query(LIST_ENTRY(all->list.next, struct query, node));
}

struct query *queries_new(
    struct queries *all, size_t count, double timeout, queries_cb cb, void *arg)
{
    struct query *q = xcalloc(1, sizeof(*q) + count * sizeof(q->answers[0]));
    double wait = timeout > 0 ? timeout : QUERIES_TIMEOUT;

    if (wait > QUERY_TIMEOUT_MAX)
        wait = QUERY_TIMEOUT_MAX;
    q->all = all;
    q->cb = cb;
    q->arg = arg;
    q->count = count;
    q->deadline = clock_now(turn_loop(all->turn)) + (uint64_t)(wait * 1000.0);
    q->pendings = xcalloc(count > 0 ? count : 1, sizeof(struct pending *));
    list_init(&q->failed.node);
    q->failed.run = on_failed;
    list_init(&q->node);
    list_push_back(&all->list, &q->node);
    return q;
}

void queries_expect(struct query *q, size_t i, struct gateways_address from,
    struct queries_link *link)
{
    struct pending *next = xcalloc(1, sizeof(*next));

    next->query = q;
    next->index = i;
    list_init(&next->node);
    list_push_back(&link->pending, &next->node);
    link->count++;
    q->answers[i].from = from;
    q->pendings[i] = next;
    q->left++;
}

void queries_refuse(
    struct query *q, size_t i, struct gateways_address from, int err)
{
    q->answers[i] = (struct queries_answer){.from = from, .err = err};
}

bool queries_wait(struct query *q)
{
    if (q->left == 0)
        turn_schedule(q->all->turn, &q->failed);
    return q->left > 0;
}

void queries_cancel(struct query *q)
{
    free_query(q);
}
