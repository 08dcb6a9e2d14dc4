/* A pool is a userdata and ends with its state, once its calls are done. A
 * call's result belongs to a userdata on the waiting coroutine's stack until
 * it is pushed there. A transaction holds a connection, and lets go of it when
 * its coroutine ends, however that is. */
#include "lualib/lmysql.h"

#include <assert.h>
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/lnumber.h"
#include "lualib/ltype.h"
#include "lualib/lvalue.h"
#include "upstream/mysqldb.h"
#include "util/alloc.h"
#include "util/list.h"
#include "worker/coro.h"
#include "worker/gateways.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define LMYSQL_TYPE   "gwrun.mysql.pool"
#define WAIT_TYPE     "gwrun.mysql.wait"
#define SECONDS_MAX   1e6
#define PARAMS_MAX    65535 /* of one statement, as the protocol has it */
#define ER_DUPLICATE  1062
#define ER_DUPLICATE2 1586 /* the same, naming the key */
#define ER_LOCK_WAIT  1205
#define ER_DEADLOCK   1213

struct lmysql {
    struct mysqldb *db; /* owned; NULL once closed */
    struct vm_hook hook;
    struct list holds; /* of hold */
    lua_Integer last_hold;
    size_t calls; /* under way */
    bool closing; /* when the calls and holds are done */
};

/* A coroutine's own connection, for its transaction. */
struct hold {
    struct list node;
    struct lmysql *owner;      /* borrowed, outlives it */
    struct mysqldb_hold *held; /* owned */
    struct coro *co;           /* borrowed; it ends with it */
    struct coro_hook hook;
    lua_Integer id;
};

/* A userdata with the call's result: freed even if pushing it raises. */
struct wait {
    struct lmysql *owner;          /* borrowed; on the waiting stack */
    struct coro *co;               /* borrowed; outlives the wait */
    struct mysqldb_call *call;     /* borrowed; NULL once done */
    bool column;                   /* wanted: the first column alone */
    struct mysqlconn_error *error; /* owned; NULL: all went well */
    struct mysqlrow_result result; /* owned */
};

static void drop_hold(struct hold *hold);

static void close_db(struct lmysql *lm)
{
    lm->closing = false; /* it happens now, not when the last hold goes */
    while (!list_empty(&lm->holds))
        drop_hold(LIST_ENTRY(lm->holds.next, struct hold, node));
    if (lm->db)
        mysqldb_close(lm->db);
    lm->db = NULL;
    vm_forget_hook(&lm->hook);
}

static void close_when_done(struct lmysql *lm)
{
    if (lm->closing && lm->calls == 0 && list_empty(&lm->holds))
        close_db(lm);
}

static void on_vm_close(struct vm_hook *hook)
{
    close_db(LIST_ENTRY(hook, struct lmysql, hook));
}

static struct lmysql *check_pool(lua_State *L)
{
    return luaL_checkudata(L, 1, LMYSQL_TYPE);
}

/* Configuration */

static const char *opt_text(lua_State *L, const char *key)
{
    const char *text;

    lua_getfield(L, 1, key);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s: string expected", key);
    text = lua_tostring(L, -1); /* the table keeps it */
    lua_pop(L, 1);
    return text;
}

/* 0 when it is not there, for the default. */
static uint64_t opt_number(
    lua_State *L, const char *key, double scale, double max)
{
    double number;

    lua_getfield(L, 1, key);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "%s: number expected", key);
    number = lua_tonumber(L, -1);
    if (!lua_isnil(L, -1) && !(number * scale >= 1 && number <= max))
        luaL_error(L, "%s: out of range", key);
    lua_pop(L, 1);
    return (uint64_t)(number * scale + 0.5);
}

/* core.open(conf) -> pool */
static int core_open(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct mysqldb_conf conf = {0};
    struct lmysql *lm;

    luaL_checktype(L, 1, LUA_TTABLE);
    conf.conn.host = opt_text(L, "host");
    conf.conn.port = (unsigned)opt_number(L, "port", 1, UINT16_MAX);
    conf.conn.socket = opt_text(L, "socket");
    conf.conn.user = opt_text(L, "user");
    conf.conn.password = opt_text(L, "password");
    conf.conn.database = opt_text(L, "database");
    conf.conn.result_max = opt_number(L, "max_result", 1, 1 << 30);
    conf.pool.size = opt_number(L, "pool_size", 1, POOL_SIZE_MAX);
    conf.pool.queue_max = opt_number(L, "queue", 1, 1e6);
    conf.pool.idle_ms = opt_number(L, "idle", 1000, 1e6);
    conf.ping_ms = opt_number(L, "ping", 1000, 1e6);
    conf.connect_ms = opt_number(L, "connect_timeout", 1000, 3600);
    conf.pool.tally = vm_tally(vm, TALLIES_MYSQL);
    lm = lua_newuserdatauv(L, sizeof(*lm), 0);
    memset(lm, 0, sizeof(*lm));
    list_init(&lm->holds);
    list_init(&lm->hook.node);
    lm->hook.run = on_vm_close;
    luaL_setmetatable(L, LMYSQL_TYPE);
    lm->db = mysqldb_open(turn_loop(vm_turn(vm)), &conf);
    vm_at_close(vm, &lm->hook);
    return 1;
}

