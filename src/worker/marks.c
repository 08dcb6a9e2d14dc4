/* The books of gateways of this machine (proc/book.h): before an onConnect or
 * an onClose begins, the client's entry is asked. A gateway that keeps a book
 * also gives the onClose of clients whose process was killed, so this worker
 * makes up none for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/book.h"
#include "util/log.h"
#include "worker/gateways_impl.h"

#define BOOKS 32 /* of one gateway; what its events can name */

struct marks {
    struct bookmarks *of[BOOKS]; /* owned; NULL: none with that number */
};

bool marks_may_be_asked(const struct peer *p)
{
    const struct worker_neighbour *n = p->g->conf->neighbours;

    if (!p->g->conf->book_folder || p->marks_failed)
        return false;
    for (; n && n->port != 0; n++)
        if (n->ip == p->at.ip && n->port == p->at.port)
            return true;
    return false;
}

static int open_one(
    struct bookmarks **out, const struct peer *p, const char *name)
{
    int folder = open(p->g->conf->book_folder,
        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int err = folder < 0 ? -errno : bookmarks_open(out, folder, name);

    if (folder >= 0)
        close(folder);
    return err;
}

/* Whoever keeps the book lives, and it cannot be asked. */
static void do_without(struct peer *p, const char *name, int err)
{
    p->marks_failed = true;
    log_error("cannot open the book of gateway %s, doing without "
              "file=%s/%s err=\"%s\"",
        p->name, p->g->conf->book_folder, name, strerror(-err));
}

static void end_links(struct peer *p, int err)
{
    conn_close(p->events);
    p->events = NULL;
    peer_lose_links(p, err);
}

/* One that is not there may be over, or go with its process: whether it is
 * missed shows when an event names it. */
static int take(struct peer *p, const struct frame *f)
{
    char name[BOOK_NAME_MAX] = "";
    struct bookmarks **m;
    int err;

    if (!marks_may_be_asked(p) || f->body_len < 2 ||
        f->body_len > sizeof(name) || f->body[0] >= BOOKS)
        return -EPROTO;
    if (!p->marks)
        p->marks = xcalloc(1, sizeof(*p->marks));
    m = &p->marks->of[f->body[0]];
    memcpy(name, f->body + 1, f->body_len - 1);
    p->keeps_book = true;
    if (*m && strcmp(bookmarks_name(*m), name) == 0)
        return 0;
    if (*m)
        bookmarks_close(*m);
    *m = NULL;
    err = open_one(m, p, name);
    if (err == -ENOENT)
        return 0;
    if (err < 0)
        do_without(p, name, err);
    return err;
}

void marks_take(struct peer *p, const struct frame *f)
{
    int err = take(p, f);

    if (err < 0)
        end_links(p, err);
}

static struct bookmarks *find(const struct peer *p, const struct frame *f)
{
    return p->marks ? p->marks->of[f->book % BOOKS] : NULL;
}

int marks_check(struct peer *p, const struct frame *f)
{
    if (!frame_has_place(f) || p->is_kept || find(p, f))
        return 0;
    do_without(p, "", -ENOENT);
    end_links(p, -ENOENT);
    return -ENOENT;
}

void marks_drop(struct peer *p)
{
    for (size_t i = 0; p->marks && i < BOOKS; i++)
        if (p->marks->of[i])
            bookmarks_close(p->marks->of[i]);
    free(p->marks);
    p->marks = NULL;
}

/* The gateway whose link it is; NULL: that has ended. */
static const struct peer *find_link(const struct gateways *g, uint32_t link)
{
    const struct list *node;

    LIST_FOREACH (node, &g->peers) {
        const struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (link != 0 && p->acks.number == link)
            return p;
    }
    return NULL;
}

bool gateways_may_begin(
    struct gateways *g, const struct frame *f, uint32_t link)
{
    const struct peer *p;
    struct bookmarks *m;

    if (!frame_has_place(f))
        return true;
    p = frame_is_of_other(f) ? find_link(g, link)
                             : gateways_find(g, f->local_ip, f->local_port);
    if (p && p->keeper != 0)
        return keepers_may_begin(g, f);
    m = p ? find(p, f) : NULL;
    return m &&
           bookmarks_begin(m, f->place, f->connection_id,
               f->cmd == FRAME_ON_CLOSE ? BOOKMARK_CLOSED : BOOKMARK_CONNECTED);
}
