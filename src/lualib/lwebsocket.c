/* A connection is a userdata and ends with its state. One coroutine at a time
 * waits for it: for the handshake, or for a message; what has come is pushed
 * inside that coroutine. The first connection of a state starts the library on
 * the loop, and it stays until the state closes. */
#include "lualib/lwebsocket.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/lfields.h"
#include "lualib/ltype.h"
#include "lualib/lvalue.h"
#include "lualib/lwait.h"
#include "upstream/wsdial.h"
#include "util/utf8.h"
#include "worker/coro.h"
#include "worker/gateways.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define LWEBSOCKET_TYPE "gwrun.websocket.connection"

/* One per state, a userdata: upvalue 1 of open(). */
struct lstate {
    struct vm_hook hook;
    struct wshub *hub; /* shared; NULL until first used and once closed */
};

struct lwebsocket {
    struct ws *ws; /* owned; NULL once its state has closed */
    struct vm_hook hook;
    bool opening;
    struct lwait wait;
};

static struct lwebsocket *check(lua_State *L)
{
    struct lwebsocket *u = luaL_checkudata(L, 1, LWEBSOCKET_TYPE);

    if (!u->ws)
        raised_error(L, "websocket: the connection is closed");
    return u;
}

/* What has come may have been taken already. */
static void on_change(struct ws *ws, void *arg)
{
    struct lwebsocket *u = arg;
    enum ws_state state = ws_state(ws);
    bool waits = u->opening ? state == WS_CONNECTING
                            : state != WS_CLOSED && !ws_has_message(ws);

    if (!waits)
        lwait_wake(&u->wait);
}

/* ---- the end ---- */

/* The coroutine that waits, if any, never goes on, or goes on by itself. */
static void end(struct lwebsocket *u)
{
    lwait_cancel(&u->wait);
    if (u->ws)
        ws_free(u->ws);
    u->ws = NULL;
}

static int lwebsocket_gc(lua_State *L)
{
    struct lwebsocket *u = luaL_checkudata(L, 1, LWEBSOCKET_TYPE);

    if (u->ws)
        vm_forget_hook(&u->hook);
    end(u);
    return 0;
}

static void on_vm_close(struct vm_hook *hook)
{
    end(LIST_ENTRY(hook, struct lwebsocket, hook));
}

static void on_state_close(struct vm_hook *hook)
{
    struct lstate *state = LIST_ENTRY(hook, struct lstate, hook);

    if (state->hub)
        wsdial_let_go(state->hub);
    state->hub = NULL;
}

/* ---- opening ---- */

static void get_request(lua_State *L, struct wsdial_request *r)
{
    r->host = lfields_string(L, "host", NULL);
    r->path = lfields_string(L, "path", NULL);
    luaL_argcheck(L, r->host && r->path, 1, "host, path expected");
    r->protocols = lfields_string(L, "protocols", NULL);
    r->ca_file = lfields_string(L, "ca_file", NULL);
    r->port = (uint16_t)lfields_number(L, "port");
    r->tls = lfields_flag(L, "tls");
    r->insecure = lfields_flag(L, "insecure");
    r->connect_ms = lfields_ms(L, "connect_timeout");
    r->ping_ms = lfields_ms(L, "ping_interval");
    r->idle_ms = lfields_ms(L, "idle_timeout");
    r->message_max = (size_t)lfields_number(L, "max_message");
    r->queue_max = (size_t)lfields_number(L, "max_queue");
    r->nheaders =
        lfields_strings(L, "headers", LWEBSOCKET_HEADERS_MAX, &r->headers);
}

static int fail_to_open(lua_State *L, int err)
{
    switch (err) {
    case -ENOBUFS:
        lua_pushliteral(L, "too many connections are open");
        break;
    case -ENOENT:
        lua_pushliteral(L, "the ca_file cannot be read");
        break;
    case -ENOTSUP:
        lua_pushliteral(L, "libwebsockets does not start; is "
                           "libwebsockets-evlib-uv installed?");
        break;
    case -ENAMETOOLONG:
        lua_pushliteral(L, "the url or the headers are too long");
        break;
    default:
        return lvalue_fail(L, err);
    }
    return lvalue_fail_with(L, err);
}

