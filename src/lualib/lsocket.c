/* A stream is a userdata and ends with its state. One coroutine at a time waits
 * for it: for the connection, for TLS, or for bytes. What a read waits for is
 * noted in the userdata, so that the bytes of a delimiter are looked for once,
 * wherever they are cut, and what has come is pushed inside the coroutine. */
#include "lualib/lsocket.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lualib/lfields.h"
#include "lualib/ltype.h"
#include "lualib/lvalue.h"
#include "lualib/lwait.h"
#include "upstream/socket.h"
#include "upstream/trusts.h"
#include "worker/coro.h"
#include "worker/gateways.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define LSOCKET_TYPE "gwrun.socket.stream"

/* One per state, a userdata: upvalue 1 of open() and start_tls(). */
struct lstate {
    struct vm_hook hook;
    struct trusts *trusts; /* owned; NULL until first used and once closed */
    unsigned streams;
};

/* What a read waits for. */
struct wish {
    size_t count;      /* so many bytes; with a delimiter, its limit */
    const char *delim; /* borrowed from the waiting stack; NULL: bytes */
    size_t delim_len;
    size_t seen; /* bytes in which the delimiter does not begin */
    bool any;    /* one byte will do */
    bool line;   /* a CR in front of the delimiter belongs to it */
};

struct lsocket {
    struct socket *stream; /* owned; NULL once closed */
    struct lstate *state;  /* borrowed; as old as the Lua state */
    struct vm_hook hook;
    bool shaking; /* who waits, waits for it to be open */
    struct wish wish;
    struct lwait wait;
};

static struct lsocket *check(lua_State *L)
{
    return luaL_checkudata(L, 1, LSOCKET_TYPE);
}

static int fail_closed(lua_State *L)
{
    lua_pushliteral(L, "the connection is closed");
    return lvalue_fail_with(L, -ENOTCONN);
}

/* ---- waiting ---- */

static void begin_to_wait(
    lua_State *L, struct lsocket *u, struct coro *co, double seconds)
{
    gateways_acknowledge(vm_gateways(vm_of(L)));
    lwait_begin(L, &u->wait, co, seconds);
}

/* The bytes that fulfil the wish: what is handed out, and with *whole what is
 * taken. -EAGAIN: more must come; -EMSGSIZE. */
static ssize_t look_for_delimiter(
    struct wish *w, const uint8_t *data, size_t len, size_t *whole)
{
    const uint8_t *at = NULL;
    size_t end;

    if (len - w->seen >= w->delim_len)
        at = memmem(data + w->seen, len - w->seen, w->delim, w->delim_len);
    if (at) {
        end = (size_t)(at - data);
        *whole = end + w->delim_len;
        if (w->line && end > 0 && data[end - 1] == '\r')
            end--;
        return end <= w->count ? (ssize_t)end : -EMSGSIZE;
    }
    if (len >= w->delim_len)
        w->seen = len - w->delim_len + 1;
    return len >= w->count + w->delim_len + w->line ? -EMSGSIZE : -EAGAIN;
}

static ssize_t look(struct lsocket *u, size_t *whole)
{
    struct wish *w = &u->wish;
    size_t len;
    const uint8_t *data = socket_bytes(u->stream, &len);

    if (w->delim)
        return look_for_delimiter(w, data, len, whole);
    if (w->any && len > 0)
        *whole = len < w->count ? len : w->count;
    else if (!w->any && len >= w->count)
        *whole = w->count;
    else
        return -EAGAIN;
    return (ssize_t)*whole;
}

/* What has come may have been taken already. */
static void on_change(struct socket *s, void *arg)
{
    struct lsocket *u = arg;
    enum socket_state state = socket_state(s);
    size_t whole;

    if (!lwait_is_on(&u->wait))
        return;
    if (u->shaking ? state == SOCKET_OPEN || state == SOCKET_ENDED
                   : state == SOCKET_ENDED || look(u, &whole) != -EAGAIN)
        lwait_wake(&u->wait);
}

/* ---- the end ---- */

static void close_stream(struct lsocket *u)
{
    if (!u->stream)
        return;
    vm_forget_hook(&u->hook);
    socket_close(u->stream);
    u->stream = NULL;
    u->state->streams--;
}

/* The coroutine that waits, if any, never goes on, or goes on by itself. */
static void end(struct lsocket *u)
{
    lwait_cancel(&u->wait);
    close_stream(u);
}

static int lsocket_gc(lua_State *L)
{
    end(check(L));
    return 0;
}

static void on_vm_close(struct vm_hook *hook)
{
    end(LIST_ENTRY(hook, struct lsocket, hook));
}

static void cancel_shaking(void *op)
{
    end(op);
}

/* close(conn): what is waiting is sent. Who waits for bytes soon waits no more.
 */
