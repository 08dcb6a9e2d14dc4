/* What leaves for gateways: to one, to all, and how many did not take it. */
#include <errno.h>

#include "worker/gateways_impl.h"

struct peer *gateways_find(const struct gateways *g, uint32_t ip, uint16_t port)
{
    struct list *node;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->at.port == port && p->at.ip == ip)
            return p;
    }
    return NULL;
}

void peer_put(struct peer *p, const struct frame *f)
{
    struct frame to_peer = *f;

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

static int send_to(struct peer *p, const struct frame *f)
{
    int err = 0;

    if (!p || !p->commands)
        err = -ENOTCONN;
    else if (conn_is_full(p->commands))
        err = -ENOBUFS;
    else if (!takes(p, f))
        err = put_without_types(p, f);
    else
        peer_put(p, f);
    return err;
}

int gateways_send(
    struct gateways *g, uint32_t ip, uint16_t port, const struct frame *f)
{
    int err = send_to(gateways_find(g, ip, port), f);

    if (err < 0)
        g->sends_failed++;
    return err;
}

size_t gateways_send_all(
    struct gateways *g, const struct frame *f, size_t *missed)
{
    struct list *node;
    size_t taken = 0;

    LIST_FOREACH (node, &g->peers)
        taken += send_to(LIST_ENTRY(node, struct peer, node), f) == 0;
    g->sends_failed += g->npeers - taken;
    if (missed)
        *missed = g->npeers - taken;
    return taken;
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
