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
#include "lualib/lnumber.h"
#include "lualib/lvalue.h"
#include "net/trust.h"
#include "upstream/redis.h"
#include "upstream/rediscommand.h"
#include "upstream/redisurl.h"
#include "util/alloc.h"
#include "util/list.h"
#include "worker/coro.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define LREDIS_TYPE    "gwrun.redis.connection"
#define TRUST_TYPE     "gwrun.redis.trust"
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
};

struct lredis_wait {
    struct lredis *owner;    /* borrowed; on the waiting coroutine's stack */
    struct coro *co;         /* borrowed; outlives the wait */
    struct redis_call *call; /* borrowed; for cancel_call() */
    const struct redisvalue *replies; /* borrowed; valid inside on_reply() */
    size_t count;
    int err;
    bool list; /* the script wants a list, also of one reply */
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

    if (w->err < 0)
        return push_failure(L, w->owner, w->err);
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

/* ---- life ---- */

/* conn:close(): what waits for it fails. Also __close; safe twice. */
/* conn:losses() -> how many of its connections have ended */
static int lredis_losses(lua_State *L)
{
    const struct lredis *u = check_lredis(L);

    lua_pushinteger(L, (lua_Integer)redis_losses(u->redis));
    return 1;
}

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

static const char *opt_field(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    return luaL_optstring(L, -1, NULL);
}

static bool opt_flag(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    return lua_toboolean(L, -1);
}

/* ---- where the server is ---- */

static int free_trust(lua_State *L)
{
    struct ssl_ctx_st **trust = luaL_checkudata(L, 1, TRUST_TYPE);

    trust_free(*trust);
    *trust = NULL;
    return 0;
}

/* trust{ca_file, cert_file, key_file, insecure} -> what open{trust} takes |
 * nil, message */
static int lredis_trust(lua_State *L)
{
    struct ssl_ctx_st **trust;
    struct trust_conf conf;
    char err[TRUST_ERROR_SIZE];

    luaL_checktype(L, 1, LUA_TTABLE);
    conf.ca_file = opt_field(L, "ca_file");
    conf.cert_file = opt_field(L, "cert_file");
    conf.key_file = opt_field(L, "key_file");
    conf.insecure = opt_flag(L, "insecure");
    trust = lua_newuserdatauv(L, sizeof(struct ssl_ctx_st *), 0);
    *trust = NULL;
    if (luaL_newmetatable(L, TRUST_TYPE)) {
        lua_pushcfunction(L, free_trust);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *trust = trust_new(&conf, err);
    if (*trust)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, err);
    return 2;
}

/* Runs protected: url is freed by its caller. */
static int push_url(lua_State *L)
{
    const struct redisurl *url = lua_touserdata(L, 1);

    lua_newtable(L);
    lua_pushboolean(L, url->tls);
    lua_setfield(L, -2, "tls");
    lua_pushstring(L, url->user);
    lua_setfield(L, -2, "user");
    lua_pushstring(L, url->password);
    lua_setfield(L, -2, "password");
    lua_pushstring(L, url->master);
    lua_setfield(L, -2, "master");
    lua_pushinteger(L, url->db);
    lua_setfield(L, -2, "db");
    lua_pushstring(L, url->hosts[0]);
    lua_setfield(L, -2, "host");
    lua_pushinteger(L, url->ports[0]);
    lua_setfield(L, -2, "port");
    lua_newtable(L); /* host, port, host, port … */
    for (size_t i = 0; i < url->count; i++) {
        lua_pushstring(L, url->hosts[i]);
        lua_rawseti(L, -2, (lua_Integer)i * 2 + 1);
        lua_pushinteger(L, url->ports[i]);
        lua_rawseti(L, -2, (lua_Integer)i * 2 + 2);
    }
    lua_setfield(L, -2, "hosts");
    return 1;
}

/* parse(url) -> {tls, user, password, host, port, db} and with a master also
 * {master, hosts} | nil, message */
static int lredis_parse(lua_State *L)
{
    struct redisurl url;
    char err[REDISURL_ERROR_SIZE];
    const char *text = luaL_checkstring(L, 1);
    int rc;

    lua_settop(L, 1);
    luaL_checkstack(L, 8, NULL);
    lua_pushcfunction(L, push_url); /* allocates nothing of Lua's later */
    if (redisurl_parse(&url, text, err) < 0) {
        redisurl_fini(&url);
        lua_pushnil(L);
        lua_pushstring(L, err);
        return 2;
    }
    lua_pushlightuserdata(L, &url);
    rc = lua_pcall(L, 1, 1, 0);
    redisurl_fini(&url);
    return rc == LUA_OK ? 1 : lua_error(L);
}

/* Fill in what open{} was given of hosts; what it points to stays on the stack.
 */
static void check_sentinels(lua_State *L, struct sentinel_conf *conf,
    const char **hosts, uint16_t *ports)
{
    lua_Integer words;

    conf->user = opt_field(L, "sentinel_user");
    conf->password = opt_field(L, "sentinel_password");
    conf->hosts = hosts;
    conf->ports = ports;
    lua_getfield(L, 1, "hosts");
    words = luaL_len(L, -1);
    luaL_checkstack(L, SENTINEL_MAX + 8, NULL);
    for (lua_Integer i = 1; i < words && conf->count < SENTINEL_MAX; i += 2) {
        lua_geti(L, -1, i);
        hosts[conf->count] = lua_tostring(L, -1); /* the table has it */
        lua_geti(L, -2, i + 1);
        ports[conf->count++] = (uint16_t)lua_tointeger(L, -1);
        lua_pop(L, 2);
    }
}

static void check_conf(lua_State *L, struct redis_conf *conf)
{
    conf->host = opt_field(L, "host");
    conf->user = opt_field(L, "user");
    conf->password = opt_field(L, "password");
    conf->tls_name = opt_field(L, "server_name");
    luaL_argcheck(L, conf->host != NULL, 1, "host expected");
    lua_getfield(L, 1, "port");
    conf->port = (uint16_t)lua_tointeger(L, -1);
    lua_getfield(L, 1, "db");
    conf->db = (int)lua_tointeger(L, -1);
    lua_getfield(L, 1, "trust");
    if (!lua_isnil(L, -1))
        conf->tls = *(struct ssl_ctx_st **)luaL_checkudata(L, -1, TRUST_TYPE);
    lua_getfield(L, 1, "connect_timeout");
    conf->connect_ms = check_timeout(L, -1);
    conf->on_push = opt_flag(L, "push") ? on_push : NULL;
}

/* open{host, port, user, password, db, connect_timeout, push} -> conn; with
 * {trust, server_name} by TLS, with {master, hosts, sentinel_user,
 * sentinel_password} where sentinels say. What is in the table was checked by
 * lua/gwrun/redis.lua. */
static int lredis_open(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct redis_conf conf = {.on_down = on_down};
    struct sentinel_conf sentinels = {0};
    const char *hosts[SENTINEL_MAX];
    uint16_t ports[SENTINEL_MAX];
    struct lredis *u;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    check_conf(L, &conf);
    sentinels.master = opt_field(L, "master");
    if (sentinels.master) {
        sentinels.tls = conf.tls;
        sentinels.tls_name = conf.tls_name;
        check_sentinels(L, &sentinels, hosts, ports);
        conf.sentinels = &sentinels;
    }
    u = lua_newuserdatauv(L, sizeof(*u), 0);
    memset(u, 0, sizeof(*u));
    list_init(&u->pushed);
    list_init(&u->hook.node);
    u->hook.run = on_vm_close;
    luaL_setmetatable(L, LREDIS_TYPE);
    conf.arg = u;
    u->redis = redis_open(vm_turn(vm), &conf);
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
        {"parse", lredis_parse},
        {"trust", lredis_trust},
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
