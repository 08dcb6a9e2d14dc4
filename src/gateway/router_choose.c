/* Which worker gets a client that is bound to none: one function for each value
 * of the key router. Nothing here binds, and none returns a worker without
 * room. */
#include <string.h>

#include "gateway/router_impl.h"
#include "util/alloc.h"
#include "util/hash.h"

bool router_has_room(const struct router *r, const struct router_worker *w)
{
    if (w->stalled ||
        (w->given && !given_has_room(w->given, r->conf.high_water)))
        return false;
    return !conn_is_full(w->conn);
}

struct router_worker *router_least_busy(const struct router *r)
{
    struct router_worker *best = NULL;

    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[i];

        if (w && router_has_room(r, w) && (!best || w->clients < best->clients))
            best = w;
    }
    return best;
}

static struct router_worker *any_with_room(struct router *r)
{
    size_t start;

    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    start = r->nslots > 0 ? (size_t)(r->random % r->nslots) : 0;
    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[(start + i) % r->nslots];

        if (w && router_has_room(r, w))
            return w;
    }
    return NULL;
}

uint64_t router_hash(const void *data, size_t len)
{
    static const uint8_t key[16];

    return hash_siphash(data, len, key);
}

/* Rendezvous hashing: the highest score wins, so that a worker that comes or
 * goes moves only its own share, and every gateway decides alike. */
static struct router_worker *by_hash(const struct router *r, uint64_t hash)
{
    struct router_worker *best = NULL;
    uint64_t best_score = 0;

    for (size_t i = 0; i < r->nslots; i++) {
        struct router_worker *w = r->workers[i];
        uint64_t pair[2];
        uint64_t score;

        if (!w || w->renews)
            continue;
        pair[0] = hash;
        pair[1] = w->key_hash;
        score = router_hash(pair, sizeof(pair));
        if (!best || score > best_score) {
            best = w;
            best_score = score;
        }
    }
    return best;
}

static uint64_t address_hash(const union addr *peer)
{
    if (peer->sa.sa_family == AF_INET6)
        return router_hash(&peer->in6.sin6_addr, sizeof(peer->in6.sin6_addr));
    return router_hash(&peer->in.sin_addr, sizeof(peer->in.sin_addr));
}

static struct router_worker *by_function(
    const struct router *r, const struct client *c)
{
    const struct roster_name *uid = c->uid.name;
    char host[ADDR_TEXT_SIZE];
    const struct gateway_newcomer newcomer = {
        .remote_addr = addr_format_host(host, &c->peer),
        .remote_port = addr_port(&c->peer),
        .gateway_port = r->conf.gateway_port,
        .uid = uid ? uid->text : NULL,
        .uid_len = uid ? uid->len : 0,
    };
    struct gateway_candidate *list = xcalloc(r->nslots + 1, sizeof(*list));
    struct router_worker *chosen = NULL;
    size_t count = 0;
    int at = -1;

    for (size_t i = 0; i < r->nslots; i++) {
        const struct router_worker *w = r->workers[i];

        if (w && router_has_room(r, w))
            list[count++] = (struct gateway_candidate){w->key, w->clients};
    }
    if (count > 0)
        at = r->conf.choose(list, count, &newcomer, r->conf.choose_arg);
    if (at >= 0 && (size_t)at < count)
        chosen = router_find_worker(r, list[at].key);
    free(list);
    return chosen ? chosen : router_least_busy(r);
}

struct router_worker *router_destined(
    const struct router *r, const struct client *c)
{
    const struct roster_name *uid = c->uid.name;

    if (r->conf.mode == GATEWAY_ROUTER_HASH_UID && uid)
        return by_hash(r, router_hash(uid->text, uid->len));
    if (r->conf.mode == GATEWAY_ROUTER_HASH_UID ||
        r->conf.mode == GATEWAY_ROUTER_HASH_IP)
        return by_hash(r, address_hash(&c->peer));
    return NULL;
}

struct router_worker *router_choose(struct router *r, const struct client *c)
{
    struct router_worker *w;

    switch (r->conf.mode) {
    case GATEWAY_ROUTER_RANDOM:
        return any_with_room(r);
    case GATEWAY_ROUTER_HASH_UID:
    case GATEWAY_ROUTER_HASH_IP:
        w = router_destined(r, c);
        return w && router_has_room(r, w) ? w : NULL;
    case GATEWAY_ROUTER_FUNCTION:
        return by_function(r, c);
    case GATEWAY_ROUTER_LEAST:
        break;
    }
    return router_least_busy(r);
}
