/* The core of Gateway's queries: ask gateways and read what they answer. What
 * the answers mean is known by lua/gateway.lua. */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>

#include "lualib/largs.h"
#include "lualib/lbuf.h"
#include "lualib/lgateway.h"
#include "lualib/loptions.h"
#include "lualib/lsend.h"
#include "lualib/lsession.h"
#include "lualib/lvalue.h"
#include "worker/asks.h"
#include "worker/coro.h"
#include "worker/vm.h"

#define PREFIX_LEN 12 /* digits of a client id that name its gateway */
#define NAMED_MAX  32 /* gateways in a message, beside the first */

struct lquery_wait {
    struct coro *co;                      /* borrowed; outlives the wait */
    struct query *query;                  /* borrowed; for cancel_ask() */
    bool session;                         /* is what is asked for */
    const struct queries_answer *answers; /* borrowed; inside on_answers() */
    size_t count;
};

static void on_answers(
    const struct queries_answer *answers, size_t count, void *arg)
{
    struct lquery_wait *w = arg;

    w->answers = answers;
    w->count = count;
    coro_wake(w->co); /* finish_ask() reads w before this returns */
}

static void cancel_ask(void *op)
{
    struct lquery_wait *w = op;

    queries_cancel(w->query);
}

/* Push { prefix = "7f0000010b54", value = … }. 0, or -errno and nothing. */
static int push_answer(
    lua_State *L, const struct queries_answer *a, bool session)
{
    struct client_id id = {a->from.ip, a->from.port, 0};
    char text[CLIENT_ID_LEN + 1];
    int err = a->err;

    if (err == 0)
        err = session ? lvalue_push_session(L, a->data, a->len)
                      : lvalue_push(L, a->data, a->len);
    if (err < 0)
        return err;
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "value");
    client_id_format(text, &id);
    lua_pushlstring(L, text, PREFIX_LEN);
    lua_setfield(L, -2, "prefix");
    return 0;
}

/* Behind the message about the first gateway that failed, which lies under the
 * code: the addresses of all others. */
static void name_others(lua_State *L, const struct lquery_wait *w,
    const struct queries_answer *first)
{
    size_t left_out = 0;
    int named = 0;

    lua_pushvalue(L, -2);
    for (const struct queries_answer *a = first + 1; a < w->answers + w->count;
         a++) {
        if (a->err == 0 || a->from.ip == 0)
            continue;
        if (named == NAMED_MAX) {
            left_out++;
            continue;
        }
        lua_pushstring(L, named++ == 0 ? "; missing, too: " : ", ");
        lsend_push_address(L, &a->from);
        lua_concat(L, 3);
    }
    if (left_out > 0) {
        lua_pushfstring(L, " and %d more", (int)left_out);
        lua_concat(L, 2);
    }
    lua_replace(L, -3);
}

/* Runs inside the resume, so what it raises reaches the script. */
static int finish_ask(lua_State *L, int status, lua_KContext ctx)
{
    struct lquery_wait *w = lua_touserdata(L, -1);
    const struct queries_answer *failed = NULL;
    int err = 0;
    lua_Integer n = 0;

    lua_createtable(L, (int)w->count, 0);
    for (size_t i = 0; i < w->count; i++) {
        int e;

        if (w->answers[i].err == 0 && !w->answers[i].data)
            continue; /* it was not asked */
        e = push_answer(L, &w->answers[i], w->session);
        if (e == 0) {
            lua_rawseti(L, -2, ++n);
        } else if (!failed) {
            failed = &w->answers[i];
            err = e;
        }
    }
    if (failed) {
        lsend_fail(L, err, &failed->from);
        name_others(L, w, failed);
    } else if (n == 0) {
        lua_pushliteral(L, "no gateway connected");
        lvalue_fail_with(L, -ENOTCONN);
    } else {
        return 1;
    }
    lua_remove(L, -3); /* the nil: answers, message, code */
    return 3;
}

static double check_timeout(lua_State *L, int arg)
{
    double timeout = luaL_optnumber(L, arg, 0);

    luaL_argcheck(L,
        lua_isnoneornil(L, arg) || (timeout > 0 && timeout <= 86400), arg,
        "timeout in seconds expected, above 0 and at most a day");
    return timeout;
}

/* The uids or groups that a question is about. */
static struct query *put_question_about(
    lua_State *L, const struct frame *f, double timeout, struct lquery_wait *w)
{
    int top = lua_gettop(L);
    struct cmdjson_names list;
    struct departures_names names = {
        *luaL_checkstring(L, 6) == 'u' ? ENGINE_UID : ENGINE_GROUP, &list};
    struct query *query;

    largs_names(L, 7, &list);
    query = asks_put_about(vm_gateways(vm_of(L)), f, &names,
        lua_toboolean(L, 8), timeout, on_answers, w);
    lua_settop(L, top); /* what the names stood in */
    return query;
}

static struct query *put_question(lua_State *L, const struct frame *f,
    const struct gateways_address *target, double timeout,
    struct lquery_wait *w)
{
    struct gateways *g = vm_gateways(vm_of(L));

    if (lua_toboolean(L, 5))
        return asks_put_mine(g, f, timeout, on_answers, w);
    if (!lua_isnil(L, 6) && gateways_has_beyond(g))
        return put_question_about(L, f, timeout, w);
    return asks_put(g, target, target ? 1 : 0, f, timeout, on_answers, w);
}