/* core.handler() -> the number of what runs: coroutines are used again. */
static int core_handler(lua_State *L)
{
    lua_pushinteger(L, coro_number(L));
    return 1;
}

/* pool:close(): once what is under way has ended. */
static int pool_close_method(lua_State *L)
{
    struct lmysql *lm = check_pool(L);

    lm->closing = true;
    close_when_done(lm);
    return 0;
}

static int pool_gc(lua_State *L)
{
    close_db(check_pool(L));
    return 0;
}

/* pool:counts() -> open, idle, waiting */
static int pool_counts_method(lua_State *L)
{
    struct lmysql *lm = check_pool(L);
    struct pool_counts counts = {0};

    if (lm->db)
        counts = mysqldb_counts(lm->db);
    lua_pushinteger(L, (lua_Integer)counts.open);
    lua_pushinteger(L, (lua_Integer)counts.idle);
    lua_pushinteger(L, (lua_Integer)counts.waiting);
    return 3;
}

/* Holds */

static struct hold *find_hold(const struct lmysql *lm, const struct coro *co)
{
    struct list *node;

    LIST_FOREACH (node, &lm->holds) {
        struct hold *hold = LIST_ENTRY(node, struct hold, node);

        if (hold->co == co)
            return hold;
    }
    return NULL;
}

static void drop_hold(struct hold *hold)
{
    struct lmysql *lm = hold->owner;

    list_remove(&hold->node);
    list_remove(&hold->hook.node);
    mysqldb_hold_free(hold->held);
    free(hold);
    close_when_done(lm);
}

static void on_coro_end(struct coro_hook *hook)
{
    drop_hold(LIST_ENTRY(hook, struct hold, hook));
}

/* pool:hold() -> id | nil when this coroutine has one. It ends with the
 * coroutine. */
static int pool_hold(lua_State *L)
{
    struct lmysql *lm = check_pool(L);
    struct coro *co = coro_check(L);
    struct hold *hold;

    if (!lm->db || lm->closing)
        return raised_error(L, "the database was closed");
    if (find_hold(lm, co))
        return 0;
    hold = xcalloc(1, sizeof(*hold));
    hold->owner = lm;
    hold->co = co;
    hold->held = mysqldb_hold_new(lm->db);
    hold->id = ++lm->last_hold;
    hold->hook.run = on_coro_end;
    list_init(&hold->hook.node);
    list_push_back(&lm->holds, &hold->node);
    coro_at_end(co, &hold->hook);
    lua_pushinteger(L, hold->id);
    return 1;
}

/* pool:release(id): give its connection back, rolled back if need be. Harmless
 * when it is gone. */
static int pool_release(lua_State *L)
{
    struct lmysql *lm = check_pool(L);
    lua_Integer id = luaL_checkinteger(L, 2);
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &lm->holds) {
        struct hold *hold = LIST_ENTRY(node, struct hold, node);

        if (hold->id == id) {
            drop_hold(hold);
            break;
        }
    }
    return 0;
}

/* pool:held() -> id | nil: this coroutine's */
static int pool_held(lua_State *L)
{
    struct lmysql *lm = check_pool(L);
    struct hold *hold = find_hold(lm, coro_check(L));

    if (!hold)
        return 0;
    lua_pushinteger(L, hold->id);
    return 1;
}

/* Results */

static void push_value(lua_State *L, const struct mysqlrow_value *v)
{
    switch (v->kind) {
    case MYSQLROW_NULL:
        lua_pushlightuserdata(L, NULL); /* cjson.null */
        break;
    case MYSQLROW_INT:
        lua_pushinteger(L, v->integer);
        break;
    case MYSQLROW_DOUBLE:
        lua_pushnumber(L, v->number);
        break;
    case MYSQLROW_TEXT:
        lua_pushlstring(L, v->text, v->len);
        break;
    }
}