static int lsocket_close(lua_State *L)
{
    struct lsocket *u = check(L);

    close_stream(u);
    if (lwait_is_on(&u->wait))
        lwait_limit(L, &u->wait, 0);
    return 0;
}

static void on_state_close(struct vm_hook *hook)
{
    struct lstate *state = LIST_ENTRY(hook, struct lstate, hook);

    if (state->trusts)
        trusts_free(state->trusts);
    state->trusts = NULL;
}

/* ---- opening ---- */

/* nil, message, code of one that has ended. */
static int push_error(lua_State *L, const struct lsocket *u)
{
    const char *why;
    int err = socket_error(u->stream, &why);

    lua_pushstring(L, why);
    return lvalue_fail_with(L, err < 0 ? err : UV_EOF);
}

/* Runs inside the resume, so what it raises reaches the script. */
static int finish_shaking(lua_State *L, int status, lua_KContext ctx)
{
    struct lsocket *u = lua_touserdata(L, -1);
    int count;

    u->shaking = false;
    if (!u->stream)
        return lvalue_fail(L, -ECANCELED);
    if (socket_state(u->stream) == SOCKET_OPEN)
        return 1;
    count = push_error(L, u);
    end(u);
    return count;
}

/* Whom TLS trusts, by the table at 1. NULL: nil, message, code are pushed. */
static struct ssl_ctx_st *get_context(lua_State *L, struct lstate *state)
{
    const char *ca_file = lfields_string(L, "ca_file", NULL);
    bool insecure = lfields_flag(L, "insecure");
    char err[TRUST_ERROR_SIZE];
    struct ssl_ctx_st *ctx;

    if (!state->trusts)
        state->trusts = trusts_new();
    ctx = trusts_find(state->trusts, ca_file, insecure, err);
    if (!ctx) {
        lua_pushstring(L, err);
        lvalue_fail_with(L, -ENOENT);
    }
    return ctx;
}

static struct lsocket *push_userdata(lua_State *L, struct lstate *state)
{
    struct lsocket *u = lua_newuserdatauv(L, sizeof(*u), 0);

    memset(u, 0, sizeof(*u));
    list_init(&u->hook.node);
    u->hook.run = on_vm_close;
    u->state = state;
    luaL_setmetatable(L, LSOCKET_TYPE);
    return u;
}

/* open{host, port, tls, name, …} -> conn | nil, why, code. What is in the table
 * was checked by lua/gwrun/socket.lua. Yields. */
static int lsocket_open(lua_State *L)
{
    struct lstate *state = lua_touserdata(L, lua_upvalueindex(1));
    struct socket_request request = {0};
    struct lsocket *u;
    struct coro *co;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    request.host = lfields_string(L, "host", NULL);
    request.name = lfields_string(L, "name", NULL);
    luaL_argcheck(L, request.host && request.name, 1, "host, name expected");
    request.port = (uint16_t)lfields_number(L, "port");
    request.connect_ms = lfields_ms(L, "connect_timeout");
    request.queue_max = (size_t)lfields_number(L, "max_queue");
    co = coro_check(L);
    if (lfields_flag(L, "tls") && !(request.ctx = get_context(L, state)))
        return 3;
    if (state->streams >= LSOCKET_STREAMS_MAX) {
        lua_pushliteral(L, "too many connections are open");
        return lvalue_fail_with(L, -ENOBUFS);
    }
    u = push_userdata(L, state); /* stays on top while we wait */
    u->stream = socket_open(vm_turn(vm_of(L)), &request, on_change, u);
    state->streams++;
    vm_at_close(vm_of(L), &u->hook);
    u->shaking = true;
    begin_to_wait(L, u, co, -1);
    return coro_await(L, co, cancel_shaking, u, finish_shaking);
}

/* start_tls({name, ca_file, insecure, connect_timeout}, conn) -> conn | nil,
 * why, code. Yields. */
static int lsocket_start_tls(lua_State *L)
{
    struct lstate *state = lua_touserdata(L, lua_upvalueindex(1));
    struct lsocket *u = luaL_checkudata(L, 2, LSOCKET_TYPE);
    struct coro *co = coro_check(L);
    struct ssl_ctx_st *ctx;
    const char *name;
    int err;

    luaL_checktype(L, 1, LUA_TTABLE);
    if (lwait_is_on(&u->wait))
        raised_error(L, "socket: another coroutine waits for it");
    if (!u->stream)
        return fail_closed(L);
    lua_settop(L, 2);
    name = lfields_string(L, "name", NULL);
    luaL_argcheck(L, name, 1, "name expected");
    ctx = get_context(L, state);
    if (!ctx)
        return 3;
    err = socket_start_tls(
        u->stream, ctx, name, lfields_ms(L, "connect_timeout"));
    if (err == -EALREADY)
        raised_error(L, "socket: it has TLS already");
    if (err == -ENOTCONN)
        return push_error(L, u);
    if (err < 0) {
        lua_pushliteral(L, "bytes have come in front of TLS");
        return lvalue_fail_with(L, err);
    }
    lua_pushvalue(L, 2); /* stays on top while we wait */
    u->shaking = true;
    begin_to_wait(L, u, co, -1);
    return coro_await(L, co, cancel_shaking, u, finish_shaking);
}

