/* Who waits gets the answer of the client's gateway: from the engine, once that
 * has confirmed the name. Where no other cell can be reached, a question behind
 * the orders says that they were run. */
#include "lualib/ldemand.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <time.h>

#include "lualib/lsend.h"
#include "lualib/lsession.h"
#include "lualib/lvalue.h"
#include "wire/demand.h"
#include "worker/asks.h"
#include "worker/coro.h"
#include "worker/vm.h"

struct ldemand_wait {
    struct coro *co;                      /* borrowed; outlives the wait */
    struct query *query;                  /* borrowed; for cancel() */
    bool alone;                           /* it holds in this cell only */
    const struct queries_answer *answers; /* borrowed; inside on_answers() */
    size_t count;
};

static void on_answers(
    const struct queries_answer *answers, size_t count, void *arg)
{
    struct ldemand_wait *w = arg;

    w->answers = answers;
    w->count = count;
    coro_wake(w->co); /* finish() reads w before this returns */
}

static void cancel(void *op)
{
    queries_cancel(((struct ldemand_wait *)op)->query);
}

/* true of a demand, 1 of IS_ONLINE. */
static bool is_yes(const struct queries_answer *a)
{
    return a->len == 4 &&
           (memcmp(a->data, "b:1;", 4) == 0 || memcmp(a->data, "i:1;", 4) == 0);
}

static int push_done(lua_State *L, bool done, bool alone)
{
    lua_pushboolean(L, done);
    if (!done || !alone)
        return 1;
    lua_pushliteral(L, "local");
    return 2;
}

static int finish(lua_State *L, int status, lua_KContext ctx)
{
    const struct ldemand_wait *w = lua_touserdata(L, -1);
    bool done = true;

    for (size_t i = 0; i < w->count; i++) {
        if (w->answers[i].err < 0)
            return lsend_fail(L, w->answers[i].err, &w->answers[i].from);
        done = done && is_yes(&w->answers[i]);
    }
    return push_done(L, done, w->alone);
}

static uint64_t login_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One order for each of the names. 0 or -errno. */
static int send_orders(
    struct gateways *g, struct frame *f, const struct asks_demands *demands)
{
    const struct cmdjson_names *names = demands->names;
    struct buf body = {0};
    int err = 0;

    if (demands->demand.flags)
        demand_put(&body, &demands->demand);
    f->body = body.data;
    f->body_len = body.len;
    for (size_t i = 0; i < names->count && err == 0; i++) {
        f->ext = (const uint8_t *)names->items[i].data;
        f->ext_len = names->items[i].len;
        err = gateways_send(g, demands->to.ip, demands->to.port, f);
    }
    buf_fini(&body);
    return err;
}

/* All others that have the uid are to go. */
static void log_in(struct gateways *g, const struct frame *f,
    const struct asks_demands *demands)
{
    const struct cmdjson_name *uid = &demands->names->items[0];
    struct gateways_login login = {.at = demands->to,
        .connection = f->connection_id,
        .uid = uid->data,
        .len = uid->len,
        .time = demands->demand.login};

    gateways_log_in(g, &login);
}

/* Send all; w->query if there is something to wait for. 0 or -errno. */
static int put(struct gateways *g, struct frame *f,
    struct asks_demands *demands, const struct loptions *o,
    struct ldemand_wait *w)
{
    struct frame online = {.cmd = FRAME_IS_ONLINE,
        .flag = FRAME_FLAG_STRING,
        .connection_id = f->connection_id};
    int err = 0;

    if (o->exclusive) {
        demands->demand.flags = DEMAND_ONLY;
        demands->demand.login = login_time();
    }
    w->query = NULL;
    w->alone = gateways_are_alone(g);
    if (o->wait && demands->names->count > 0 && gateways_has_beyond(g) &&
        !w->alone)
        w->query = asks_put_demands(g, f, demands, o->timeout, on_answers, w);
    else
        err = send_orders(g, f, demands);
    if (o->exclusive && err == 0)
        log_in(g, f, demands);
    if (o->wait && !w->query && err == 0)
        w->query =
            asks_put(g, &demands->to, 1, &online, o->timeout, on_answers, w);
    return err;
}

static int fail_unknown(lua_State *L)
{
    lua_pushliteral(L, "the client's gateway knows neither exclusive nor wait: "
                       "it is not gwrun's or an older one");
    return lvalue_fail_with(L, -ENOTSUP);
}

int ldemand_run(lua_State *L, enum frame_cmd cmd, const struct client_id *id,
    const struct cmdjson_names *names, const struct loptions *o)
{
    struct gateways *g = vm_gateways(vm_of(L));
    struct asks_demands demands = {
        .to = {id->local_ip, id->local_port}, .names = names};
    struct frame f = {.cmd = (uint8_t)cmd,
        .flag = FRAME_FLAG_STRING,
        .connection_id = id->connection_id};
    struct ldemand_wait *w;
    struct coro *co = NULL;
    int err;

    if ((o->exclusive || gateways_has_beyond(g)) &&
        !gateways_takes_demands(g, demands.to))
        return fail_unknown(L);
    if (o->wait) {
        co = coro_check(L);
        lsession_flush(L);
    }
    luaL_checkstack(L, 8, NULL);
    w = lua_newuserdatauv(L, sizeof(*w), 0); /* stays on top while we wait */
    w->co = co;
    err = put(g, &f, &demands, o, w);
    if (err < 0)
        return lsend_fail(L, err, &demands.to);
    if (!w->query)
        return push_done(L, true, w->alone);
    return coro_await(L, co, cancel, w, finish);
}
