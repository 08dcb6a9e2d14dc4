/* What had begun of the events of links that are lost, for the gateway that
 * gave them: it gives the others again, each exactly once, if this process
 * tells it. That is written down when the links end, before anything else
 * happens, and what it calls unbegun is thrown away in the same breath, so that
 * it stays true. The gateway asks for it when it is reached again. A pair names
 * the links, so that another process at its address gets nothing that it takes
 * for its own. */
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/ack.h"
#include "worker/gateways_impl.h"

#define REMAINS_MAX 4 /* of one gateway; the oldest goes for one more */

struct remain {
    struct list node;
    char pair[SECRET_TOKEN_SIZE];
    struct buf word; /* the body of a FRAME_LEFT */
};

static void drop(struct peer *p, struct remain *remain)
{
    list_remove(&remain->node);
    p->nremains--;
    buf_fini(&remain->word);
    free(remain);
}

void remains_drop(struct peer *p)
{
    while (!list_empty(&p->remains))
        drop(p, LIST_ENTRY(p->remains.next, struct remain, node));
}

static void say(const struct peer *p, const struct buf *word)
{
    struct frame f = {.cmd = FRAME_LEFT,
        .flag = FRAME_FLAG_STRING,
        .body = word->data,
        .body_len = word->len};

    frame_encode(conn_out(p->commands), &f);
}

/* Of so many that wait nothing can be said: the gateway does without. */
static void keep(struct peer *p)
{
    struct remain *remain = xcalloc(1, sizeof(*remain));

    memcpy(remain->pair, p->pair, sizeof(remain->pair));
    acks_put_left(&p->acks, p->pair, &remain->word);
    if (FRAME_HEAD_LEN + remain->word.len > gateways_packet_max(p->g)) {
        buf_clear(&remain->word);
        ack_put_left(&remain->word, p->pair, 0, NULL);
    }
    list_init(&remain->node);
    list_push_back(&p->remains, &remain->node);
    if (++p->nremains > REMAINS_MAX)
        drop(p, LIST_ENTRY(p->remains.next, struct remain, node));
}

void remains_end_acks(struct peer *p)
{
    bool keeps = p->acks.number != 0 && p->acks.keeps;

    if (keeps)
        keep(p);
    acks_end(&p->acks);
    if (keeps && p->commands)
        say(p, &LIST_ENTRY(p->remains.prev, struct remain, node)->word);
}

/* Whether that pair is in a list of texts, each with a NUL behind it. */
static bool is_among(const char *pair, const struct frame *f)
{
    const char *at = (const char *)f->body;
    const char *end = at + f->body_len;
    size_t len = strlen(pair) + 1;

    while (at < end) {
        const char *next = memchr(at, '\0', (size_t)(end - at));

        if (!next)
            return false;
        next++;
        if ((size_t)(next - at) == len && memcmp(at, pair, len) == 0)
            return true;
        at = next;
    }
    return false;
}

/* What p does not ask for it knows, or will not ask for any more. What it asks
 * for is kept: the answer may be lost. */
void remains_take(struct peer *p, const struct frame *f)
{
    struct list *node, *tmp;

    p->wants_left = true;
    LIST_FOREACH_SAFE (node, tmp, &p->remains) {
        struct remain *remain = LIST_ENTRY(node, struct remain, node);

        if (!is_among(remain->pair, f))
            drop(p, remain);
        else if (p->commands)
            say(p, &remain->word);
    }
}
