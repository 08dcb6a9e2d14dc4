/* What leaves for gateways: to one, to all, and how many did not take it; and
 * in which order with what they are told of their events (acks.h). */
#include <errno.h>

#include "wire/label.h"
#include "worker/gateways_impl.h"

/* An address in one word. It comes from the system's own registers: nobody else
 * chooses one, and no keyed hash is needed. */
static uint64_t key_of(uint32_t ip, uint16_t port)
{
    return (uint64_t)ip << 16 | port;
}

static unsigned hash_of(uint64_t key)
{
    return (unsigned)(key * 0x9e3779b97f4a7c15u >> 32);
}

/* The first one costs nothing: many systems have no other. */
struct peer *gateways_find(const struct gateways *g, uint32_t ip, uint16_t port)
{
    uint64_t key = key_of(ip, port);
    struct peer *p;

    if (!g->by_address)
        return NULL;
    p = LIST_ENTRY(g->peers.next, struct peer, node);
    if (p->key == key)
        return p;
    HASH_FIND_BYHASHVALUE(
        hh, g->by_address, &key, sizeof(key), hash_of(key), p);
    return p;
}

void peer_file(struct peer *p)
{
    p->key = key_of(p->at.ip, p->at.port);
    HASH_ADD_BYHASHVALUE(
        hh, p->g->by_address, key, sizeof(p->key), hash_of(p->key), p);
}

void peer_unfile(struct peer *p)
{
    HASH_DEL(p->g->by_address, p);
}

void peer_put(struct peer *p, const struct frame *f)
{
    struct frame to_peer = *f;

    receipts_note(&p->receipts, f->cmd);
    to_peer.local_ip = p->at.ip;
    to_peer.local_port = p->at.port;
    frame_encode(conn_out(p->commands), &to_peer);
    p->g->sends++;
}

static bool is_plain_kick(const struct frame *f)
{
    return f->cmd != FRAME_KICK || f->ext_len == 0;
}

/* GatewayWorker's gateways, and gwrun's older ones, know neither types nor what
 * a Close frame is to say. One that has not said anything yet may be of the
 * others. */
static bool takes(const struct peer *p, const struct frame *f)
{
    return p->types || !p->has_spoken ||
           (!(f->flag & FRAME_FLAG_TYPES) && is_plain_kick(f));
}

/* A client is closed in any case. */
static int put_without_types(struct peer *p, const struct frame *f)
{
    struct frame plain = *f;

    if (f->cmd != FRAME_KICK)
        return -ENOTSUP;
    plain.flag &= (uint8_t)~FRAME_FLAG_TYPES;
    plain.ext_len = 0;
    peer_put(p, &plain);
    return 0;
}

/* Those of gwrun's that have event streams say so, to programs too. */
static bool takes_label(const struct peer *p, const struct frame *f)
{
    return p->labels || !(f->flag & FRAME_FLAG_LABEL);
}

/* Only event streams have labels, and such a gateway has none. One of gwrun's
 * older ones would take the label for text. */
static int put_without_label(struct peer *p, const struct frame *f)
{
    struct frame plain = *f;
    struct label label;
    ssize_t used = label_read(&label, f->body, f->body_len);

    if (used < 0)
        return -EPROTO;
    plain.flag &= (uint8_t)~FRAME_FLAG_LABEL;
    plain.body += used;
    plain.body_len -= (size_t)used;
    if (!takes(p, &plain))
        return put_without_types(p, &plain);
    peer_put(p, &plain);
    return 0;
}

static int send_to(struct peer *p, const struct frame *f)
{
    int err = 0;

    if (!p || !p->commands)
        err = -ENOTCONN;
    else if (conn_is_full(p->commands))
        err = -ENOBUFS;
    else if (!takes_label(p, f))
        err = put_without_label(p, f);
    else if (!takes(p, f))
        err = put_without_types(p, f);
    else
        peer_put(p, f);
    return err;
}

/* A gateway of another cell, or of none. */
static int send_beyond(
    struct gateways *g, uint32_t ip, uint16_t port, const struct frame *f)
{
    int err = departures_send(g->departures, ip, port, f);

    g->sends += err == 0;
    return err;
}

