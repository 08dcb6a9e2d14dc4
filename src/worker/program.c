/* Owns a Lua state and links to gateways of its own. It begins when all
 * gateways that are known are joined, or its time for that is over; it ends
 * once: by the end of its main chunk, by os.exit(), or by an error. */
#include "worker/program.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "net/handle.h"
#include "util/alloc.h"
#include "worker/gateways_impl.h"
#include "worker/vm_open.h"

struct program {
    uv_check_t joining; /* looks after each turn whether it has joined … */
    uv_timer_t limit;   /* … which may take so long */
    struct turn *turn;
    const struct worker_conf *conf; /* borrowed */
    program_ended_cb ended;
    void *arg;                 /* borrowed, handed to ended */
    struct gateways *gateways; /* owned */
    struct vm *vm;             /* owned; NULL while it joins */
    struct turn_task exit_task;
    int status;
};

/* No events: only commands are sent. */
static const struct gateways_ops gateways_ops = {0};

static void end(struct program *p, int status, const char *error)
{
    program_ended_cb ended = p->ended;

    p->ended = NULL;
    if (ended)
        ended(status, error, p->arg);
}

static void on_finished(struct vm *vm, void *arg)
{
    end(arg, 0, NULL);
}

static void on_returned(struct vm *vm, const char *error, void *arg)
{
    struct program *p = arg;

    if (error)
        end(p, 1, error);
    else
        vm_when_finished(vm, on_finished, p);
}

static void on_exit_called(struct turn_task *task)
{
    struct program *p = LIST_ENTRY(task, struct program, exit_task);

    end(p, p->status, NULL);
}

static void begin(struct program *p)
{
    struct vm_env env = {
        .turn = p->turn, .gateways = p->gateways, .conf = p->conf};

    uv_check_stop(&p->joining);
    uv_timer_stop(&p->limit);
    p->vm = vm_open(&env, on_returned, p);
}

static void on_turn(uv_check_t *joining)
{
    struct program *p = joining->data;
    const struct gateways_address *list;

    if (!gateways_are_settled(p->gateways))
        return;
    if (p->conf->supervised ? gateways_list(p->gateways, &list) > 0
                            : !gateways_take_kept(p->gateways))
        begin(p);
}

static void on_join_time_over(uv_timer_t *limit)
{
    begin(limit->data);
}

struct program *program_new(uv_loop_t *loop, const struct worker_conf *conf,
    program_ended_cb ended, void *arg)
{
    struct program *p = xcalloc(1, sizeof(*p));

    p->turn = turn_new(loop);
    p->conf = conf;
    p->ended = ended;
    p->arg = arg;
    p->exit_task.run = on_exit_called;
    list_init(&p->exit_task.node);
    uv_check_init(loop, &p->joining);
    uv_timer_init(loop, &p->limit);
    p->joining.data = p;
    p->limit.data = p;
    p->gateways = gateways_new(p->turn, conf, 0, &gateways_ops, p);
    gateways_join(p->gateways);
    uv_check_start(&p->joining, on_turn);
    uv_timer_start(&p->limit, on_join_time_over,
        discovery_is_possible(&conf->discovery) ? PROGRAM_JOIN_MS : 0, 0);
    return p;
}

void program_free(struct program *p)
{
    turn_cancel(&p->exit_task);
    if (p->vm)
        vm_close(p->vm);
    gateways_close(p->gateways);
    turn_close(p->turn);
    handle_close_both(&p->joining, &p->limit, p);
}

void program_status(const struct program *p, struct program_status *out)
{
    const struct gateways_counts g = gateways_counts(p->gateways);

    *out = (struct program_status){.gateways = g.connected,
        .gateways_known = g.known,
        .gateways_silent = g.silent,
        .registers_missing = g.registers_missing,
        .sends = g.sends,
        .sends_failed = g.sends_failed};
    if (!p->vm)
        return; /* it joins */
    out->coroutines = p->vm->nbusy;
    out->timers = p->vm->timers;
    out->memory = p->vm->heap.used;
}

void program_report(const struct program *p, reach_link_cb each, void *arg)
{
    gateways_report(p->gateways, each, arg);
}

/* It waits for what never comes. */
static void cancel_exit(void *program)
{
}

static int finish_exit(lua_State *L, int status, lua_KContext ctx)
{
    return 0;
}

int program_exit(lua_State *L, int status)
{
    struct program *p = vm_of(L)->loaded_arg;
    struct coro *co = coro_check(L);

    p->status = status;
    turn_schedule(p->turn, &p->exit_task);
    return coro_await(L, co, cancel_exit, p, finish_exit);
}

char *program_try_compile(const char *path)
{
    lua_State *L = luaL_newstate();
    char *wrong = NULL;

    if (!L)
        return xstrdup("not enough memory");
    if (luaL_loadfilex(L, path, "t") != LUA_OK)
        wrong = xstrdup(lua_tostring(L, -1));
    lua_close(L);
    return wrong;
}
