/* A prepare handle runs the tasks before the loop polls; an idle handle keeps
 * poll() from sleeping while there are some. A task is in one list at most, so
 * that scheduling it twice runs it once. */
#include "net/turn.h"

#include <stdbool.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/alloc.h"

struct turn {
    uv_prepare_t prepare;    /* flushes just before the loop sleeps */
    uv_idle_t idle;          /* active while awake: the loop does not sleep */
    uv_check_t check;        /* active while turns are measured */
    uint64_t polled;         /* ns, when the loop had slept; 0: not known */
    uint64_t woken;          /* the same, for turn_woken() */
    struct histogram *turns; /* borrowed; NULL: nobody measures */
    struct list tasks;
    struct list later;              /* those of the turn after this one */
    uint8_t *scratch;               /* owned; NULL until first used */
    struct buf spares[TURN_SPARES]; /* empty; the last one was used last */
    size_t nspares;
    int handles; /* not yet closed */
    bool awake;  /* something was scheduled since the last flush began */
    bool flushing;
    bool closing;
};

static void flush(struct turn *t)
{
    uv_idle_stop(&t->idle);
    t->awake = false;
    t->flushing = true;
    list_splice(&t->tasks, &t->later);
    while (!list_empty(&t->tasks)) {
        struct turn_task *task =
            LIST_ENTRY(t->tasks.next, struct turn_task, node);

        list_remove(&task->node);
        task->run(task);
    }
    t->flushing = false;
}

/* When the loop had slept. It looks at its clock then, which has milliseconds,
 * and what it has called since may have taken long: so now, but no later than
 * that millisecond's end. */
static uint64_t find_wake(const struct turn *t)
{
    uint64_t now = uv_hrtime();
    uint64_t latest = (clock_now(t->check.loop) + 1) * 1000000;

    return now < latest ? now : latest;
}

/* The loop has slept, and called those whose sockets had something. */
static void on_check(uv_check_t *handle)
{
    struct turn *t = handle->data;

    t->polled = find_wake(t);
}

/* libuv calls those last that were started first. */
static void on_prepare(uv_prepare_t *handle)
{
    struct turn *t = handle->data;

    if (t->awake) /* as often as not: a process has more turns than one */
        flush(t);
    if (t->turns && t->polled > 0)
        histogram_add(t->turns, uv_hrtime() - t->polled);
    t->woken = 0;
}

/* An idle handle that is active is all that is needed: poll() does not wait. */
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
    list_init(&t->later);
    t->handles = 3;
    uv_prepare_init(loop, &t->prepare);
    uv_idle_init(loop, &t->idle);
    uv_check_init(loop, &t->check);
    t->prepare.data = t;
    t->idle.data = t;
    t->check.data = t;
    uv_prepare_start(&t->prepare, on_prepare);
    uv_unref((uv_handle_t *)&t->prepare);
    return t;
}

void turn_close(struct turn *t)
{
    t->closing = true;
    t->turns = NULL;
    while (!list_empty(&t->tasks))
        list_remove(t->tasks.next);
    while (!list_empty(&t->later))
        list_remove(t->later.next);
    uv_close((uv_handle_t *)&t->prepare, on_closed);
    uv_close((uv_handle_t *)&t->idle, on_closed);
    uv_close((uv_handle_t *)&t->check, on_closed);
}

void turn_measure(struct turn *t, struct histogram *turns)
{
    t->turns = turns;
    t->polled = 0;
    if (!turns) {
        uv_check_stop(&t->check);
        return;
    }
    uv_check_start(&t->check, on_check);
    uv_unref((uv_handle_t *)&t->check);
}

uint64_t turn_woken(struct turn *t)
{
    if (t->woken == 0)
        t->woken = find_wake(t);
    return t->woken;
}

uv_loop_t *turn_loop(const struct turn *t)
{
    return t->prepare.loop;
}

static void wake(struct turn *t)
{
    if (t->awake)
        return;
    uv_idle_start(&t->idle, on_idle);
    t->awake = true;
}

/* Put task in front of place in the ring of tasks. */
static void schedule(struct turn *t, struct turn_task *task, struct list *place)
{
    if (t->closing || !list_empty(&task->node))
        return;
    /* A prepare handle of somebody else may run after ours. */
    if (!t->flushing)
        wake(t);
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

void turn_schedule_later(struct turn *t, struct turn_task *task)
{
    if (t->closing || !list_empty(&task->node))
        return;
    list_push_back(&t->later, &task->node);
    wake(t);
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
