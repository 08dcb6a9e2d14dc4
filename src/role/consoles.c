/* Each piece of Lua that is typed runs as an lconsole of its own, and its
 * output and its end go to the master as messages with the number of the
 * question. A piece is freed when it has ended; when its asker leaves, nothing
 * is sent any more. */
#include "role/consoles.h"

#include <stdlib.h>

#include "lualib/lconsole.h"
#include "util/alloc.h"
#include "util/log.h"

struct piece {
    struct list node;         /* in consoles->list */
    struct consoles *cs;      /* borrowed */
    struct lconsole *console; /* NULL while it is starting */
    int64_t gather;
};

static json_t *answer(const struct piece *p, bool more)
{
    return json_pack("{s:s,s:I,s:b}", "type", "eval", "gather",
        (json_int_t)p->gather, "more", more);
}

static void on_output(const char *text, size_t len, void *arg)
{
    struct piece *p = arg;
    json_t *m = answer(p, true);

    json_object_set_new(m, "output", json_stringn(text, len));
    p->cs->send(m, p->cs->arg);
}

static void free_piece(struct piece *p)
{
    list_remove(&p->node);
    free(p);
}

static void on_ended(const char *error, void *arg)
{
    struct piece *p = arg;
    json_t *m = answer(p, false);

    if (error)
        json_object_set_new(m, "error", ctlmsg_text(error));
    p->cs->send(m, p->cs->arg);
    free_piece(p);
}

void consoles_init(
    struct consoles *cs, void (*send)(json_t *m, void *arg), void *arg)
{
    cs->send = send;
    cs->arg = arg;
    list_init(&cs->list);
}

void consoles_run(struct consoles *cs, struct vm *vm, const json_t *m)
{
    static const struct lconsole_ops ops = {on_output, on_ended};
    const json_t *code = json_object_get(m, "code");
    struct piece *p = xcalloc(1, sizeof(*p));
    struct lconsole *console;

    log_info(
        "running what gwrun attach sent bytes=%zu", json_string_length(code));
    p->cs = cs;
    p->gather = ctlmsg_int(m, "gather", 0);
    list_init(&p->node);
    list_push_back(&cs->list, &p->node);
    if (!vm || !json_is_string(code)) {
        on_ended(vm ? "no code" : "the worker has no script to run it in", p);
        return;
    }
    console = lconsole_run(
        vm, json_string_value(code), json_string_length(code), &ops, p);
    if (console) /* else p is gone */
        p->console = console;
}

void consoles_leave(struct consoles *cs, int64_t gather)
{
    struct list *node;

    LIST_FOREACH (node, &cs->list) {
        struct piece *p = LIST_ENTRY(node, struct piece, node);

        if (p->gather != gather)
            continue;
        lconsole_leave(p->console);
        free_piece(p);
        return;
    }
}
