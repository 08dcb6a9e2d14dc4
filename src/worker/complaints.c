/* Errors of the script, told to itself. An error waits here until the end of
 * the turn, since it may have been raised deep inside a call; then onError gets
 * it in a coroutine of its own. What onError raises is logged, and told to
 * nobody. */
#include "worker/complaints.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "worker/coro.h"
#include "worker/vm_impl.h"

#define NAME "onError"

struct complaint {
    struct list node;
    const char *event; /* static */
    char *client;      /* owned; or NULL */
    char *error;       /* owned */
    uint64_t left_out;
};

static void drop(struct complaint *e)
{
    list_remove(&e->node);
    free(e->client);
    free(e->error);
    free(e);
}

static int finish(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

/* The coroutine's body: Events.onError(error, context). */
static int call(lua_State *L)
{
    const struct complaint *e = lua_touserdata(L, 1);
    const char *trace = strstr(e->error, "\nstack traceback:");

    if (!callbacks_push(L, NAME))
        return 0;
    lua_pushlstring(
        L, e->error, trace ? (size_t)(trace - e->error) : strlen(e->error));
    lua_createtable(L, 0, 4);
    lua_pushstring(L, e->event);
    lua_setfield(L, -2, "event");
    lua_pushstring(L, e->client); /* nil when there is none */
    lua_setfield(L, -2, "client_id");
    lua_pushstring(L, e->error);
    lua_setfield(L, -2, "traceback");
    lua_pushinteger(L, (lua_Integer)e->left_out);
    lua_setfield(L, -2, "left_out");
    lua_callk(L, 2, 0, 0, finish);
    return finish(L, LUA_OK, 0);
}

static void on_done(const char *error, void *arg)
{
    if (!error)
        return;
    log_error("handler failed event=" NAME);
    log_block(LOG_ERROR, error);
}

static void on_turn_end(struct turn_task *task)
{
    struct complaints *c = LIST_ENTRY(task, struct complaints, task);

    while (!list_empty(&c->waiting)) {
        struct complaint *e =
            LIST_ENTRY(c->waiting.next, struct complaint, node);

        if (c->vm) /* its arguments are pushed before it can wait */
            coro_start(c->vm, NAME, call, e, NULL, on_done, NULL);
        drop(e);
    }
}

void complaints_init(struct complaints *c, struct turn *turn)
{
    *c = (struct complaints){.turn = turn};
    list_init(&c->waiting);
    list_init(&c->task.node);
    c->task.run = on_turn_end;
}

void complaints_fini(struct complaints *c)
{
    turn_cancel(&c->task);
    while (!list_empty(&c->waiting))
        drop(LIST_ENTRY(c->waiting.next, struct complaint, node));
}

void complaints_serve(struct complaints *c, struct vm *vm)
{
    c->vm = vm && vm->complains ? vm : NULL;
}

/* Is there room in this second? */
static bool may_tell(struct complaints *c)
{
    uint64_t second = clock_now(turn_loop(c->turn)) / 1000;

    if (second != c->second) {
        c->second = second;
        c->told = 0;
    }
    if (c->told < COMPLAINTS_MAX) {
        c->told++;
        return true;
    }
    c->left_out++;
    return false;
}

void complaints_take(struct complaints *c, const char *event,
    const char *client, const char *error)
{
    struct complaint *e;

    if (!c || !c->vm || strcmp(event, NAME) == 0 || !may_tell(c))
        return;
    e = xcalloc(1, sizeof(*e));
    e->event = event;
    e->client = client ? xstrdup(client) : NULL;
    e->error = xstrdup(error);
    e->left_out = c->left_out;
    c->left_out = 0;
    list_push_back(&c->waiting, &e->node);
    turn_schedule(c->turn, &c->task);
}

void vm_complain(struct vm *vm, const char *what, const char *error)
{
    complaints_take(vm->complaints, what, NULL, error);
}