/* Push the list of rows, each a table by column names. */
static void push_rows(lua_State *L, const struct mysqlrow_result *r)
{
    const char *name = (const char *)r->names.data;
    int columns = (int)r->ncolumns;
    int first = lua_gettop(L) + 1;
    size_t offset = 0;
    struct mysqlrow_value v;

    luaL_checkstack(L, columns + 5, "columns of a result");
    for (int i = 0; i < columns; i++) {
        lua_pushstring(L, name);
        name += strlen(name) + 1;
    }
    lua_createtable(L, (int)r->nrows, 0);
    for (size_t row = 1; row <= r->nrows; row++) {
        lua_createtable(L, 0, columns);
        for (int i = 0; i < columns; i++) {
            mysqlrow_next(r, &offset, &v);
            lua_pushvalue(L, first + i);
            push_value(L, &v);
            lua_rawset(L, -3);
        }
        lua_rawseti(L, -2, (lua_Integer)row);
    }
    lua_replace(L, first);
    lua_settop(L, first);
}

/* Push the list of the first column's values. */
static void push_column(lua_State *L, const struct mysqlrow_result *r)
{
    size_t offset = 0;
    struct mysqlrow_value v;

    lua_createtable(L, (int)r->nrows, 0);
    for (size_t row = 1; row <= r->nrows; row++) {
        for (size_t i = 0; i < r->ncolumns; i++) {
            mysqlrow_next(r, &offset, &v);
            if (i > 0)
                continue;
            push_value(L, &v);
            lua_rawseti(L, -2, (lua_Integer)row);
        }
    }
}

/* The code of an error for scripts to compare with; NULL: that of its err. */
static const char *code_of(const struct mysqlconn_error *error)
{
    switch (error->number) {
    case ER_DUPLICATE:
    case ER_DUPLICATE2:
        return "duplicate";
    case ER_LOCK_WAIT:
        return "lock_timeout";
    case ER_DEADLOCK:
        return "deadlock";
    default:
        return error->err == -EPROTO ? "sql" : NULL;
    }
}

/* Push nil, message, code, {sqlstate, errno, sql}; the SQL is at index 2. */
static int push_error(lua_State *L, const struct mysqlconn_error *error)
{
    const char *code = code_of(error);

    lua_pushstring(L, error->message);
    lvalue_fail_with(L, error->err);
    if (code) {
        lua_pushstring(L, code);
        lua_replace(L, -2);
    }
    lua_createtable(L, 0, 3);
    lua_pushstring(L, error->sqlstate);
    lua_setfield(L, -2, "sqlstate");
    lua_pushinteger(L, error->number);
    lua_setfield(L, -2, "errno");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "sql");
    return 4;
}

static int fail_now(lua_State *L, int err)
{
    struct mysqlconn_error error = {.err = err, .sqlstate = "HY000"};

    switch (err) {
    case -EBUSY:
        strcpy(error.message, "another query runs in the transaction");
        break;
    case -ENOTCONN:
        strcpy(error.message, "the transaction is lost: the server undid it or "
                              "the connection broke; roll back and begin "
                              "again");
        break;
    default:
        strcpy(error.message, "too many calls wait for a connection");
    }
    return push_error(L, &error);
}

/* Calls */

static int wait_gc(lua_State *L)
{
    struct wait *w = luaL_checkudata(L, 1, WAIT_TYPE);

    mysqlrow_fini(&w->result);
    w->result = (struct mysqlrow_result){0};
    free(w->error);
    w->error = NULL;
    return 0;
}

static void on_done(struct mysqlrow_result *result,
    const struct mysqlconn_error *error, void *arg)
{
    struct wait *w = arg;

    w->call = NULL;
    w->result = *result;
    if (error)
        w->error = xmemdup(error, sizeof(*error));
    w->owner->calls--;
    close_when_done(w->owner);
    coro_wake(w->co);
}

static void cancel_call(void *op)
{
    struct wait *w = op;

    w->owner->calls--;
    mysqldb_cancel(w->call);
    w->call = NULL;
    close_when_done(w->owner);
}

/* Replace the nil on top by the list of a CALL's further results. */
static void push_further(lua_State *L, const struct mysqlrow_result *r)
{
    lua_newtable(L);
    lua_replace(L, -2);
    for (lua_Integer i = 1; r; r = r->next, i++) {
        push_rows(L, r);
        lua_rawseti(L, -2, i);
    }
}