/* nil, message, code of a closed one. */
static int push_error(lua_State *L, const struct lwebsocket *u)
{
    const char *why;
    int err = ws_error(u->ws, &why);

    lua_pushstring(L, err < 0 ? why : "the connection is closed");
    return lvalue_fail_with(L, err < 0 ? err : UV_EOF);
}

/* Runs inside the resume, so what it raises reaches the script. */
static int finish_open(lua_State *L, int status, lua_KContext ctx)
{
    struct lwebsocket *u = lua_touserdata(L, -1);
    int count;

    if (!u->ws || !ws_was_open(u->ws)) {
        count = u->ws ? push_error(L, u) : lvalue_fail(L, -ECANCELED);
        if (u->ws)
            vm_forget_hook(&u->hook);
        end(u);
        return count;
    }
    u->opening = false;
    lua_pushstring(L, ws_protocol(u->ws));
    return 2;
}

/* The script's deadline has passed, or its state closes. */
static void cancel_open(void *op)
{
    struct lwebsocket *u = op;

    if (u->ws)
        vm_forget_hook(&u->hook);
    end(u);
}

/* open{host, port, path, tls, …} -> conn, protocol | nil, why, code. What is in
 * the table was checked by lua/gwrun/websocket.lua. Yields. */
static int lwebsocket_open(lua_State *L)
{
    struct lstate *state = lua_touserdata(L, lua_upvalueindex(1));
    struct vm *vm = vm_of(L);
    struct wsdial_request request = {0};
    struct lwebsocket *u;
    struct coro *co;
    int err;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    get_request(L, &request);
    co = coro_check(L);
    if (!state->hub)
        state->hub = wsdial_hold(turn_loop(vm_turn(vm)));
    u = lua_newuserdatauv(L, sizeof(*u), 0); /* stays on top while we wait */
    memset(u, 0, sizeof(*u));
    list_init(&u->hook.node);
    u->hook.run = on_vm_close;
    luaL_setmetatable(L, LWEBSOCKET_TYPE);
    gateways_acknowledge(vm_gateways(vm));
    err = wsdial_open(&u->ws, vm_turn(vm), &request, on_change, u);
    if (err < 0)
        return fail_to_open(L, err);
    vm_at_close(vm, &u->hook);
    u->opening = true;
    lwait_begin(L, &u->wait, co, -1);
    return coro_await(L, co, cancel_open, u, finish_open);
}

/* ---- messages ---- */

static int push_message(lua_State *L, struct lwebsocket *u)
{
    struct ws_message *m = ws_take(u->ws);
    struct ws_message **box;

    if (!m)
        return 0;
    box = lua_touserdata(L, lua_upvalueindex(1));
    free(*box); /* of a push that ran out of memory */
    *box = m;
    lua_pushlstring(L, (const char *)m->data, m->len);
    lua_pushboolean(L, m->binary);
    free(m);
    *box = NULL;
    return 2;
}

static int finish_receive(lua_State *L, int status, lua_KContext ctx)
{
    struct lwebsocket *u = lua_touserdata(L, 1);
    int count;

    if (!u->ws)
        return lvalue_fail(L, -ECANCELED);
    count = push_message(L, u);
    if (count > 0)
        return count;
    if (ws_state(u->ws) == WS_CLOSED)
        return push_error(L, u);
    lua_pushliteral(L, "no message came in time");
    return lvalue_fail_with(L, -ETIMEDOUT);
}

/* receive(conn, timeout) -> message, binary | nil, why, code. Without a timeout
 * it waits for ever. Yields. */