/* ---- bytes ---- */

/* The result of a read, if there is one by now; else 0. */
static int push_read(lua_State *L, struct lsocket *u)
{
    size_t whole, len;
    ssize_t n = look(u, &whole);

    if (n == -EAGAIN && socket_state(u->stream) == SOCKET_ENDED)
        return push_error(L, u);
    if (n == -EAGAIN)
        return 0;
    if (n < 0) {
        lua_pushliteral(L, "what was to be read is larger than the limit");
        return lvalue_fail_with(L, (int)n);
    }
    lua_pushlstring(L, (const char *)socket_bytes(u->stream, &len), (size_t)n);
    socket_take(u->stream, whole);
    return 1;
}

static int finish_read(lua_State *L, int status, lua_KContext ctx)
{
    struct lsocket *u = lua_touserdata(L, 1);
    int count;

    if (!u->stream) {
        lua_pushliteral(L, "the connection was closed");
        return lvalue_fail_with(L, -ECANCELED);
    }
    socket_want(u->stream, 0);
    count = push_read(L, u);
    if (count > 0)
        return count;
    lua_pushliteral(L, "not enough came in time");
    return lvalue_fail_with(L, -ETIMEDOUT);
}

/* The arguments of read(): what, and how much. */
static void get_wish(lua_State *L, struct wish *w)
{
    lua_Integer count = luaL_checkinteger(L, 3);

    luaL_argcheck(
        L, count > 0 && count <= LSOCKET_READ_MAX, 3, "number out of range");
    memset(w, 0, sizeof(*w));
    w->count = (size_t)count;
    w->any = lua_toboolean(L, 4);
    w->line = lua_toboolean(L, 5);
    if (!lua_isnoneornil(L, 2))
        w->delim = luaL_checklstring(L, 2, &w->delim_len);
    luaL_argcheck(L, !w->delim || w->delim_len > 0, 2, "it is empty");
}

/* read(conn, delim, count, any, line, timeout) -> bytes | nil, why, code. With
 * a delimiter, what is in front of it, count bytes at most; else count bytes,
 * or, any: at least one. Yields. */
static int lsocket_read(lua_State *L)
{
    struct lsocket *u = check(L);
    double seconds = luaL_optnumber(L, 6, -1);
    struct coro *co = coro_check(L);
    int count;

    luaL_argcheck(L, seconds <= LWAIT_SECONDS_MAX, 6, "seconds expected");
    if (lwait_is_on(&u->wait))
        raised_error(L, "socket: another coroutine waits for it");
    if (!u->stream)
        return fail_closed(L);
    get_wish(L, &u->wish);
    count = push_read(L, u);
    if (count > 0)
        return count;
    lua_settop(L, 2); /* the delimiter stays */
    socket_want(u->stream, u->wish.count + u->wish.delim_len + 1);
    begin_to_wait(L, u, co, seconds);
    return coro_await(L, co, lwait_cancel, &u->wait, finish_read);
}

/* write(conn, data) -> true | nil, why, code */
static int lsocket_write(lua_State *L)
{
    struct lsocket *u = check(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    int err;

    if (!u->stream)
        return fail_closed(L);
    gateways_acknowledge(vm_gateways(vm_of(L)));
    err = socket_write(u->stream, data, len);
    if (err == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (err == -ENOTCONN && socket_state(u->stream) == SOCKET_ENDED)
        return push_error(L, u);
    lua_pushstring(L,
        err == -ENOBUFS ? "the peer reads too slowly" : "nothing can be sent");
    return lvalue_fail_with(L, err);
}

/* ---- the module ---- */

static void push_state(lua_State *L)
{
    struct lstate *state = lua_newuserdatauv(L, sizeof(*state), 0);

    memset(state, 0, sizeof(*state));
    state->hook.run = on_state_close;
    lua_pushvalue(L, -1); /* it lives as long as the Lua state */
    lua_rawsetp(L, LUA_REGISTRYINDEX, state);
    vm_at_close(vm_of(L), &state->hook);
}

void lsocket_push(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"open", lsocket_open},
        {"start_tls", lsocket_start_tls},
        {"read", lsocket_read},
        {"write", lsocket_write},
        {"close", lsocket_close},
        {NULL, NULL},
    };

    ltype_register(L, LSOCKET_TYPE, lsocket_gc, none);
    luaL_newlibtable(L, functions);
    push_state(L);
    luaL_setfuncs(L, functions, 1);
}
