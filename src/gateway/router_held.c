/* What waits here for a worker: copies of events, by client.
 *
 * All of them together have a limit. Whoever would be over it has those closed
 * of which most waits, so that a few who send much do not close the many who
 * send little. */
#include <stdlib.h>
#include <string.h>

#include "clients/client_conn.h"
#include "gateway/router_impl.h"
#include "util/alloc.h"

static size_t size_of(size_t bytes)
{
    return bytes > 0 ? 63 - (size_t)__builtin_clzll(bytes) : 0;
}

static struct router_wait *begin_wait(struct router *r, struct client *c)
{
    struct router_wait *wait = xcalloc(1, sizeof(*wait));

    wait->client = c;
    list_init(&wait->again);
    list_init(&wait->events);
    list_init(&wait->same_size);
    list_init(&wait->due);
    list_push_back(&r->waiting, &wait->node);
    c->wait = wait;
    router_stall(r, c);
    return wait;
}

void router_end_wait(struct router *r, struct router_wait *wait)
{
    struct client *c = wait->client;

    list_remove(&wait->node);
    list_remove(&wait->same_size);
    list_remove(&wait->due);
    free(wait);
    c->wait = NULL;
    router_unstall(r, c);
    roster_release(c);
}

static void count(struct router *r, struct router_wait *wait, size_t bytes)
{
    bool same = size_of(bytes) == size_of(wait->bytes);

    r->held_bytes += bytes - wait->bytes;
    wait->bytes = bytes;
    if (same && !list_empty(&wait->same_size))
        return;
    list_remove(&wait->same_size);
    list_push_back(&r->sizes[size_of(bytes)], &wait->same_size);
}

struct router_held *router_first_held(const struct client *c)
{
    struct router_wait *wait = c->wait;
    struct list *first = NULL;

    if (wait && !list_empty(&wait->again))
        first = wait->again.next;
    else if (wait && !list_empty(&wait->events))
        first = wait->events.next;
    return first ? LIST_ENTRY(first, struct router_held, node) : NULL;
}

void router_unhold(
    struct router *r, struct router_wait *wait, struct router_held *h)
{
    list_remove(&h->node);
    r->nheld--;
    count(r, wait, wait->bytes - sizeof(*h) - h->event.len);
    free(h);
}

void router_hold(
    struct router *r, struct client *c, const struct router_event *e)
{
    struct router_wait *wait = c->wait ? c->wait : begin_wait(r, c);
    struct router_held *h = xmalloc(sizeof(*h) + e->len);

    h->event = *e;
    h->event.body = h->body;
    if (e->len > 0)
        memcpy(h->body, e->body, e->len);
    list_push_back(e->again ? &wait->again : &wait->events, &h->node);
    r->nheld++;
    count(r, wait, wait->bytes + sizeof(*h) + e->len);
}

static void unstick(struct router *r, struct router_worker *w)
{
    list_splice(&w->stuck, &r->waiting); /* behind those stuck */
    list_splice(&r->waiting, &w->stuck);
}

void router_unstick(struct router *r)
{
    struct list *node;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            unstick(r, r->workers[i]);
    LIST_FOREACH (node, &r->leaving)
        unstick(r, LIST_ENTRY(node, struct router_worker, node));
}

static void drop_messages(
    struct router *r, struct router_wait *wait, struct list *list)
{
    struct list *node, *next;

    LIST_FOREACH_SAFE (node, next, list) {
        struct router_held *h = LIST_ENTRY(node, struct router_held, node);

        if (h->event.cmd != FRAME_ON_MESSAGE)
            continue;
        r->counters.refused++;
        router_unhold(r, wait, h);
    }
}

/* The script hears of its end, not of what it said last. */
static void give_up(struct router *r, struct router_wait *wait)
{
    list_remove(&wait->same_size); /* not chosen again for what is left */
    drop_messages(r, wait, &wait->again);
    drop_messages(r, wait, &wait->events);
    list_remove(&wait->same_size);
    if (!wait->client->gone)
        client_conn_close(wait->client->conn, CLIENT_CONN_BUSY, 1013, "busy");
}

/* One of those of which most waits, or NULL. */
static struct router_wait *largest(const struct router *r)
{
    for (size_t i = ROUTER_WAIT_SIZES; i-- > 0;)
        if (!list_empty(&r->sizes[i]))
            return LIST_ENTRY(r->sizes[i].next, struct router_wait, same_size);
    return NULL;
}

bool router_make_room(struct router *r, const struct client *c, size_t len)
{
    size_t own =
        (c->wait ? c->wait->bytes : 0) + sizeof(struct router_held) + len;

    while (r->held_bytes + sizeof(struct router_held) + len > ROUTER_HELD_MAX) {
        struct router_wait *wait = largest(r);

        if (!wait || wait->client == c || size_of(wait->bytes) <= size_of(own))
            return false;
        give_up(r, wait);
    }
    return true;
}
