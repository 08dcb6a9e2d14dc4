/* What workers learn of the gateway's books: their names, and where in them the
 * client of an event is. */
#include "gateway/router_impl.h"
#include "wire/bigendian.h"

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

static void tell_where(const struct router *r, struct router_worker *w)
{
    uint64_t where = books_where(r->conf.books);
    uint8_t body[8];
    struct frame f = {.cmd = FRAME_KEEPS,
        .flag = FRAME_FLAG_STRING,
        .body = body,
        .body_len = sizeof(body)};

    put32(body, (uint32_t)(where >> 32));
    put32(body + 4, (uint32_t)where);
    router_put(r, w, &f);
}

void router_begin_books(const struct router *r, struct router_worker *w)
{
    struct telling t = {r, w};

    w->features.far_book = w->features.far_book && !w->features.book &&
                           r->conf.books && books_are_kept(r->conf.books);
    if (w->features.far_book)
        tell_where(r, w);
    else if (w->features.book)
        books_each(r->conf.books, tell, &t);
}

void router_tell_left(
    const struct router *r, struct router_worker *w, const struct client *c)
{
    struct frame f = {
        .cmd = FRAME_KEEPS, .flag = FRAME_FLAG_STRING, .connection_id = c->id};

    if (w->features.far_book)
        router_put(r, w, &f);
}

void router_note_begun(
    const struct router *r, const uint8_t *packet, size_t len)
{
    struct frame f;

    if (frame_cmd(packet) != FRAME_ON_MESSAGE &&
        frame_decode(&f, packet, len) == 0)
        books_begun(r->conf.books, &f);
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
    unsigned flags = BOOKS_GIVES;

    if (c->place == 0)
        return;
    if (w->features.far_book)
        flags = BOOKS_GIVES | BOOKS_TELLS;
    else if (w->features.acks && !w->features.book)
        flags = 0; /* it makes the ON_CLOSE up itself, as older ones do */
    books_bind(r->conf.books, c, w->key_hash, flags);
}

void router_put_place(const struct router *r, const struct router_worker *w,
    const struct client *c, struct frame *f)
{
    enum books_worker worker = w->features.book       ? BOOKS_MAY_ASK
                               : w->features.far_book ? BOOKS_WILL_TELL
                                                      : BOOKS_IS_SILENT;

    if (books_is_adopted(c->book) && !w->features.others)
        worker = BOOKS_IS_SILENT;
    if (c->place != 0 && f->cmd != FRAME_ON_WEBSOCKET_CONNECT)
        books_put(r->conf.books, c, f, worker);
}
