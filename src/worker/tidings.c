/* What came waits until the end of the turn, and gets a coroutine of its own.
 * A script without the callback is asked for nothing, so that another worker,
 * or another cell, is told. */
#include "worker/tidings.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "worker/complaints.h"
#include "worker/coro.h"
#include "worker/vm_impl.h"

#define GONE "onCellGone"
#define GAP  "onClusterGap"

struct tiding {
    struct list node;
    const char *event; /* GONE, or GAP */
    char *cell;        /* owned; of GONE, else NULL */
    double number;     /* since when, or seconds */
};

static void drop(struct tiding *n)
{
    list_remove(&n->node);
    free(n->cell);
    free(n);
}

static int finish(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

/* The coroutine's body. */
static int call(lua_State *L)
{
    const struct tiding *n = lua_touserdata(L, 1);

    if (!callbacks_push(L, n->event))
        return 0;
    if (n->cell)
        lua_pushstring(L, n->cell);
    lua_pushnumber(L, n->number);
    lua_callk(L, n->cell ? 2 : 1, 0, 0, finish);
    return finish(L, LUA_OK, 0);
}

static void fail(struct tidings *t, const char *event, const char *error)
{
    if (!error)
        return;
    log_error("handler failed event=%s", event);
    log_block(LOG_ERROR, error);
    complaints_take(t->complaints, event, NULL, error);
}

static void on_gone_done(const char *error, void *arg)
{
    fail(arg, GONE, error);
}

static void on_gap_done(const char *error, void *arg)
{
    fail(arg, GAP, error);
}

static void on_turn_end(struct turn_task *task)
{
    struct tidings *t = LIST_ENTRY(task, struct tidings, task);

    while (!list_empty(&t->waiting)) {
        struct tiding *n = LIST_ENTRY(t->waiting.next, struct tiding, node);

        if (t->vm) /* its arguments are pushed before it can wait */
            coro_start(t->vm, n->event, call, n, NULL,
                n->cell ? on_gone_done : on_gap_done, t);
        drop(n);
    }
}

void tidings_init(
    struct tidings *t, struct turn *turn, struct complaints *complaints)
{
    *t = (struct tidings){.turn = turn, .complaints = complaints};
    list_init(&t->waiting);
    list_init(&t->task.node);
    t->task.run = on_turn_end;
}

void tidings_fini(struct tidings *t)
{
    turn_cancel(&t->task);
    while (!list_empty(&t->waiting))
        drop(LIST_ENTRY(t->waiting.next, struct tiding, node));
}

void tidings_serve(struct tidings *t, struct vm *vm)
{
    t->vm = vm;
}

static void add(
    struct tidings *t, const char *event, const char *cell, double number)
{
    struct tiding *n = xcalloc(1, sizeof(*n));

    n->event = event;
    n->cell = cell ? xstrdup(cell) : NULL;
    n->number = number;
    list_push_back(&t->waiting, &n->node);
    turn_schedule(t->turn, &t->task);
}

static bool wants_gone(void *arg)
{
    const struct tidings *t = arg;

    return t->vm && t->vm->wants_gone;
}

static bool wants_gap(void *arg)
{
    const struct tidings *t = arg;

    return t->vm && t->vm->wants_gap;
}

static void on_gone(const char *cell, double since, void *arg)
{
    log_notice("a cell is gone cell=%s", cell);
    add(arg, GONE, cell, since);
}

static void on_gap(double seconds, void *arg)
{
    add(arg, GAP, NULL, seconds);
}

const struct engine_tidings tidings_wish = {
    .wants_gone = wants_gone,
    .wants_gap = wants_gap,
    .on_gone = on_gone,
    .on_gap = on_gap,
};
