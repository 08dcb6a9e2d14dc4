/* A call is a struct on the waiting coroutine's stack. libcurl's end wakes the
 * coroutine, and what it brought is pushed there, so that running out of
 * memory is the script's error. A response that is read in pieces is a userdata
 * and holds its call. A state that closes ends its calls. */
#include "lualib/lhttp.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lualib/lfields.h"
#include "lualib/ltype.h"
#include "lualib/lvalue.h"
#include "lualib/lwait.h"
#include "upstream/http.h"
#include "worker/coro.h"
#include "worker/gateways.h"
#include "worker/raised.h"
#include "worker/vm.h"

#define LHTTP_STREAM_TYPE "gwrun.http.stream"

/* One per state, a userdata: upvalue 1 of all functions. */
struct lhttp {
    struct vm_hook hook;
    struct http *http; /* owned; NULL until first used and once closed */
};

/* A response whose body is read in pieces, a userdata. */
struct stream {
    struct lhttp *lh;       /* borrowed; as old as the Lua state */
    struct http_call *call; /* owned; NULL once closed, or without a head */
    struct vm_hook hook;
    struct lwait wait;
    int err;
    const struct http_response *response; /* borrowed; inside on_head() */
    const char *message;                  /* likewise */
};

struct lhttp_wait {
    struct coro *co;        /* borrowed; outlives the wait */
    struct http_call *call; /* borrowed; for cancel_request() */
    int err;
    const struct http_response *response; /* borrowed; inside on_done() */
    const char *message;                  /* likewise */
};

static void on_done(int err, const struct http_response *response,
    const char *message, void *arg)
{
    struct lhttp_wait *w = arg;

    w->err = err;
    w->response = response;
    w->message = message;
    coro_wake(w->co); /* finish_request() reads w before this returns */
}

static void cancel_request(void *op)
{
    struct lhttp_wait *w = op;

    http_cancel(w->call);
}

/* Runs inside the resume, so what it raises reaches the script. */
static int finish_request(lua_State *L, int status, lua_KContext ctx)
{
    const struct lhttp_wait *w = lua_touserdata(L, -1);
    const struct http_response *r = w->response;

    if (w->err < 0) {
        lua_pushfstring(L, "http: %s", w->message);
        return lvalue_fail_with(L, w->err);
    }
    lua_pushinteger(L, r->status);
    lua_pushlstring(L, r->headers, r->headers_len);
    lua_pushlstring(L, r->body, r->body_len);
    lua_pushstring(L, r->url);
    return 4;
}

static void get_request(lua_State *L, struct http_request *r)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    r->method = lfields_string(L, "method", NULL);
    r->url = lfields_string(L, "url", NULL);
    luaL_argcheck(L, r->method && r->url, 1, "method, url expected");
    r->body = lfields_string(L, "body", &r->body_len);
    r->ca_file = lfields_string(L, "ca_file", NULL);
    r->timeout_ms = lfields_ms(L, "timeout");
    r->connect_ms = lfields_ms(L, "connect_timeout");
    r->body_max = (size_t)lfields_number(L, "max_size");
    r->redirects_max = (long)lfields_number(L, "max_redirects");
    r->nheaders = lfields_strings(L, "headers", LHTTP_HEADERS_MAX, &r->headers);
}

static struct http *http_of(lua_State *L, struct lhttp *lh)
{
    if (!lh->http)
        lh->http = http_new(
            turn_loop(vm_turn(vm_of(L))), vm_tally(vm_of(L), TALLIES_HTTP));
    return lh->http;
}

static int fail_to_start(lua_State *L, int err)
{
    lua_pushliteral(L, "http: too many requests are under way");
    return lvalue_fail_with(L, err);
}

/* request{method, url, headers = {"Name: value", …}, body, timeout,
 * connect_timeout, max_size, max_redirects, ca_file} -> status, head, body, url
 * | nil, message, code. Its fields were checked by lua/gwrun/http.lua. Yields.
 */
static int lhttp_request(lua_State *L)
{
    struct lhttp *lh = lua_touserdata(L, lua_upvalueindex(1));
    struct http_request request = {0};
    struct coro *co;
    struct lhttp_wait *w;
    int err;

    get_request(L, &request);
    co = coro_check(L);
    w = lua_newuserdatauv(L, sizeof(*w), 0); /* stays on top while we wait */
    w->co = co;
    gateways_acknowledge(vm_gateways(vm_of(L)));
    err = http_start(http_of(L, lh), &request, on_done, w, &w->call);
    if (err < 0)
        return fail_to_start(L, err);
    return coro_await(L, co, cancel_request, w, finish_request);
}

/* ---- streams ---- */

static struct stream *check_stream(lua_State *L)
{
    return luaL_checkudata(L, 1, LHTTP_STREAM_TYPE);
}

static void begin_to_wait(
    lua_State *L, struct stream *s, struct coro *co, double seconds)
{
    gateways_acknowledge(vm_gateways(vm_of(L)));
    lwait_begin(L, &s->wait, co, seconds);
}

/* The calls of a state that closes have ended with its struct http. */
static void end_stream(struct stream *s)
{
    lwait_cancel(&s->wait);
    if (s->call && s->lh->http)
        http_cancel(s->call);
    s->call = NULL;
}

static int stream_gc(lua_State *L)
{
    struct stream *s = check_stream(L);

    vm_forget_hook(&s->hook);
    end_stream(s);
    return 0;
}

static void cancel_stream(void *op)
{
    end_stream(op);
}

