/* What workers learn of the gateway's books: their names, and where in them the
 * client of an event is. */
#include "gateway/router_impl.h"

struct telling {
    const struct router *r;
    struct router_worker *w;
};

static void tell(unsigned number, const char *name, void *arg)
{
    const struct telling *t = arg;
    struct buf body = {0};
    struct frame f = {.cmd = FRAME_BOOK, .flag = FRAME_FLAG_STRING};

    buf_append_byte(&body, (uint8_t)number);
    buf_append_str(&body, name);
    f.body = body.data;
    f.body_len = body.len;
    router_put(t->r, t->w, &f);
    buf_fini(&body);
}

void router_begin_books(const struct router *r, struct router_worker *w)
{
    struct telling t = {r, w};

    books_each(r->conf.books, tell, &t);
}

void router_tell_books(const struct router *r)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && r->workers[i]->features.book)
            router_begin_books(r, r->workers[i]);
}

void router_book_worker(const struct router *r, const struct router_worker *w,
    const struct client *c)
{
    bool keeps_clients = w->features.acks && !w->features.book;

    if (c->place != 0)
        books_bind(r->conf.books, c, w->key_hash, !keeps_clients);
}

void router_put_place(const struct router *r, const struct router_worker *w,
    const struct client *c, struct frame *f)
{
    if (c->place != 0 && f->cmd != FRAME_ON_WEBSOCKET_CONNECT)
        books_put(r->conf.books, c, f, w->features.book);
}