/* Runs inside the resume. */
static int finish_run(lua_State *L, int status, lua_KContext ctx)
{
    struct wait *w = lua_touserdata(L, -1);

    if (w->error)
        return push_error(L, w->error);
    if (w->result.ncolumns == 0)
        lua_pushinteger(L, (lua_Integer)w->result.affected);
    else
        (w->column ? push_column : push_rows)(L, &w->result);
    lua_pushinteger(L, (lua_Integer)w->result.insert_id);
    lua_pushnil(L);
    if (w->result.next)
        push_further(L, w->result.next);
    mysqlrow_fini(&w->result);
    w->result = (struct mysqlrow_result){0};
    return 3;
}

static void read_param(lua_State *L, struct mysqlrow_value *v)
{
    lua_Integer integer = 0;

    switch (lua_type(L, -1)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA: /* cjson.null */
        v->kind = MYSQLROW_NULL;
        break;
    case LUA_TBOOLEAN:
        v->kind = MYSQLROW_INT;
        v->integer = lua_toboolean(L, -1);
        break;
    case LUA_TNUMBER:
        v->kind =
            lnumber_integer(L, -1, &integer) ? MYSQLROW_INT : MYSQLROW_DOUBLE;
        v->integer = integer;
        v->number = lua_tonumber(L, -1);
        if (v->kind != MYSQLROW_INT && !isfinite(v->number))
            raised_error(L, "a parameter is a number that MySQL does not know");
        break;
    case LUA_TSTRING:
        v->kind = MYSQLROW_TEXT;
        v->text = lua_tolstring(L, -1, &v->len);
        break;
    default:
        raised_error(L, "a parameter is a %s, which MySQL does not know",
            luaL_typename(L, -1));
    }
}

/* The parameters at index 3: an array with their number as n that nobody else
 * changes; its strings are borrowed. Leaves the values on the stack. */
static const struct mysqlrow_value *read_params(lua_State *L, size_t *count)
{
    struct mysqlrow_value *values;
    lua_Integer n;

    *count = 0;
    if (lua_isnoneornil(L, 3))
        return NULL;
    lua_getfield(L, 3, "n");
    n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_argcheck(L, n >= 0 && n <= PARAMS_MAX, 3, "too many parameters");
    *count = (size_t)n;
    values = lua_newuserdatauv(L, (*count + 1) * sizeof(*values), 0);
    memset(values, 0, (*count + 1) * sizeof(*values));
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 3, i + 1);
        read_param(L, &values[i]);
        lua_pop(L, 1);
    }
    return values;
}

/* pool:run(sql, params | nil, seconds, column, hold | nil) -> rows or affected,
 * insert id | nil, message, code, info. Yields. hold: the transaction that it
 * must belong to. */
static int pool_run(lua_State *L)
{
    struct lmysql *lm = check_pool(L);
    struct coro *co = coro_check(L);
    struct hold *hold = find_hold(lm, co);
    struct mysqlconn_request request = {0};
    struct wait *w;
    double seconds;
    int err;

    lua_settop(L, 6);
    if (!lm->db || (lm->closing && !hold))
        return raised_error(L, "the database was closed");
    if (!lua_isnil(L, 6) && (!hold || hold->id != lua_tointeger(L, 6)))
        return raised_error(L, "the transaction is over, or another handler's");
    request.sql = luaL_checklstring(L, 2, &request.len);
    seconds = luaL_checknumber(L, 4);
    luaL_argcheck(L, seconds >= 0 && seconds <= SECONDS_MAX, 4,
        "seconds expected for the deadline");
    request.timeout_ms = (uint64_t)(seconds * 1000 + 0.5);
    request.params = read_params(L, &request.nparams);
    w = lua_newuserdatauv(L, sizeof(*w), 0);
    memset(w, 0, sizeof(*w));
    luaL_setmetatable(L, WAIT_TYPE);
    w->owner = lm;
    w->co = co;
    w->column = lua_toboolean(L, 5);
    gateways_acknowledge(vm_gateways(vm_of(L)));
    err = mysqldb_query(
        lm->db, hold ? hold->held : NULL, &request, on_done, w, &w->call);
    if (err < 0)
        return fail_now(L, err);
    lm->calls++;
    return coro_await(L, co, cancel_call, w, finish_run);
}

void lmysql_push(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"run", pool_run},
        {"hold", pool_hold},
        {"release", pool_release},
        {"held", pool_held},
        {"counts", pool_counts_method},
        {"close", pool_close_method},
        {NULL, NULL},
    };
    static const luaL_Reg core[] = {
        {"open", core_open},
        {"handler", core_handler},
        {NULL, NULL},
    };

    ltype_register(L, LMYSQL_TYPE, pool_gc, methods);
    ltype_register(L, WAIT_TYPE, wait_gc, NULL);
    luaL_newlib(L, core);
}