static int lwebsocket_receive(lua_State *L)
{
    struct lwebsocket *u = check(L);
    double seconds = luaL_optnumber(L, 2, -1);
    struct coro *co = coro_check(L);
    int count;

    luaL_argcheck(L, seconds <= LWAIT_SECONDS_MAX, 2, "seconds expected");
    if (lwait_is_on(&u->wait))
        raised_error(L, "websocket: another coroutine waits for a message");
    lua_settop(L, 1);
    count = push_message(L, u);
    if (count > 0)
        return count;
    if (ws_state(u->ws) == WS_CLOSED)
        return push_error(L, u);
    gateways_acknowledge(vm_gateways(vm_of(L)));
    lwait_begin(L, &u->wait, co, seconds);
    return coro_await(L, co, lwait_cancel, &u->wait, finish_receive);
}

/* send(conn, message, binary) -> true | nil, why, code */
static int lwebsocket_send(lua_State *L)
{
    struct lwebsocket *u = check(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    bool binary = lua_toboolean(L, 3);
    int err;

    if (!binary && !utf8_valid((const uint8_t *)data, len))
        raised_error(L, "websocket: the message is not UTF-8; send it with "
                        "{ binary = true }");
    err = ws_send(u->ws, data, len, binary);
    if (err == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (err == -ENOTCONN && ws_state(u->ws) == WS_CLOSED)
        return push_error(L, u);
    lua_pushstring(L, err == -ENOBUFS ? "the server reads too slowly"
                                      : "the connection is closing");
    return lvalue_fail_with(L, err);
}

/* close(conn, code, reason) */
static int lwebsocket_close(lua_State *L)
{
    struct lwebsocket *u = luaL_checkudata(L, 1, LWEBSOCKET_TYPE);
    lua_Integer code = luaL_optinteger(L, 2, 1000);
    size_t len;
    const char *reason = luaL_optlstring(L, 3, "", &len);

    if (!(code == 1000 || code == 1001 || (code >= 3000 && code <= 4999)))
        raised_error(L, "websocket: code 1000, 1001 or 3000 to 4999 expected");
    if (len > WS_REASON_MAX || !utf8_valid((const uint8_t *)reason, len))
        raised_error(L, "websocket: a reason has at most %d bytes of UTF-8",
            WS_REASON_MAX);
    if (u->ws)
        ws_shut(u->ws, (unsigned)code, reason, len);
    return 0;
}

/* closed(conn) -> code, reason | nothing while it is open */
static int lwebsocket_closed(lua_State *L)
{
    struct lwebsocket *u = check(L);
    const char *reason;
    size_t len;

    if (ws_state(u->ws) != WS_CLOSED)
        return 0;
    lua_pushinteger(L, ws_code(u->ws));
    reason = ws_reason(u->ws, &len);
    lua_pushlstring(L, reason, len);
    return 2;
}

/* ---- the module ---- */

static int box_gc(lua_State *L)
{
    struct ws_message **box = lua_touserdata(L, 1);

    free(*box);
    *box = NULL;
    return 0;
}

/* Where a message is while it is being pushed. */
static void push_box(lua_State *L)
{
    struct ws_message **box =
        lua_newuserdatauv(L, sizeof(struct ws_message *), 0);

    *box = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
}

static void push_state(lua_State *L)
{
    struct lstate *state = lua_newuserdatauv(L, sizeof(*state), 0);

    memset(state, 0, sizeof(*state));
    state->hook.run = on_state_close;
    lua_pushvalue(L, -1); /* it lives as long as the Lua state */
    lua_rawsetp(L, LUA_REGISTRYINDEX, state);
    vm_at_close(vm_of(L), &state->hook);
}

void lwebsocket_push(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"send", lwebsocket_send},
        {"close", lwebsocket_close},
        {"closed", lwebsocket_closed},
        {NULL, NULL},
    };

    ltype_register(L, LWEBSOCKET_TYPE, lwebsocket_gc, none);
    luaL_newlib(L, functions);
    push_state(L);
    lua_pushcclosure(L, lwebsocket_open, 1);
    lua_setfield(L, -2, "open");
    push_box(L);
    lua_pushcclosure(L, lwebsocket_receive, 1);
    lua_setfield(L, -2, "receive");
    lua_pushliteral(L, "gwrun/" GWRUN_VERSION);
    lua_setfield(L, -2, "user_agent");
}
