/* A connection is a userdata and ends with its state. The commands of a call
 * collect in one buffer and go out together; replies are pushed inside the
 * waiting coroutine. What a subscription brings waits here, within a limit,
 * until it is read. */
#include "lualib/lredis.h"

#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/lbuf.h"
#include "lualib/lfields.h"
#include "lualib/lnumber.h"
#include "lualib/lredisconf.h"
#include "lualib/lvalue.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "upstream/redisslot.h"
#include "util/alloc.h"
#include "util/list.h"
#include "worker/coro.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define LREDIS_TYPE    "gwrun.redis.connection"
#define SECONDS_MAX    86400.0 /* of a timeout */
#define COMMANDS_KEEP  65536   /* bytes of an idle buffer */
#define ERROR_CODE_MAX 32      /* bytes of "wrongtype" and such */

/* What a subscription received and nobody has read. */
struct pushed {
    struct list node;
    struct redisvalue *value; /* owned */
    size_t bytes;
};

struct lredis {
    struct redis *redis; /* owned; NULL once closed */
    bool ended;          /* it will be NULL at the end of the turn */
    struct vm_hook hook;
    struct list pushed;
    size_t pushed_bytes;
    struct lredis_wait *reader; /* borrowed; who waits in next() */
    bool down;                  /* since the last listen() */
    bool tells_unsent;          /* see lredis_open() */
};

struct lredis_wait {
    struct lredis *owner;    /* borrowed; on the waiting coroutine's stack */
    struct coro *co;         /* borrowed; outlives the wait */
    struct redis_call *call; /* borrowed; for cancel_call() */
    const struct redisvalue *replies; /* borrowed; valid inside on_reply() */
    size_t count;
    int err;
    bool unsent; /* it failed before the server can have got it */
    bool list;   /* the script wants a list, also of one reply */
};

static struct lredis *check_lredis(lua_State *L)
{
    struct lredis *u = luaL_checkudata(L, 1, LREDIS_TYPE);

    if (!u->redis || u->ended)
        raised_error(L, "redis: the connection is closed");
    return u;
}

/* ---- replies ---- */

/* Push the code of "WRONGTYPE Operation against …": "wrongtype". */
static void push_code(lua_State *L, const struct redisvalue *v)
{
    char code[ERROR_CODE_MAX];
    size_t len = 0;

    while (len < v->len && len < sizeof(code) && v->text[len] != ' ') {
        code[len] = (char)tolower((unsigned char)v->text[len]);
        len++;
    }
    lua_pushlstring(L, code, len);
}

