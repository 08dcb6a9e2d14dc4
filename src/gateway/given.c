/* What was given and has not begun lies in two places: packets that the worker
 * has not taken off its link in one buffer, in order, and those that it took
 * and put behind another event of their client in queues. A packet has a
 * number, from 1 on the link. Of the page only the index is believed when it is
 * revoked, and each number that stands there is held against the packets. */
#include "gateway/given.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/idmap.h"
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
    struct list wants;   /* in given->wants while its first packet is wanted */
    bool granted;        /* its first packet may begin */
    bool is_other;       /* … without a grant: another gateway's client */
};

struct given {
    struct buf log;        /* packets that the worker has not taken, in order */
    struct queue *queues;  /* owned; by connection id */
    size_t logged;         /* packets in log */
    uint32_t taken;        /* … and that were in it before */
    uint32_t last;         /* number of the last packet that was given */
    size_t count;          /* packets in log and queues … */
    size_t bytes;          /* … and theirs */
    struct claims *page;   /* owned; or NULL */
    struct claims *before; /* owned; the page that it takes the place of, until
                              the worker goes on with it; or NULL */
    size_t max;            /* packets in log and queues at a time */
    uint32_t begun;        /* packets that the worker has said to have begun */
    uint32_t line;         /* packets in log that may begin; 0: no window */
    uint32_t limit; /* … those up to this number, the worker was told */
    uint32_t granted_max, granted; /* … and queues whose first one may */
    struct list wants;             /* struct queue, who wants longest first */
    bool has_dropped;              /* by given_drop(): … */
    uint32_t dropped;              /* … the packet with that number */
    uint32_t struck; /* number of the packet that begun is told of */
};

struct given *given_new(struct claims *page)
{
    struct given *g = xcalloc(1, sizeof(*g));

    g->page = page;
    g->max = page ? CLAIMS_EVENTS : SIZE_MAX;
    list_init(&g->wants);
    return g;
}

/* Its first packet goes. */
static void end_grant(struct given *g, struct queue *q)
{
    g->granted -= q->granted;
    q->granted = false;
    list_remove(&q->wants);
}

static void end_queue(struct given *g, struct queue *q)
{
    assert(g->queues);
    end_grant(g, q);
    HASH_DEL(g->queues, q);
    free(q);
}

static void forget(struct given *g, struct waiting *w)
{
    g->count--;
    g->bytes -= w->len;
    list_remove(&w->node);
    free(w);
}

static void drop(struct given *g, struct queue *q, struct waiting *w)
{
    if (q->packets.next == &w->node)
        end_grant(g, q);
    forget(g, w);
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
    claims_close(g->page);
    claims_close(g->before);
    free(g);
}

bool given_has_room(const struct given *g, size_t high_water)
{
    return g->log.len <= high_water && g->count < g->max;
}

