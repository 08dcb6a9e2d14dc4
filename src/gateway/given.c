#include "gateway/given.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/list.h"
#include "wire/frame.h"

#define LOG_KEEP (256 * 1024) /* bytes kept of an empty log */

/* A packet that the worker took and queued. */
struct waiting {
    struct list node;
    size_t len;
    uint8_t packet[];
};

/* What waits of one client, oldest first; never empty. */
struct queue {
    UT_hash_handle hh;
    uint32_t connection_id;
    struct list packets; /* struct waiting */
};

struct given {
    struct buf log;       /* packets that the worker has not taken, in order */
    struct queue *queues; /* owned; by connection id */
    size_t logged;        /* packets in log */
    size_t count;         /* packets in log and queues … */
    size_t bytes;         /* … and theirs */
};

struct given *given_new(void)
{
    return xcalloc(1, sizeof(struct given));
}

static void end_queue(struct given *g, struct queue *q)
{
    assert(g->queues);
    HASH_DEL(g->queues, q);
    free(q);
}

static void drop_first(struct given *g, struct queue *q)
{
    struct waiting *w = LIST_ENTRY(q->packets.next, struct waiting, node);

    g->count--;
    g->bytes -= w->len;
    list_remove(&w->node);
    free(w);
    if (list_empty(&q->packets))
        end_queue(g, q);
}

static struct queue *find_queue(const struct given *g, uint32_t id)
{
    struct queue *q;

    HASH_FIND(hh, g->queues, &id, sizeof(id), q);
    return q;
}

void given_free(struct given *g)
{
    while (g->queues)
        drop_first(g, g->queues);
    buf_fini(&g->log);
    free(g);
}

void given_add(struct given *g, const uint8_t *packet, size_t len)
{
    buf_append(&g->log, packet, len);
    g->logged++;
    g->count++;
    g->bytes += len;
}

/* Its own packets are whole and valid. */
static size_t packet_len(const uint8_t *at, size_t len)
{
    ssize_t n = frame_measure(at, len, len);

    assert(n > 0);
    return (size_t)n;
}

static void put_aside(struct given *g, const uint8_t *packet, size_t len)
{
    struct waiting *w = xmalloc(sizeof(*w) + len);
    struct frame f;
    struct queue *q;

    frame_decode(&f, packet, len);
    q = find_queue(g, f.connection_id);
    if (!q) {
        q = xcalloc(1, sizeof(*q));
        q->connection_id = f.connection_id;
        list_init(&q->packets);
        HASH_ADD(hh, g->queues, connection_id, sizeof(q->connection_id), q);
    }
    w->len = len;
    memcpy(w->packet, packet, len);
    list_init(&w->node);
    list_push_back(&q->packets, &w->node);
}

/* Take packets off the log and put those aside that wait. How many do. */
static size_t take(
    struct given *g, uint32_t count, const struct ack_numbers *waits)
{
    size_t all = g->log.len;
    size_t aside = 0;
    size_t kept = 0; /* bytes */

    if (count == g->logged && waits->count == 0)
        buf_clear(&g->log);
    else
        for (uint32_t i = 0; i < count; i++) {
            size_t len = packet_len(g->log.data, g->log.len);

            if (aside < waits->count && ack_number(waits, aside) == i) {
                put_aside(g, g->log.data, len);
                aside++;
                kept += len;
            }
            buf_consume(&g->log, len);
        }
    g->logged -= count;
    g->count -= count - aside;
    g->bytes -= all - g->log.len - kept;
    buf_shrink(&g->log, LOG_KEEP);
    return aside;
}

ssize_t given_take(struct given *g, const struct ack *ack)
{
    size_t aside;

    if (ack->taken > g->logged)
        return -EPROTO;
    aside = take(g, ack->taken, &ack->waits);
    if (aside < ack->waits.count)
        return -EPROTO;
    for (size_t i = 0; i < ack->begins.count; i++) {
        struct queue *q = find_queue(g, ack_number(&ack->begins, i));

        if (!q)
            return -EPROTO;
        drop_first(g, q);
    }
    return (ssize_t)(ack->taken - aside + ack->begins.count);
}

size_t given_count(const struct given *g)
{
    return g->count;
}

size_t given_bytes(const struct given *g)
{
    return g->bytes;
}

void given_each(const struct given *g,
    void (*each)(const uint8_t *packet, size_t len, void *arg), void *arg)
{
    struct queue *q, *tmp;

    MAP_FOREACH (hh, g->queues, q, tmp) {
        struct list *node;

        LIST_FOREACH (node, &q->packets) {
            const struct waiting *w = LIST_ENTRY(node, struct waiting, node);

            each(w->packet, w->len, arg);
        }
    }
    for (size_t at = 0; at < g->log.len;) {
        size_t len = packet_len(g->log.data + at, g->log.len - at);

        each(g->log.data + at, len, arg);
        at += len;
    }
}
