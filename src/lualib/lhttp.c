/* A call is a struct on the waiting coroutine's stack. libcurl's end wakes the
 * coroutine, and what it brought is pushed there, so that running out of
 * memory is the script's error. A state that closes ends its calls. */
#include "lualib/lhttp.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lualib/lfields.h"
#include "lualib/lvalue.h"
#include "upstream/http.h"
#include "worker/coro.h"
#include "worker/gateways.h"
#include "worker/vm.h"

/* One per state, a userdata: upvalue 1 of all functions. */
struct lhttp {
    struct vm_hook hook;
    struct http *http; /* owned; NULL until first used and once closed */
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

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    request.method = lfields_string(L, "method", NULL);
    request.url = lfields_string(L, "url", NULL);
    luaL_argcheck(L, request.method && request.url, 1, "method, url expected");
    request.body = lfields_string(L, "body", &request.body_len);
    request.ca_file = lfields_string(L, "ca_file", NULL);
    request.timeout_ms = lfields_ms(L, "timeout");
    request.connect_ms = lfields_ms(L, "connect_timeout");
    request.body_max = (size_t)lfields_number(L, "max_size");
    request.redirects_max = (long)lfields_number(L, "max_redirects");
    request.nheaders =
        lfields_strings(L, "headers", LHTTP_HEADERS_MAX, &request.headers);
    co = coro_check(L);
    if (!lh->http)
        lh->http = http_new(turn_loop(vm_turn(vm_of(L))));
    w = lua_newuserdatauv(L, sizeof(*w), 0); /* stays on top while we wait */
    w->co = co;
    gateways_acknowledge(vm_gateways(vm_of(L)));
    err = http_start(lh->http, &request, on_done, w, &w->call);
    if (err < 0) {
        lua_pushliteral(L, "http: too many requests are under way");
        return lvalue_fail_with(L, err);
    }
    return coro_await(L, co, cancel_request, w, finish_request);
}

static void on_vm_close(struct vm_hook *hook)
{
    struct lhttp *lh = LIST_ENTRY(hook, struct lhttp, hook);

    if (lh->http)
        http_close(lh->http);
    lh->http = NULL;
}

void lhttp_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", lhttp_request},
        {NULL, NULL},
    };
    struct lhttp *lh;

    luaL_newlibtable(L, functions);
    lh = lua_newuserdatauv(L, sizeof(*lh), 0);
    memset(lh, 0, sizeof(*lh));
    lh->hook.run = on_vm_close;
    lua_pushvalue(L, -1); /* it lives as long as the state */
    lua_rawsetp(L, LUA_REGISTRYINDEX, lh);
    luaL_setfuncs(L, functions, 1);
    vm_at_close(vm_of(L), &lh->hook);
}