static void on_stream_close(struct vm_hook *hook)
{
    end_stream(LIST_ENTRY(hook, struct stream, hook));
}

static void on_head(int err, const struct http_response *response,
    const char *message, void *arg)
{
    struct stream *s = arg;

    s->err = err;
    s->response = response;
    s->message = message;
    if (err < 0)
        s->call = NULL;
    lwait_wake(&s->wait); /* finish_head() reads s before this returns */
}

static void on_more(void *arg)
{
    struct stream *s = arg;
    const char *message;
    size_t len;
    int err;

    http_bytes(s->call, &len);
    if (len > 0 || http_has_ended(s->call, &err, &message))
        lwait_wake(&s->wait);
}

static int finish_head(lua_State *L, int status, lua_KContext ctx)
{
    struct stream *s = lua_touserdata(L, -1);
    const struct http_response *r = s->response;

    s->response = NULL;
    if (s->err < 0) {
        lua_pushfstring(L, "http: %s", s->message);
        return lvalue_fail_with(L, s->err);
    }
    if (!r) {
        end_stream(s);
        lua_pushliteral(L, "http: no response within timeout");
        return lvalue_fail_with(L, -ETIMEDOUT);
    }
    lua_pushinteger(L, r->status);
    lua_pushlstring(L, r->headers, r->headers_len);
    lua_pushstring(L, r->url);
    return 4;
}

/* stream{as request()} -> stream, status, head, url | nil, message, code.
 * Yields until the head is there. */
static int lhttp_stream(lua_State *L)
{
    struct lhttp *lh = lua_touserdata(L, lua_upvalueindex(1));
    struct http_request request = {0};
    struct stream *s;
    struct coro *co;
    int err;

    get_request(L, &request);
    request.more = on_more;
    co = coro_check(L);
    s = lua_newuserdatauv(L, sizeof(*s), 0); /* stays on top while we wait */
    memset(s, 0, sizeof(*s));
    list_init(&s->hook.node);
    s->hook.run = on_stream_close;
    s->lh = lh;
    luaL_setmetatable(L, LHTTP_STREAM_TYPE);
    err = http_start(http_of(L, lh), &request, on_head, s, &s->call);
    if (err < 0)
        return fail_to_start(L, err);
    vm_at_close(vm_of(L), &s->hook);
    begin_to_wait(L, s, co, (double)request.timeout_ms / 1000);
    return coro_await(L, co, cancel_stream, s, finish_head);
}

/* A chunk or the end, if there is one; else 0. */
static int push_chunk(lua_State *L, struct stream *s)
{
    const char *message;
    const uint8_t *data;
    size_t len;
    int err;

    if (!s->call) {
        lua_pushliteral(L, "http: the response was closed");
        return lvalue_fail_with(L, -ECANCELED);
    }
    data = http_bytes(s->call, &len);
    if (len > 0) {
        lua_pushlstring(L, (const char *)data, len);
        http_take(s->call, len);
        return 1;
    }
    if (!http_has_ended(s->call, &err, &message))
        return 0;
    lua_pushfstring(L, "http: %s", err < 0 ? message : "the response is over");
    return lvalue_fail_with(L, err < 0 ? err : UV_EOF);
}

static int finish_read(lua_State *L, int status, lua_KContext ctx)
{
    int count = push_chunk(L, lua_touserdata(L, 1));

    if (count > 0)
        return count;
    lua_pushliteral(L, "http: nothing came in time");
    return lvalue_fail_with(L, -ETIMEDOUT);
}

/* read(stream, seconds) -> chunk | nil, message, code. Yields. */
static int lhttp_read(lua_State *L)
{
    struct stream *s = check_stream(L);
    double seconds = luaL_optnumber(L, 2, -1);
    struct coro *co = coro_check(L);
    int count;

    luaL_argcheck(L, seconds <= LWAIT_SECONDS_MAX, 2, "seconds expected");
    if (lwait_is_on(&s->wait))
        raised_error(L, "http: another coroutine waits for the response");
    lua_settop(L, 1);
    count = push_chunk(L, s);
    if (count > 0)
        return count;
    begin_to_wait(L, s, co, seconds);
    return coro_await(L, co, lwait_cancel, &s->wait, finish_read);
}

/* close(stream): harmless when it has ended. */
static int lhttp_close(lua_State *L)
{
    struct stream *s = check_stream(L);

    if (lwait_is_on(&s->wait))
        raised_error(L, "http: another coroutine waits for the response");
    vm_forget_hook(&s->hook);
    end_stream(s);
    return 0;
}

/* ---- the module ---- */

static void on_vm_close(struct vm_hook *hook)
{
    struct lhttp *lh = LIST_ENTRY(hook, struct lhttp, hook);

    if (lh->http)
        http_close(lh->http);
    lh->http = NULL;
}

void lhttp_push(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"request", lhttp_request},
        {"stream", lhttp_stream},
        {"read", lhttp_read},
        {"close", lhttp_close},
        {NULL, NULL},
    };
    struct lhttp *lh;

    ltype_register(L, LHTTP_STREAM_TYPE, stream_gc, none);
    luaL_newlibtable(L, functions);
    lh = lua_newuserdatauv(L, sizeof(*lh), 0);
    memset(lh, 0, sizeof(*lh));
    lh->hook.run = on_vm_close;
    lua_pushvalue(L, -1); /* it lives as long as the state */
    lua_rawsetp(L, LUA_REGISTRYINDEX, lh);
    luaL_setfuncs(L, functions, 1);
    vm_at_close(vm_of(L), &lh->hook);
}
