#include "net/turn.h"

#include <stdbool.h>
#include <stdlib.h>

#include "util/alloc.h"

struct turn {
    uv_prepare_t prepare; /* flushes just before the loop sleeps */
    uv_idle_t idle;       /* active while tasks wait: the loop does not sleep */
    struct list tasks;
    uint8_t *scratch;               /* owned; NULL until first used */
    struct buf spares[TURN_SPARES]; /* empty; the last one was used last */
    size_t nspares;
    int handles; /* not yet closed */
    bool flushing;
    bool closing;
};

static void on_prepare(uv_prepare_t *handle)
{
    struct turn *t = handle->data;

    uv_idle_stop(&t->idle);
    t->flushing = true;
    while (!list_empty(&t->tasks)) {
        struct turn_task *task =
            LIST_ENTRY(t->tasks.next, struct turn_task, node);

        list_remove(&task->node);
        task->run(task);
    }
    t->flushing = false;
}

/* Its being active is all that matters: poll() gets a timeout of 0. */
static void on_idle(uv_idle_t *handle)
{
}

static void on_closed(uv_handle_t *handle)
{
    struct turn *t = handle->data;

    if (--t->handles > 0)
        return;
    while (t->nspares > 0)
        buf_fini(&t->spares[--t->nspares]);
    free(t->scratch);
    free(t);
}

struct turn *turn_new(uv_loop_t *loop)
{
    struct turn *t = xcalloc(1, sizeof(*t));

    list_init(&t->tasks);
    t->handles = 2;
    uv_prepare_init(loop, &t->prepare);
    uv_idle_init(loop, &t->idle);
    t->prepare.data = t;
    t->idle.data = t;
    uv_prepare_start(&t->prepare, on_prepare);
    uv_unref((uv_handle_t *)&t->prepare);
    return t;
}

void turn_close(struct turn *t)
{
    t->closing = true;
    while (!list_empty(&t->tasks))
        list_remove(t->tasks.next);
    uv_close((uv_handle_t *)&t->prepare, on_closed);
    uv_close((uv_handle_t *)&t->idle, on_closed);
}

uv_loop_t *turn_loop(const struct turn *t)
{
    return t->prepare.loop;
}

/* Put it in front of place in the ring of tasks. */
static void schedule(struct turn *t, struct turn_task *task, struct list *place)
{
    if (t->closing || !list_empty(&task->node))
        return;
    /* A prepare handle of somebody else may run after ours. */
    if (!t->flushing && list_empty(&t->tasks))
        uv_idle_start(&t->idle, on_idle);
    list_push_back(place, &task->node);
}

void turn_schedule(struct turn *t, struct turn_task *task)
{
    schedule(t, task, &t->tasks);
}

void turn_schedule_first(struct turn *t, struct turn_task *task)
{
    schedule(t, task, t->tasks.next);
}

void turn_cancel(struct turn_task *task)
{
    list_remove(&task->node);
}

uint8_t *turn_scratch(struct turn *t)
{
    if (!t->scratch)
        t->scratch = xmalloc(TURN_SCRATCH_SIZE);
    return t->scratch;
}

void turn_lend(struct turn *t, struct buf *b)
{
    if (t->nspares > 0)
        *b = t->spares[--t->nspares];
}

void turn_take_back(struct turn *t, struct buf *b)
{
    buf_shrink(b, TURN_SPARE_MAX);
    if (!b->base)
        return;
    if (t->nspares == TURN_SPARES || t->closing) {
        buf_fini(b);
        return;
    }
    t->spares[t->nspares++] = *b;
    *b = (struct buf){0};
}