static void push_value(lua_State *L, const struct redisvalue *v)
{
    switch (v->type) {
    case REDIS_NIL:
        lua_pushlightuserdata(L, NULL); /* cjson.null */
        break;
    case REDIS_INTEGER:
        lua_pushinteger(L, v->integer);
        break;
    case REDIS_STRING:
    case REDIS_STATUS:
        lua_pushlstring(L, v->text, v->len);
        break;
    case REDIS_ERROR:
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, v->text, v->len);
        lua_setfield(L, -2, "error");
        push_code(L, v);
        lua_setfield(L, -2, "code");
        break;
    case REDIS_ARRAY:
        luaL_checkstack(L, 4, "reply");
        lua_createtable(L, (int)v->len, 0);
        for (size_t i = 0; i < v->len; i++) {
            push_value(L, &v->items[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    }
}

/* Push what one command returns: reply | nil | nil, message, code. */
static int push_reply(lua_State *L, const struct redisvalue *v)
{
    if (v->type == REDIS_ERROR) {
        lua_pushnil(L);
        lua_pushlstring(L, v->text, v->len);
        push_code(L, v);
        return 3;
    }
    if (v->type == REDIS_NIL)
        lua_pushnil(L);
    else
        push_value(L, v);
    return 1;
}

/* Push nil, message, code. */
static int push_failure(lua_State *L, const struct lredis *u, int err)
{
    if (err == -ENOBUFS)
        lua_pushliteral(L, "redis: too many commands are waiting");
    else if (err == -ECANCELED)
        lua_pushliteral(L, "redis: the connection was closed");
    else
        lua_pushstring(L, u->redis ? redis_error(u->redis) : "");
    return lvalue_fail_with(L, err);
}

/* ---- calls ---- */

static void on_reply(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct lredis_wait *w = arg;

    w->err = err;
    w->unsent = err < 0 && !redis_was_sent(w->call);
    w->replies = replies;
    w->count = count;
    coro_wake(w->co); /* resumes; finish_call() reads w before this returns */
}

static void cancel_call(void *op)
{
    struct lredis_wait *w = op;

    redis_cancel(w->call); /* on_reply() will not run any more */
}

/* Runs inside the resume, so what it raises reaches the script. */
static int finish_call(lua_State *L, int status, lua_KContext ctx)
{
    const struct lredis_wait *w = lua_touserdata(L, -1);

    if (w->err < 0) {
        int results = push_failure(L, w->owner, w->err);

        if (w->owner->tells_unsent)
            lua_pushboolean(L, w->unsent);
        return results + w->owner->tells_unsent;
    }
    if (w->count == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (!w->list)
        return push_reply(L, w->replies);
    lua_createtable(L, (int)w->count, 0);
    for (size_t i = 0; i < w->count; i++) {
        push_value(L, &w->replies[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static uint64_t check_timeout(lua_State *L, int arg)
{
    double seconds = luaL_checknumber(L, arg);

    luaL_argcheck(L, seconds > 0 && seconds <= SECONDS_MAX, arg,
        "timeout in seconds expected, above 0 and at most a day");
    return (uint64_t)(seconds * 1000 + 0.5);
}

/* The state's buffer for commands, empty. Raises where nothing can wait: a
 * finalizer may run while a command is being written. */
static struct buf *take_buf(lua_State *L)
{
    struct buf *out = lua_touserdata(L, lua_upvalueindex(1));

    coro_check(L);
    buf_clear(out);
    buf_shrink(out, COMMANDS_KEEP);
    return out;
}

/* Append the words from first on, numbers as text. */
static void encode(lua_State *L, struct buf *out, int first)
{
    int top = lua_gettop(L);

    if (top + 1 - first > LREDIS_WORDS_MAX)
        raised_error(L, "more than %d words in a redis command; send several",
            LREDIS_WORDS_MAX);
    rediscommand_begin(out, (size_t)top + 1 - (size_t)first);
    for (int i = first; i <= top; i++) {
        int type = lua_type(L, i);
        const char *word;
        size_t len;

        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            raised_error(L, "word %d of the redis command is a %s",
                i - first + 1, lua_typename(L, type));
        word = lnumber_tolstring(L, i, &len);
        rediscommand_word(out, word, len);
    }
}

/* Send what is encoded and wait for count replies. */
static int await_replies(
    lua_State *L, struct lredis *u, struct redis_request *request, bool list)
{
    struct coro *co = coro_check(L);
    struct lredis_wait *w;
    int err;

    luaL_checkstack(L, 8, NULL);
    w = lua_newuserdatauv(L, sizeof(*w), 0); /* stays on top while we wait */
    memset(w, 0, sizeof(*w));
    w->owner = u;
    w->co = co;
    w->list = list;
    request->done = on_reply;
    request->arg = w;
    err = redis_send(u->redis, request, &w->call);
    if (err < 0)
        return push_failure(L, u, err);
    return coro_await(L, co, cancel_call, w, finish_call);
}

/* conn:call(timeout, word, …) -> reply | nil, message, code. Yields. */
static int lredis_call(lua_State *L)
{
    struct lredis *u = check_lredis(L);
    struct redis_request request = {
        .count = 1, .timeout_ms = check_timeout(L, 2)};
    struct buf *out;

    luaL_argcheck(L, lua_gettop(L) >= 3, 3, "command expected");
    out = take_buf(L);
    encode(L, out, 3);
    request.commands = out;
    return await_replies(L, u, &request, false);
}

/* Encode the list of commands, each a list of words, at index; their number. */
static size_t encode_list(lua_State *L, int index, struct buf *out)
{
    lua_Integer count = luaL_len(L, index);

    luaL_argcheck(L, count >= 1 && count <= LREDIS_BATCH_MAX, index,
        "1 to 10000 commands expected");
    for (lua_Integer i = 1; i <= count; i++) {
        int top = lua_gettop(L);
        lua_Integer words;

        lua_geti(L, index, i);
        luaL_argcheck(
            L, lua_istable(L, -1), index, "each command must be a table");
        words = luaL_len(L, -1);
        luaL_argcheck(L,
            words >= 1 && words <= INT_MAX - 4 &&
                lua_checkstack(L, (int)words + 4),
            index, "too many words, or none");
        for (lua_Integer j = 1; j <= words; j++)
            lua_geti(L, top + 1, j);
        encode(L, out, top + 2);
        lua_settop(L, top);
    }
    return (size_t)count;
}

/* conn:pipeline(timeout, commands) -> replies | nil, message, code. Yields. */
static int lredis_pipeline(lua_State *L)
{
    struct lredis *u = check_lredis(L);
    struct redis_request request = {.timeout_ms = check_timeout(L, 2)};
    struct buf *out;

    luaL_checktype(L, 3, LUA_TTABLE);
    out = take_buf(L);
    request.count = encode_list(L, 3, out);
    request.commands = out;
    return await_replies(L, u, &request, true);
}

/* ---- subscriptions ---- */

static size_t bytes_of(const struct redisvalue *v)
{
    size_t bytes = sizeof(*v);

    if (v->type != REDIS_ARRAY)
        return bytes + v->len;
    for (size_t i = 0; i < v->len; i++)
        bytes += bytes_of(&v->items[i]);
    return bytes;
}

static void free_pushed(struct lredis *u, struct pushed *p)
{
    list_remove(&p->node);
    u->pushed_bytes -= p->bytes;
    redisvalue_free(p->value);
    free(p);
}

static void wake_reader(struct lredis *u)
{
    struct lredis_wait *w = u->reader;

    u->reader = NULL;
    if (w)
        coro_wake(w->co);
}

static void on_push(struct redisvalue *v, void *arg)
{
    struct lredis *u = arg;
    struct pushed *p = xcalloc(1, sizeof(*p));

    list_init(&p->node);
    p->value = v;
    p->bytes = bytes_of(v);
    u->pushed_bytes += p->bytes;
    list_push_back(&u->pushed, &p->node);
    if (u->pushed_bytes > LREDIS_PUSHED_MAX)
        redis_end(u->redis); /* the script reads too slowly */
    wake_reader(u);
}

static void on_down(int err, void *arg)
{
    struct lredis *u = arg;

    u->down = true;
    if (err == -ECANCELED) { /* it ends itself after this */
        u->redis = NULL;
        vm_forget_hook(&u->hook);
    }
    wake_reader(u);
}

static void cancel_next(void *op)
{
    struct lredis_wait *w = op;

    w->owner->reader = NULL;
}

static int finish_next(lua_State *L, int status, lua_KContext ctx)
{
    struct lredis_wait *w = lua_touserdata(L, -1);
    struct lredis *u = w->owner;
    struct pushed *p;

    if (list_empty(&u->pushed))
        return push_failure(L, u, u->redis ? -ECONNRESET : -ECANCELED);
    p = LIST_ENTRY(u->pushed.next, struct pushed, node);
    push_value(L, p->value);
    free_pushed(u, p);
    return 1;
}

/* conn:next() -> what the server sent | nil, message, code when the connection
 * is down. Yields. */
static int lredis_next(lua_State *L)
{
    struct lredis *u = luaL_checkudata(L, 1, LREDIS_TYPE);
    struct coro *co = coro_check(L);
    struct lredis_wait *w;

    luaL_argcheck(L, !u->reader, 1, "another coroutine waits for it");
    w = lua_newuserdatauv(L, sizeof(*w), 0);
    w->owner = u;
    w->co = co;
    if (!list_empty(&u->pushed) || u->down || !u->redis)
        return finish_next(L, LUA_OK, 0);
    u->reader = w;
    return coro_await(L, co, cancel_next, w, finish_next);
}

/* conn:listen(timeout, commands) -> true | nil, message, code. Connects if need
 * be and sends the commands of a subscription. Yields. */
static int lredis_listen(lua_State *L)
{
    struct lredis *u = check_lredis(L);
    struct redis_request request = {.timeout_ms = check_timeout(L, 2)};
    struct buf *out;

    luaL_checktype(L, 3, LUA_TTABLE);
    out = take_buf(L);
    encode_list(L, 3, out);
    request.commands = out;
    u->down = false;
    return await_replies(L, u, &request, true);
}

/* slot(key) -> of a cluster; nil for what is no word */
static int lredis_slot(lua_State *L)
{
    size_t len;
    const char *key;

    lua_settop(L, 1);
    key = lnumber_tolstring(L, 1, &len);
    if (!key)
        return 0;
    lua_pushinteger(L, redisslot_of(key, len));
    return 1;
}

/* ---- life ---- */

/* conn:losses() -> how many of its connections have ended */
static int lredis_losses(lua_State *L)
{
    const struct lredis *u = check_lredis(L);

    lua_pushinteger(L, (lua_Integer)redis_losses(u->redis));
    return 1;
}

/* conn:close(): what waits for it fails. Also __close; safe twice. */
static int lredis_close(lua_State *L)
{
    struct lredis *u = luaL_checkudata(L, 1, LREDIS_TYPE);

    if (u->redis && !u->ended)
        redis_end(u->redis);
    u->ended = true;
    return 0;
}

static void close_now(struct lredis *u)
{
    if (u->redis)
        redis_close(u->redis);
    u->redis = NULL;
    while (!list_empty(&u->pushed))
        free_pushed(u, LIST_ENTRY(u->pushed.next, struct pushed, node));
}

/* Nobody waits: who does has it on the stack. */
static int lredis_gc(lua_State *L)
{
    struct lredis *u = luaL_checkudata(L, 1, LREDIS_TYPE);

    if (u->redis)
        vm_forget_hook(&u->hook);
    close_now(u);
    return 0;
}

static void on_vm_close(struct vm_hook *hook)
{
    close_now(LIST_ENTRY(hook, struct lredis, hook));
}

/* open{push, tells_unsent, as lredisconf_read()} -> conn; push: for
 * subscriptions; tells_unsent: a call that failed returns nil, message, code
 * and whether it never left for the server. */
static int lredis_open(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct lredisconf conf = {0};
    struct lredis *u;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lredisconf_read(L, &conf);
    u = lua_newuserdatauv(L, sizeof(*u), 0);
    memset(u, 0, sizeof(*u));
    list_init(&u->pushed);
    list_init(&u->hook.node);
    u->hook.run = on_vm_close;
    luaL_setmetatable(L, LREDIS_TYPE);
    u->tells_unsent = lfields_flag(L, "tells_unsent");
    conf.redis.on_push = lfields_flag(L, "push") ? on_push : NULL;
    conf.redis.on_down = on_down;
    conf.redis.arg = u;
    conf.redis.tally = vm_tally(vm, TALLIES_REDIS);
    u->redis = redis_open(vm_turn(vm), &conf.redis);
    vm_at_close(vm, &u->hook);
    return 1;
}

void lredis_push(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"call", lredis_call},
        {"pipeline", lredis_pipeline},
        {"listen", lredis_listen},
        {"next", lredis_next},
        {"losses", lredis_losses},
        {"close", lredis_close},
        {"__close", lredis_close},
        {"__gc", lredis_gc},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"open", lredis_open},
        {"parse", lredisconf_parse},
        {"slot", lredis_slot},
        {"trust", lredisconf_trust},
        {NULL, NULL},
    };

    luaL_newmetatable(L, LREDIS_TYPE);
    lbuf_push(L);
    luaL_setfuncs(L, methods, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
}
