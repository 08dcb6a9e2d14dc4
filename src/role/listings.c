/* A listing begins with a copy of all client ids, so that clients who come and
 * go between two pages move nobody: who has left by then is skipped. The copy
 * is freed after the last page, or when the asker leaves. */
#include "role/listings.h"

#include <stdlib.h>

#include "role/orders.h"
#include "util/alloc.h"

struct listing {
    struct list node; /* in listings->list */
    int64_t gather;
    uint32_t *ids; /* owned */
    size_t count, next;
};

void listings_init(struct listings *ls)
{
    list_init(&ls->list);
}

static void free_listing(struct listing *l)
{
    list_remove(&l->node);
    free(l->ids);
    free(l);
}

void listings_fini(struct listings *ls)
{
    while (!list_empty(&ls->list))
        free_listing(LIST_ENTRY(ls->list.next, struct listing, node));
}

static struct listing *find(const struct listings *ls, int64_t gather)
{
    struct list *node;

    LIST_FOREACH (node, &ls->list) {
        struct listing *l = LIST_ENTRY(node, struct listing, node);

        if (l->gather == gather)
            return l;
    }
    return NULL;
}

static struct listing *begin(struct listings *ls, const struct gateway *g,
    int64_t gather, const struct gateway_pick *pick)
{
    struct listing *l = xcalloc(1, sizeof(*l));

    l->gather = gather;
    if (g)
        l->count = gateway_client_ids(g, pick, &l->ids);
    list_push_back(&ls->list, &l->node);
    return l;
}

static json_t *describe(const struct gateway_client_row *row)
{
    return json_pack("{s:s,s:s,s:o,s:I,s:I,s:I,s:I,s:f,s:f}", "client_id",
        row->client_id, "peer", row->peer, "uid", ctlmsg_text(row->uid),
        "groups", (json_int_t)row->groups, "queued", (json_int_t)row->queued,
        "bytes_in", (json_int_t)row->bytes_in, "bytes_out",
        (json_int_t)row->bytes_out, "idle", row->idle, "connected",
        row->connected);
}

json_t *listings_next(struct listings *ls, const struct gateway *g,
    int64_t gather, const json_t *m)
{
    const struct gateway_pick pick = orders_pick(m);
    struct listing *l = find(ls, gather);
    json_t *rows = json_array();
    struct gateway_client_row row;
    bool more;

    if (!l)
        l = begin(ls, g, gather, &pick);
    for (size_t n = 0; n < LISTINGS_PAGE && l->next < l->count; n++) {
        if (gateway_client_row(g, l->ids[l->next++], &row))
            json_array_append_new(rows, describe(&row));
    }
    more = l->next < l->count;
    if (!more)
        free_listing(l);
    return json_pack("{s:s,s:I,s:b,s:o}", "type", "connections", "gather",
        (json_int_t)gather, "more", more, "rows", rows);
}

void listings_leave(struct listings *ls, int64_t gather)
{
    struct listing *l = find(ls, gather);

    if (l)
        free_listing(l);
}
