/* A timer runs while there is a page; what it tells is made once for all. */
#include "admin/live.h"

#include <stdlib.h>
#include <string.h>

#include "clients/client_conn.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/blob.h"
#include "util/list.h"

struct page_view {
    struct list node;
    struct live *live;     /* borrowed */
    struct client_conn *c; /* borrowed */
};

struct live {
    uv_timer_t timer;
    struct port *port; /* borrowed, while there are pages */
    struct list pages;
    size_t count; /* of them */
    json_t *(*make)(void *arg);
    void *arg;
};

struct live *live_new(uv_loop_t *loop, json_t *(*make)(void *arg), void *arg)
{
    struct live *l = xcalloc(1, sizeof(*l));

    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    list_init(&l->pages);
    l->make = make;
    l->arg = arg;
    return l;
}

void live_close(struct live *l)
{
    handle_close(&l->timer, l);
}

static void on_timer(uv_timer_t *timer)
{
    struct live *l = timer->data;
    json_t *value = l->make(l->arg);
    char *text = json_dumps(value, JSON_COMPACT);
    const struct protocol_message message = {
        .data = text, .len = strlen(text), .form = PROTOCOL_AS_TEXT};
    struct blob *framed = port_frame(l->port, &proto_sse, &message);
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &l->pages)
        client_conn_send_blob(
            LIST_ENTRY(node, struct page_view, node)->c, framed);
    blob_unref(framed);
    free(text);
    json_decref(value);
}

void *live_join(struct live *l, struct port *port, struct client_conn *c)
{
    struct page_view *page;

    if (l->count >= LIVE_MAX)
        return NULL;
    page = xcalloc(1, sizeof(*page));
    page->live = l;
    page->c = c;
    l->port = port;
    list_push_back(&l->pages, &page->node);
    if (l->count++ == 0)
        uv_timer_start(&l->timer, on_timer, 0, LIVE_MS);
    return page;
}

void live_leave(void *page)
{
    struct page_view *p = page;
    struct live *l = p->live;

    list_remove(&p->node);
    free(p);
    if (--l->count == 0)
        uv_timer_stop(&l->timer);
}