void given_add(struct given *g, const uint8_t *packet, size_t len)
{
    assert(g->count < g->max);
    buf_append(&g->log, packet, len);
    g->logged++;
    g->last++;
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

/* Only an ON_CLOSE may be of another gateway's client. */
static uint32_t ack_id(const uint8_t *packet, size_t len)
{
    struct frame f;

    if (frame_cmd(packet) != FRAME_ON_CLOSE ||
        frame_decode(&f, packet, len) < 0)
        return frame_connection_id(packet);
    return frame_ack_id(&f);
}

static void put_aside(
    struct given *g, uint32_t number, const uint8_t *packet, size_t len)
{
    struct waiting *w = xmalloc(sizeof(*w) + len);
    uint32_t id = ack_id(packet, len);
    struct queue *q = find_queue(g, id);

    if (!q) {
        q = xcalloc(1, sizeof(*q));
        q->connection_id = id;
        q->is_other = id != frame_connection_id(packet);
        list_init(&q->packets);
        list_init(&q->wants);
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
        gone(packet, len, arg);
    }
    if (at > 0)
        buf_consume(&g->log, at);
    g->logged -= count;
    g->taken += count;
    g->count -= count - aside;
    buf_shrink(&g->log, LOG_KEEP);
    return aside;
}

/* Whether the worker can have taken all up to that number. */
static bool may_take(const struct given *g, uint32_t number)
{
    return number - g->taken <= g->logged &&
           (g->line == 0 || (int32_t)(g->limit - number) >= 0);
}

ssize_t given_take(
    struct given *g, const struct ack *ack, given_gone_cb gone, void *arg)
{
    uint32_t begun;
    size_t aside;

    if (!may_take(g, g->taken + ack->taken))
        return -EPROTO;
    /* Of two to a message, one only says what has ended. */
    aside = ack->taken > 0 ? take(g, ack->taken, &ack->waits, gone, arg) : 0;
    if (aside < ack->waits.count)
        return -EPROTO;
    for (size_t i = 0; i < ack->begins.count; i++) {
        uint32_t id = ack_number(&ack->begins, i);
        struct queue *q = find_queue(g, id);
        struct waiting *first;

        if (!q || (g->line > 0 && !q->granted && !q->is_other))
            return -EPROTO;
        first = LIST_ENTRY(q->packets.next, struct waiting, node);
        gone(first->packet, first->len, arg);
        drop(g, q, first);
    }
    begun = (uint32_t)(ack->taken - aside + ack->begins.count);
    g->begun += begun;
    return (ssize_t)begun;
}

/* ---- what may begin ---- */

void given_set_window(struct given *g, uint32_t line, uint32_t queued)
{
    g->line = line;
    g->limit = g->taken + line;
    g->granted_max = queued;
}

int given_want(struct given *g, uint32_t connection_id)
{
    struct queue *q = find_queue(g, connection_id);

    if (g->line == 0 || !q || q->granted || !list_empty(&q->wants))
        return -EPROTO;
    list_push_back(&g->wants, &q->wants);
    return 0;
}

/* A quarter of the line at a time, so that a message has next to nothing of it.
 */
bool given_grant(struct given *g, struct buf *out)
{
    bool moves = g->taken + g->line - g->limit > g->line / 4;

    if (g->line == 0 ||
        (!moves && (list_empty(&g->wants) || g->granted >= g->granted_max)))
        return false;
    g->limit = g->taken + g->line;
    ack_put_number(out, g->limit);
    while (!list_empty(&g->wants) && g->granted < g->granted_max) {
        struct queue *q = LIST_ENTRY(g->wants.next, struct queue, wants);

        list_remove(&q->wants);
        q->granted = true;
        g->granted++;
        ack_put_number(out, q->connection_id);
    }
    return true;
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

static bool find_and_drop(
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

bool given_drop(
    struct given *g, uint32_t number, given_each_cb dropped, void *arg)
{
    if (!find_and_drop(g, number, dropped, arg))
        return false;
    g->has_dropped = true;
    g->dropped = number;
    return true;
}

/* ---- what was claimed ---- */

void given_revoke(struct given *g)
{
    if (g->page)
        claims_revoke(g->page);
}

bool given_is_claimed(const struct given *g)
{
    return g->page && claims_revoke(g->page) != -ENOTCONN;
}

/* Numbers of packets: any, while an idmap has none for 0. */
struct numbers {
    struct idmap map;
    bool zero;
};

static bool has(const struct numbers *n, uint32_t number)
{
    return number == 0 ? n->zero : idmap_has(&n->map, number);
}

static void add(struct numbers *n, uint32_t number)
{
    n->zero |= number == 0;
    idmap_add(&n->map, number);
}

/* Whether it was there. */
static bool strike(struct numbers *n, uint32_t number)
{
    bool was_there = has(n, number);

    n->zero &= number != 0;
    idmap_remove(&n->map, number);
    return was_there;
}

/* The packets that were claimed and that the worker has not told of. Each of
 * them is here, or was dropped by its number. 0, or as given_close(). */
static int find_untold(const struct given *g, struct numbers *untold)
{
    int64_t claimed = g->page ? claims_revoke(g->page) : -ENOTCONN;
    uint32_t count = (uint32_t)claimed - g->begun;

    if (claimed < 0)
        return (int)claimed;
    if (count > g->count + g->has_dropped)
        return -EPROTO;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = claims_get(g->page, g->begun + i);

        if (has(untold, number))
            return -EPROTO;
        if (!g->has_dropped || number != g->dropped)
            add(untold, number);
    }
    return 0;
}

/* Goes through all packets and forgets those that have begun. */
struct striking {
    struct given *g;
    struct numbers numbers; /* of those that have begun, … */
    bool unbegun;           /* … or that have not, … */
    uint32_t taken;         /* … while all others up to this one have */
    given_begun_cb begun;
    void *arg;
};

/* Whether it is not here any more. */
static bool strike_packet(
    struct striking *s, uint32_t number, const uint8_t *packet, size_t len)
{
    bool named = strike(&s->numbers, number);
    bool has_begun =
        s->unbegun ? !named && (int32_t)(s->taken - number) >= 0 : named;

    s->g->struck = number;
    return has_begun && s->begun(packet, len, s->arg);
}

static void strike_queued(struct striking *s)
{
    struct queue *q, *tmp;

    MAP_FOREACH (hh, s->g->queues, q, tmp) {
        struct list *node, *next;

        LIST_FOREACH_SAFE (node, next, &q->packets) {
            struct waiting *w = LIST_ENTRY(node, struct waiting, node);

            if (strike_packet(s, w->number, w->packet, w->len))
                forget(s->g, w);
        }
        if (list_empty(&q->packets))
            end_queue(s->g, q);
    }
}

static void strike_logged(struct striking *s)
{
    struct given *g = s->g;
    uint32_t number = g->taken;
    size_t len, kept = 0;

    for (size_t at = 0; at < g->log.len; at += len) {
        uint8_t *packet = g->log.data + at;

        len = packet_len(packet, g->log.len - at);
        if (strike_packet(s, ++number, packet, len)) {
            g->logged--;
            g->count--;
            g->bytes -= len;
            continue;
        }
        memmove(g->log.data + kept, packet, len);
        kept += len;
    }
    g->log.len = kept;
}

/* -EPROTO: not all of the numbers are of packets that were given. */
static int strike_all(struct striking *s)
{
    strike_queued(s);
    strike_logged(s);
    return s->numbers.map.count > 0 || s->numbers.zero ? -EPROTO : 0;
}

int given_close(struct given *g, given_begun_cb begun, void *arg)
{
    struct striking s = {.g = g, .begun = begun, .arg = arg};
    int err = find_untold(g, &s.numbers);

    if (err == 0)
        err = strike_all(&s);
    idmap_fini(&s.numbers.map);
    return err;
}

/* Whether that can be: nobody strikes anything for a word that is not true. */
static bool is_possible(const struct given *g, const struct numbers *unbegun,
    uint32_t taken, size_t count)
{
    struct queue *q, *tmp;
    size_t found = 0;
    const struct list *node;

    if (!may_take(g, taken))
        return false;
    for (uint32_t number = g->taken; number != taken;)
        found += has(unbegun, ++number);
    MAP_FOREACH (hh, g->queues, q, tmp)
        LIST_FOREACH (node, &q->packets)
            found +=
                has(unbegun, LIST_ENTRY(node, struct waiting, node)->number);
    return found == count;
}

int given_leave(struct given *g, const struct ack_left *left,
    given_begun_cb begun, void *arg)
{
    struct striking s = {.g = g,
        .unbegun = true,
        .taken = left->taken,
        .begun = begun,
        .arg = arg};
    int err = -EPROTO;

    for (size_t i = 0; i < left->unbegun.count; i++)
        add(&s.numbers, ack_number(&left->unbegun, i));
    if (left->known &&
        is_possible(g, &s.numbers, left->taken, left->unbegun.count))
        err = strike_all(&s);
    idmap_fini(&s.numbers.map);
    return err;
}

struct closing {
    const struct given *g;
    given_each_cb gone;
    void *arg;
};

/* Behind what waits of its client it waits as well. */
static bool close_packet(const uint8_t *packet, size_t len, void *arg)
{
    const struct closing *closing = arg;

    if (find_queue(closing->g, ack_id(packet, len)))
        return false;
    closing->gone(packet, len, closing->arg);
    return true;
}

void given_close_window(struct given *g, given_each_cb gone, void *arg)
{
    struct closing closing = {g, gone, arg};
    struct striking line = {.g = g,
        .unbegun = true,
        .taken = g->limit,
        .begun = close_packet,
        .arg = &closing};
    struct queue *q, *tmp;

    MAP_FOREACH (hh, g->queues, q, tmp) {
        struct waiting *w = LIST_ENTRY(q->packets.next, struct waiting, node);

        if (!q->granted && !q->is_other)
            continue;
        gone(w->packet, w->len, arg);
        drop(g, q, w);
    }
    strike_logged(&line);
}

uint32_t given_struck(const struct given *g)
{
    return g->struck;
}

bool given_pulse(const struct given *g, uint64_t *pulse)
{
    return g->page && claims_pulse(g->page, pulse);
}

void given_renew(struct given *g, struct claims *page)
{
    while (g->queues)
        drop_first(g, g->queues);
    buf_clear(&g->log);
    buf_shrink(&g->log, LOG_KEEP);
    g->taken = g->last; /* those as well that were struck from the log */
    g->logged = 0;
    g->count = 0;
    g->bytes = 0;
    g->begun = 0;
    g->has_dropped = false;
    claims_close(g->before);
    g->before = g->page;
    g->page = page;
}

void given_renewed(struct given *g)
{
    claims_close(g->before);
    g->before = NULL;
}

/* One that has not joined its next page says so in the one before. */
static int64_t revoke_requests(const struct given *g)
{
    int64_t begun = g->page ? claims_revoke_requests(g->page) : -ENOTCONN;

    if (begun == -ENOTCONN && g->before)
        begun = claims_revoke_requests(g->before);
    return begun;
}

void given_revoke_requests(struct given *g)
{
    revoke_requests(g);
}

int given_has_begun_request(const struct given *g, uint32_t number)
{
    int64_t begun = revoke_requests(g);

    return begun < 0 ? -ENOTCONN : (int32_t)((uint32_t)begun - number) >= 0;
}

int given_count_unrun(
    const struct given *g, const struct receipt *run, struct receipt *unrun)
{
    struct claims *page = g->page;

    if (g->before && !claims_shows_sent(page))
        page = g->before;
    return page ? claims_count_unrun(page, run, unrun) : -ENOTSUP;
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
