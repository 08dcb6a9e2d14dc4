/* What a lost worker was given and did not begin goes to others. */
#include <netinet/in.h>
#include <string.h>

#include "gateway/router_impl.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/frame.h"

/* A client that is in no index any more. */
struct departed {
    UT_hash_handle hh;
    uint32_t id;
    struct client *client; /* kept alive by client->held */
    bool revived;          /* made from its events: they hold its session */
};

struct regiving {
    struct router *r;
    const struct clients *clients;
    struct departed *departed; /* owned; by id */
    struct list events;        /* struct held */
};

static struct departed *find_departed(const struct regiving *g, uint32_t id)
{
    struct departed *d;

    HASH_FIND(hh, g->departed, &id, sizeof(id), d);
    return d;
}

static struct departed *add_departed(struct regiving *g, struct client *c)
{
    struct departed *d = xcalloc(1, sizeof(*d));

    d->id = c->id;
    d->client = c;
    HASH_ADD(hh, g->departed, id, sizeof(d->id), d);
    return d;
}

static struct departed *revive(struct regiving *g, const struct frame *f)
{
    union addr peer = {0};
    struct departed *d;

    if (f->flag & FRAME_FLAG_IPV6) {
        peer.in6.sin6_family = AF_INET6;
        peer.in6.sin6_port = htons(f->client_port);
        memcpy(&peer.in6.sin6_addr, f->client_ip6, FRAME_IPV6_LEN);
    } else {
        peer.in.sin_family = AF_INET;
        peer.in.sin_port = htons(f->client_port);
        peer.in.sin_addr.s_addr = htonl(f->client_ip);
    }
    d = add_departed(g, clients_revive(f->connection_id, &peer));
    d->revived = true;
    return d;
}

static struct client *client_of(struct regiving *g, const struct frame *f)
{
    struct client *c = clients_find(g->clients, f->connection_id);
    struct departed *d;

    if (c)
        return c;
    d = find_departed(g, f->connection_id);
    if (!d)
        d = revive(g, f);
    if (d->revived)
        clients_set_session(d->client, f->ext, f->ext_len);
    return d->client;
}

static void hold_again(const uint8_t *packet, size_t len, void *arg)
{
    struct regiving *g = arg;
    struct event e = {.again = true};
    struct frame f;

    frame_decode(&f, packet, len);
    e.cmd = f.cmd;
    e.body = f.body;
    e.len = f.body_len;
    router_hold(g->r, &g->events, client_of(g, &f), &e);
}

/* Put what w has not begun in front of all that waits. */
static void hold_unbegun(struct router *r, const struct router_worker *w,
    const struct clients *clients)
{
    struct regiving g = {.r = r, .clients = clients};
    struct departed *d, *tmp;
    struct list *node;

    list_init(&g.events);
    LIST_FOREACH (node, &r->held) {
        struct client *c = LIST_ENTRY(node, struct held, node)->client;

        if (c->gone && !find_departed(&g, c->id))
            add_departed(&g, c);
    }
    given_each(w->given, hold_again, &g);
    list_splice(&g.events, &r->held);
    list_splice(&r->held, &g.events);
    MAP_FOREACH (hh, g.departed, d, tmp) {
        HASH_DEL(g.departed, d);
        free(d);
    }
}

void router_settle(struct router *r, struct router_worker *w,
    const struct clients *clients, bool certain)
{
    size_t unbegun = given_count(w->given);
    uint64_t running = w->running;

    r->counters.cut_off += running;
    if (certain) {
        r->counters.again += unbegun;
        hold_unbegun(r, w, clients);
    } else {
        r->counters.lost += unbegun;
    }
    if (unbegun > 0 || running > 0)
        log_warn("worker lost key=%s not_begun=%zu (%s) cut_off=%llu", w->key,
            unbegun, certain ? "others get them" : "lost, nobody knows",
            (unsigned long long)running);
    router_free_worker(w);
    router_drained(r);
}