/* ask(cmd, ext, client_id, timeout, mine, kind, names, whether): all gateways,
 * or that of the client, or (mine) all that know which clients are bound to
 * this worker, or of other cells those that have one of the names, of kind "u"
 * or "g" (and whether there is one) -> list of answers[, message, code of the
 * first failure]. Yields. */
static int lquery_ask(lua_State *L)
{
    struct frame f = {.flag = FRAME_FLAG_STRING};
    struct gateways_address target;
    struct lquery_wait *w;
    struct coro *co;
    bool one = !lua_isnoneornil(L, 3);
    double timeout;

    lua_settop(L, 8);
    f.cmd = (uint8_t)luaL_checkinteger(L, 1);
    f.ext = (const uint8_t *)luaL_optlstring(L, 2, "", &f.ext_len);
    if (one) {
        struct client_id id = largs_client(L, 3);

        target = (struct gateways_address){id.local_ip, id.local_port};
        if (f.cmd != FRAME_SELECT) /* that has it in its JSON */
            f.connection_id = id.connection_id;
    }
    timeout = check_timeout(L, 4);
    if (lsend_is_too_large(L, &f)) {
        lua_newtable(L); /* no answers */
        lsend_fail_too_large(L);
        lua_remove(L, -3); /* the nil */
        return 3;
    }
    co = coro_check(L);
    lsession_flush(L); /* what is asked must not miss it */
    luaL_checkstack(L, 8, NULL);
    w = lua_newuserdatauv(L, sizeof(*w), 0); /* stays on top while we wait */
    w->co = co;
    w->session = f.cmd == FRAME_GET_SESSION_BY_CLIENT_ID;
    w->query = put_question(L, &f, one ? &target : NULL, timeout, w);
    return coro_await(L, co, cancel_ask, w, finish_ask);
}

/* names(list) -> the JSON list for a BATCH_… command */
static int lquery_names(lua_State *L)
{
    struct cmdjson_names names;
    struct buf *out;

    lua_settop(L, 1);
    largs_names(L, 1, &names);
    out = lbuf_push(L);
    cmdjson_put_names(out, &names);
    lua_pushlstring(L, (const char *)out->data, out->len);
    return 1;
}

/* select(fields, groups, client_id, mine) -> the JSON for SELECT. fields is a
 * string with the letters s(ession), u(id), g(roups). */
static int lquery_select(lua_State *L)
{
    const char *fields = luaL_checkstring(L, 1);
    struct cmdjson_select select = {0};
    struct client_id id;
    struct buf *out;

    lua_settop(L, 4);
    for (; *fields; fields++) {
        select.session = select.session || *fields == 's';
        select.uid = select.uid || *fields == 'u';
        select.groups = select.groups || *fields == 'g';
    }
    if (!lua_isnil(L, 2)) {
        largs_names(L, 2, &select.where_groups);
        select.has_where = true;
    }
    if (!lua_isnil(L, 3)) {
        id = largs_client(L, 3);
        select.where_ids = (struct cmdjson_ids){&id.connection_id, 1};
        select.has_where = true;
    }
    select.where_mine = lua_toboolean(L, 4);
    select.has_where = select.has_where || select.where_mine;
    out = lbuf_push(L);
    cmdjson_put_select(out, &select);
    lua_pushlstring(L, (const char *)out->data, out->len);
    return 1;
}

/* unserialize(session) -> table; nil when it is malformed */
static int lquery_unserialize(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (lvalue_push_session(L, text, len) < 0)
        lua_pushnil(L);
    return 1;
}

/* client(value) -> the client id; raises as Gateway's functions do */
static int lquery_client(lua_State *L)
{
    largs_client(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* message(value): raises as Gateway's functions do */
static int lquery_message(lua_State *L)
{
    size_t len;

    if (lua_istable(L, 1))
        return luaL_argerror(L, 1,
            "a table cannot be sent; options are argument #3, behind the last "
            "message or nil");
    if (!lua_isnoneornil(L, 1))
        largs_message(L, 1, &len);
    return 0;
}

/* close_options(table): raises as Gateway's functions do */
static int lquery_close_options(lua_State *L)
{
    struct loptions o;

    loptions_read(L, 1, LOPTIONS_CLOSE_MANY, &o);
    return 0;
}

/* name(value) -> a uid or group as text; raises as Gateway's functions do */
static int lquery_name(lua_State *L)
{
    size_t len;
    const char *name = largs_name(L, 1, &len);

    lua_pushlstring(L, name, len);
    return 1;
}

void lquery_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"ask", lquery_ask},
        {"client", lquery_client},
        {"close_options", lquery_close_options},
        {"message", lquery_message},
        {"name", lquery_name},
        {"names", lquery_names},
        {"select", lquery_select},
        {"unserialize", lquery_unserialize},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    for (unsigned cmd = 0; cmd <= UINT8_MAX; cmd++) {
        if (frame_cmd_kind((uint8_t)cmd) != FRAME_KIND_QUESTION)
            continue;
        lua_pushinteger(L, cmd);
        lua_setfield(L, -2, frame_cmd_name((uint8_t)cmd));
    }
}
