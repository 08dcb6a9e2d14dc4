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
    uint32_t number; /* as in given_drop() */
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
    uint32_t taken;       /* … and that were in it before */
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

static void drop(struct given *g, struct queue *q, struct waiting *w)
{
    g->count--;
    g->bytes -= w->len;
    list_remove(&w->node);
    free(w);
    if (list_empty(&q->packets))
        end_queue(g, q);
}

static void drop_first(struct given *g, struct queue *q)
{
    drop(g, q, LIST_ENTRY(q->packets.next, struct waiting, node));
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

static void put_aside(
    struct given *g, uint32_t number, const uint8_t *packet, size_t len)
{
    struct waiting *w = xmalloc(sizeof(*w) + len);
    uint32_t id = frame_connection_id(packet);
    struct queue *q = find_queue(g, id);

    if (!q) {
        q = xcalloc(1, sizeof(*q));
        q->connection_id = id;
        list_init(&q->packets);
        HASH_ADD(hh, g->queues, connection_id, sizeof(q->connection_id), q);
    }
    w->number = number;
    w->len = len;
    memcpy(w->packet, packet, len);
    list_init(&w->node);
    list_push_back(&q->packets, &w->node);
}

/* Take packets off the log and put those aside that wait. How many do. */
static size_t take(struct given *g, uint32_t count,
    const struct ack_numbers *waits, given_gone_cb gone, void *arg)
{
    size_t aside = 0;
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *packet = g->log.data + at;
        size_t len = packet_len(packet, g->log.len - at);

        at += len;
        if (aside < waits->count && ack_number(waits, aside) == i) {
            put_aside(g, g->taken + i + 1, packet, len);
            aside++;
            continue;
        }
        g->bytes -= len;
        gone(frame_connection_id(packet), len, arg);
    }
    if (at > 0)
        buf_consume(&g->log, at);
    g->logged -= count;
    g->taken += count;
    g->count -= count - aside;
    buf_shrink(&g->log, LOG_KEEP);
    return aside;
}

ssize_t given_take(
    struct given *g, const struct ack *ack, given_gone_cb gone, void *arg)
{
    size_t aside;

    if (ack->taken > g->logged)
        return -EPROTO;
    /* Of two to a message, one only says what has ended. */
    aside = ack->taken > 0 ? take(g, ack->taken, &ack->waits, gone, arg) : 0;
    if (aside < ack->waits.count)
        return -EPROTO;
    for (size_t i = 0; i < ack->begins.count; i++) {
        uint32_t id = ack_number(&ack->begins, i);
        struct queue *q = find_queue(g, id);
        size_t bytes = g->bytes;

        if (!q)
            return -EPROTO;
        drop_first(g, q);
        gone(id, bytes - g->bytes, arg);
    }
    return (ssize_t)(ack->taken - aside + ack->begins.count);
}

static void drop_logged(
    struct given *g, uint32_t place, given_each_cb dropped, void *arg)
{
    uint8_t *at = g->log.data;
    uint8_t *end = at + g->log.len;
    size_t len;

    for (; place > 0; place--)
        at += packet_len(at, (size_t)(end - at));
    len = packet_len(at, (size_t)(end - at));
    dropped(at, len, arg);
    memmove(at, at + len, (size_t)(end - at) - len);
    g->log.len -= len;
    g->logged--;
    g->count--;
    g->bytes -= len;
}

bool given_drop(
    struct given *g, uint32_t number, given_each_cb dropped, void *arg)
{
    struct queue *q, *tmp;

    if (number - g->taken - 1 < g->logged) {
        drop_logged(g, number - g->taken - 1, dropped, arg);
        return true;
    }
    MAP_FOREACH (hh, g->queues, q, tmp) {
        struct list *node;

        LIST_FOREACH (node, &q->packets) {
            struct waiting *w = LIST_ENTRY(node, struct waiting, node);

            if (w->number != number)
                continue;
            dropped(w->packet, w->len, arg);
            drop(g, q, w);
            return true;
        }
    }
    return false;
}

size_t given_count(const struct given *g)
{
    return g->count;
}

size_t given_bytes(const struct given *g)
{
    return g->bytes;
}

size_t given_untaken(const struct given *g)
{
    return g->log.len;
}

void given_each(const struct given *g, given_each_cb each, void *arg)
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
