/* What gateways want to know of our script: which callbacks it has. One that
 * asks is answered at once, and again after each reload that changes it. */
#include "worker/gateways_impl.h"

/* Each question, and the callback that it is about. */
static const struct {
    uint8_t cmd;
    enum gateways_callback callback;
} questions[] = {
    {FRAME_HANDSHAKE_WATCH, GATEWAYS_DECIDES},
    {FRAME_REQUEST_WATCH, GATEWAYS_ANSWERS},
    {FRAME_BOUND, GATEWAYS_BINDS},
};

#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

static void answer(struct peer *p, size_t question)
{
    bool yes = p->g->callbacks & questions[question].callback;
    struct frame f = {.cmd = questions[question].cmd,
        .flag = FRAME_FLAG_STRING,
        .body = (const uint8_t *)(yes ? "1" : "0"),
        .body_len = 1};

    frame_encode(conn_out(p->events), &f);
}

void watches_take(struct peer *p, const struct frame *f)
{
    for (size_t i = 0; i < QUESTIONS; i++) {
        if (questions[i].cmd != f->cmd)
            continue;
        p->watches |= questions[i].callback;
        answer(p, i);
    }
}

void gateways_set_callbacks(struct gateways *g, unsigned callbacks)
{
    unsigned changed = g->callbacks ^ callbacks;
    struct list *node;

    g->callbacks = callbacks;
    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        for (size_t i = 0; i < QUESTIONS; i++)
            if (p->events && p->watches & changed & questions[i].callback)
                answer(p, i);
    }
}