int gateways_send(
    struct gateways *g, uint32_t ip, uint16_t port, const struct frame *f)
{
    struct peer *p = gateways_find(g, ip, port);
    int err = p ? send_to(p, f) : send_beyond(g, ip, port, f);

    if (err < 0)
        g->sends_failed++;
    return err;
}

size_t gateways_send_all(
    struct gateways *g, const struct frame *f, size_t *missed)
{
    return gateways_send_to_names(g, f, NULL, missed);
}

size_t gateways_send_to_names(struct gateways *g, const struct frame *f,
    const struct departures_names *names, size_t *missed)
{
    struct list *node;
    size_t taken = 0;

    LIST_FOREACH (node, &g->peers)
        taken += send_to(LIST_ENTRY(node, struct peer, node), f) == 0;
    g->sends_failed += g->npeers - taken;
    if (missed)
        *missed = g->npeers - taken;
    if (g->departures)
        gateways_send_beyond(g, f, names, NULL, 0);
    return taken;
}

bool gateways_takes_demands(
    const struct gateways *g, struct gateways_address at)
{
    const struct peer *p = gateways_find(g, at.ip, at.port);

    return !p || p->demands;
}

void gateways_send_beyond(struct gateways *g, const struct frame *f,
    const struct departures_names *names, const struct gateways_address *but,
    size_t count)
{
    struct crossing_gateway skips[CROSSING_SKIPS];
    size_t n = 0;

    for (; n < count && n < CROSSING_SKIPS; n++)
        skips[n] = (struct crossing_gateway){but[n].ip, but[n].port};
    departures_send_all(g->departures, f, names, skips, n);
}

bool gateways_has_beyond(const struct gateways *g)
{
    return departures_state(g->departures) != DEPARTURES_NONE;
}

bool gateways_are_alone(const struct gateways *g)
{
    return departures_state(g->departures) == DEPARTURES_AWAY;
}

size_t gateways_list(
    const struct gateways *g, const struct gateways_address **out)
{
    *out = g->connected;
    return g->nconnected;
}

size_t gateways_miss(struct gateways *g)
{
    size_t missed = g->npeers - g->nconnected;

    g->sends_failed += missed;
    return missed;
}

/* An answer that nobody has read resets the link when this process dies, and
 * what the kernel has kept back is lost. */
void gateways_acknowledge(struct gateways *g)
{
    struct list *node;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->acks.number == 0)
            continue;
        acks_put_begun(&p->acks);
        conn_send_first(p->commands, p->answers.count == 0);
    }
}

void gateways_send_done(struct gateways *g)
{
    struct list *node;

    gateways_acknowledge(g);
    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->acks.number != 0)
            acks_put_ended(&p->acks);
        if (p->commands)
            conn_send(p->commands);
        if (p->events)
            conn_send(p->events);
    }
}

/* Pages of claims that make no sense: new links make a fresh start. Where the
 * gateway has taken back what had not begun, what is queued of that goes, and
 * with it what keeps its next word from being read. */
static void end_revoked(struct gateways *g)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->acks.over == -ECANCELED && !p->revoked)
            peer_revoke(p);
        else if (p->acks.over != 0 && p->acks.over != -ECANCELED)
            peer_lose_links(p, p->acks.over);
    }
}

void gateways_tell(struct turn_task *task)
{
    struct gateways *g = LIST_ENTRY(task, struct gateways, acks.task);
    struct list *node;
    size_t busy = 0;
    bool over = false;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->acks.number != 0) {
            acks_put_begun(&p->acks);
            acks_put_ended(&p->acks);
            over |= p->acks.over != 0;
        }
        busy += p->commands && conn_queued(p->commands) > 0;
    }
    busy += departures_are_waiting(g->departures) ? 2 : 0;
    /* Else all that leaves is in one write, with the ACK in front. */
    if (busy > 1)
        gateways_acknowledge(g);
    if (over)
        end_revoked(g);
}

bool gateways_request_begins(
    struct gateways *g, struct gateways_address from, uint32_t number)
{
    struct peer *p = gateways_find(g, from.ip, from.port);

    return !p || acks_request_begins(&p->acks, number);
}

void gateways_tell_hanging_request(
    const struct gateways *g, struct gateways_address from, uint32_t number)
{
    const struct peer *p = gateways_find(g, from.ip, from.port);

    if (p)
        acks_tell_hanging_request(&p->acks, number);
}
