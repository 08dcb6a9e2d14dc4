/* Workers of other machines that lost their links, and are waited for: what
 * such a worker has begun it can tell when it comes again, and so nothing is
 * lost or begun twice (worker/remains.c). Its clients' events wait meanwhile.
 * Who does not come in time, or has a successor, is settled with what it had
 * said. */
#include <stdlib.h>
#include <string.h>

#include "gateway/inner_impl.h"
#include "util/alloc.h"
#include "util/secret.h"
#include "wire/ack.h"

struct parting {
    struct list node;             /* in inner->partings */
    struct router_worker *worker; /* owned by the router until it is settled */
    char *pair, *process;         /* owned; of its links, and of itself */
    char *key;                    /* owned */
    bool certain;   /* what came on the links was all that it said */
    unsigned ticks; /* that it was waited for */
};

struct parting *partings_take(struct link *l)
{
    struct parting *parting;

    if (!l->acking || !l->leaves)
        return NULL;
    parting = xcalloc(1, sizeof(*parting));
    list_init(&parting->node);
    parting->worker = l->acking;
    parting->pair = l->pair;
    parting->process = l->process;
    parting->key = xstrdup(router_key(l->acking));
    l->pair = l->process = NULL;
    return parting;
}

static void finish(struct inner *in, struct parting *parting)
{
    struct router_worker *w = parting->worker;
    bool certain = parting->certain;

    list_remove(&parting->node);
    free(parting->pair);
    free(parting->process);
    free(parting->key);
    free(parting);
    inner_settle(in, w, certain);
}

void partings_await(struct inner *in, struct parting *parting, bool certain)
{
    parting->certain = certain;
    in->conf.on_worker_settled(parting->worker, in->conf.arg);
    list_push_back(&in->partings, &parting->node);
    if (in->ends || router_has_left(parting->worker))
        finish(in, parting);
}

/* Its worker has lost the link with events, and is here again on other ones:
 * what it left there it will say on those. */
static struct link *find_half(const struct link *but, const char *process)
{
    struct list *node;

    LIST_FOREACH (node, &but->in->links) {
        struct link *l = LIST_ENTRY(node, struct link, node);

        if (l != but && l->leaves && l->alone > 0 &&
            strcmp(l->process, process) == 0)
            return l;
    }
    return NULL;
}

static void end_halves(const struct link *but, const char *process)
{
    struct link *l;

    while ((l = find_half(but, process))) {
        conn_close(l->conn);
        inner_drop(l, false);
    }
}

void partings_join(struct link *commands, const struct link *events,
    const char *process, const char *key)
{
    struct inner *in = commands->in;
    struct frame f = {.cmd = FRAME_LEFT, .flag = FRAME_FLAG_STRING};
    struct buf pairs = {0};
    struct list *node, *tmp;

    commands->leaves = true;
    free(commands->process); /* of an event link that was refused */
    commands->process = xstrdup(process);
    end_halves(commands, process);
    LIST_FOREACH_SAFE (node, tmp, &in->partings) {
        struct parting *p = LIST_ENTRY(node, struct parting, node);

        if (strcmp(p->process, process) == 0)
            buf_append(&pairs, p->pair, strlen(p->pair) + 1);
        else if (strcmp(p->key, key) == 0)
            finish(in, p);
    }
    f.body = pairs.data;
    f.body_len = pairs.len;
    router_put_on(in->conf.router, events->conn, &f);
    buf_fini(&pairs);
}

static struct parting *find(const struct link *l, const char *pair)
{
    struct list *node;

    LIST_FOREACH (node, &l->in->partings) {
        struct parting *p = LIST_ENTRY(node, struct parting, node);

        if (strcmp(p->process, l->process) == 0 &&
            secret_equal_text(pair, p->pair))
            return p;
    }
    return NULL;
}

/* Of one that is settled already nothing is to be known. */
void partings_hear(struct link *l, const struct frame *f)
{
    struct ack_left left;
    struct parting *p;

    if (!l->leaves || !l->acking ||
        ack_parse_left(&left, f->body, f->body_len) < 0) {
        inner_refuse(l, "says what it left where nobody asks", f->cmd);
        return;
    }
    if (secret_equal_text(left.pair, l->pair)) {
        router_note_left(l->acking, f->body, f->body_len);
        return;
    }
    p = find(l, left.pair);
    if (!p)
        return;
    router_note_left(p->worker, f->body, f->body_len);
    router_inherit(l->acking, p->worker);
    finish(l->in, p);
}

/* Ticks are counted, not time: what has come while this process was stopped is
 * read before. */
void partings_tick(struct inner *in)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &in->partings) {
        struct parting *p = LIST_ENTRY(node, struct parting, node);

        if (++p->ticks > INNER_PARTING)
            finish(in, p);
    }
}

void partings_end(struct inner *in)
{
    while (!list_empty(&in->partings))
        finish(in, LIST_ENTRY(in->partings.next, struct parting, node));
}
