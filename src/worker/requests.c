/* Events.onRequest: the script answers a request; calls of the push API are
 * gwrun's own to answer (lua/gwrun/api.lua). Each runs in a coroutine of
 * its own as soon as it is here, and its gateway is told so before anything
 * that the handler does leaves this process (acks.c), where they share a page
 * of claims before the handler begins: a request that has begun is never given
 * to another worker. */
#include "worker/requests.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/answer.h"
#include "wire/bigendian.h"
#include "wire/httpstatus.h"
#include "worker/coro.h"
#include "worker/gateways_impl.h"
#include "worker/vm_impl.h"

/* One that a handler answers. */
struct request {
    struct list node;     /* in requests->list */
    struct requests *all; /* borrowed */
    const struct vm *vm;  /* where the handler runs */
    struct gateways_address from;
    uint32_t number;       /* the gateway's, of this request */
    uint64_t begun;        /* handlers_now() */
    size_t answer_max;     /* bytes of a body that it takes */
    size_t len;            /* bytes of it */
    bool is_api;           /* a call of the push API */
    bool behind;           /* its answer may come behind commands */
    const struct frame *f; /* borrowed until the handler has its argument */
    struct buf answer;     /* owned */
};

void requests_set_hooks(lua_State *L, const struct requests_hooks *hooks)
{
    vm_of(L)->requests = hooks;
}

static void say(struct request *r, unsigned status, const char *text)
{
    static const char plain[] = "text/plain; charset=utf-8";

    buf_clear(&r->answer);
    if (r->is_api) {
        httpstatus_put_problem(
            &r->answer, status, status == 503 ? "ecanceled" : "eio", text);
        return;
    }
    answer_put_status(&r->answer, status);
    answer_put_header(&r->answer, "Content-Type", 12, plain, strlen(plain));
    answer_put(&r->answer, ANSWER_BODY, text, strlen(text));
}

static void finish(struct request *r)
{
    struct requests *all = r->all;

    if (all->running == r)
        all->running = NULL;
    gateways_reply(all->gateways, r->from, r->number, r->behind, &r->answer);
    buf_fini(&r->answer);
    list_remove(&r->node);
    all->count--;
    all->bytes -= r->len;
    free(r);
}

/* nil and a text behind it: what has failed in Lua returns that. */
static int raise_failure(lua_State *L)
{
    const char *message = luaL_tolstring(L, -2, NULL);

    if (lua_isnil(L, -2))
        return luaL_error(L, "onRequest returned nil and \"%s\"", message);
    return luaL_error(L, "onRequest returned nil, \"%s\" and \"%s\"", message,
        luaL_tolstring(L, -2, NULL));
}

static int check_size(lua_State *L, struct request *r)
{
    size_t packet_max = gateways_packet_max(r->all->gateways);
    struct answer said = answer_of(&r->answer);
    struct answer_part body;

    if (answer_find(&said, ANSWER_BODY, &body) && body.len > r->answer_max)
        return callbacks_raise(L, "onRequest",
            lua_pushfstring(L,
                "returned a body of %I bytes, more than the %I that its "
                "gateway takes (max_response)",
                (LUAI_UACINT)body.len, (LUAI_UACINT)r->answer_max));
    if (r->answer.len > packet_max - FRAME_HEAD_LEN)
        return callbacks_raise(L, "onRequest",
            lua_pushfstring(L,
                "returned an answer of %I bytes, more than goes into a "
                "packet (max_packet)",
                (LUAI_UACINT)r->answer.len));
    return 0;
}

/* What an event stream of that gateway may begin with. */
static struct handshakes_rules rules_of(const struct request *r)
{
    const struct gateways *g = r->all->gateways;
    size_t session_max = gateways_session_max(g, r->from.ip, r->from.port);
    unsigned groups_max = gateways_groups_max(g, r->from);

    return (struct handshakes_rules){
        .session_max = session_max > 0 ? session_max : SIZE_MAX,
        .groups_max = groups_max > 0 ? groups_max : SIZE_MAX,
    };
}

/* What the handler has returned: the three values on top. */
static int take_answer(lua_State *L, int status, lua_KContext ctx)
{
    struct request *r = (struct request *)ctx;
    const struct handshakes_rules rules = rules_of(r);
    const char *wrong;

    if (lua_isnil(L, -3) && !lua_isnil(L, -2))
        return raise_failure(L);
    if (lua_isnil(L, -3)) {
        say(r, 404, "Not Found");
        return 0;
    }
    wrong = vm_of(L)->requests->read(L, &rules, &r->answer);
    if (wrong)
        return callbacks_raise(
            L, "onRequest", lua_pushfstring(L, "returned %s", wrong));
    return check_size(L, r);
}

/* What a call of the push API has come to: a status, and JSON. */
static int take_result(lua_State *L, int status, lua_KContext ctx)
{
    struct request *r = (struct request *)ctx;
    size_t len;
    const char *json = luaL_checklstring(L, -1, &len);

    httpstatus_put_json(
        &r->answer, (unsigned)luaL_checkinteger(L, -2), json, len);
    if (len > r->answer_max ||
        r->answer.len > gateways_packet_max(r->all->gateways) - FRAME_HEAD_LEN)
        say(r, 500, "the result is larger than max_response");
    return 0;
}

/* Behind the response's size, frame.ext has the caller's rights. */
static int call_api(lua_State *L, struct request *r)
{
    vm_of(L)->requests->push_call(L, r->f->body, r->f->body_len,
        (const char *)r->f->ext + 4, r->f->ext_len - 4);
    lua_callk(L, 3, 2, (lua_KContext)r, take_result);
    return take_result(L, LUA_OK, (lua_KContext)r);
}

/* The coroutine's body. */
static int call(lua_State *L)
{
    struct request *r = lua_touserdata(L, 1);

    if (r->is_api && vm_of(L)->requests)
        return call_api(L, r);
    /* The script may have been replaced since the gateway asked. */
    if (!vm_of(L)->requests || !callbacks_push(L, "onRequest")) {
        say(r, 404, "Not Found");
        return 0;
    }
    vm_of(L)->requests->push(L, r->f->body, r->f->body_len);
    lua_callk(L, 1, 3, (lua_KContext)r, take_answer);
    return take_answer(L, LUA_OK, (lua_KContext)r);
}

static const char *event_of(const struct request *r)
{
    return r->is_api ? "an API call" : "onRequest";
}

static void on_answered(const char *error, void *arg)
{
    struct request *r = arg;

    handlers_took(r->all->handlers, event_of(r), r->begun,
        handlers_now(r->all->handlers));
    if (error) {
        say(r, 500,
            r->is_api ? "the call has failed; the worker's log says why"
                      : "Internal Server Error");
        handlers_fail(r->all->handlers, event_of(r), NULL, error);
    }
    finish(r);
}

/* Too many at once, or nobody to answer. */
static void refuse(const struct requests *all, struct gateways_address to,
    const struct frame *f)
{
    static const char text[] = "too many requests are being answered";
    struct buf answer = {0};

    if (f->ext_len > 4) {
        httpstatus_put_problem(&answer, 503, "ebusy", text);
    } else {
        answer_put_status(&answer, 503);
        answer_put_header(&answer, "Retry-After", 11, "1", 1);
        answer_put(&answer, ANSWER_BODY, text, sizeof(text) - 1);
    }
    gateways_reply(all->gateways, to, f->connection_id,
        (f->flag & FRAME_FLAG_BEHIND) != 0, &answer);
    buf_fini(&answer);
}

void requests_init(
    struct requests *all, struct gateways *gateways, struct handlers *handlers)
{
    *all = (struct requests){.gateways = gateways, .handlers = handlers};
    list_init(&all->list);
}

/* What the script makes of a request is its own; but its bytes are those of
 * whoever sent it. */
static bool has_room(const struct requests *all, size_t len)
{
    size_t max = all->vm->heap.max / REQUESTS_SHARE;

    return all->count < REQUESTS_MAX &&
           (len <= REQUESTS_SMALL || all->bytes == 0 ||
               all->bytes + len <= max);
}

void requests_take(
    struct requests *all, struct gateways_address from, const struct frame *f)
{
    static const struct coro_client nobody = {.nobody = true};
    struct request *r;

    if (!gateways_request_begins(all->gateways, from, f->connection_id))
        return;
    if (!all->vm || f->ext_len < 4 || !has_room(all, f->body_len)) {
        refuse(all, from, f);
        return;
    }
    r = xcalloc(1, sizeof(*r));
    r->all = all;
    r->vm = all->vm;
    r->from = from;
    r->number = f->connection_id;
    r->begun = handlers_now(all->handlers);
    r->answer_max = get32(f->ext);
    r->is_api = f->ext_len > 4;
    r->behind = (f->flag & FRAME_FLAG_BEHIND) != 0;
    r->len = f->body_len;
    r->f = f;
    list_init(&r->node);
    list_push_back(&all->list, &r->node);
    all->count++;
    all->bytes += r->len;
    all->handlers->begun++;
    all->running = r;
    coro_start(all->vm, event_of(r), call, r, &nobody, on_answered, r);
    all->running = NULL;
}

void requests_tell_hanging(const struct requests *all)
{
    const struct request *r = all->running;

    if (r)
        gateways_tell_hanging_request(all->gateways, r->from, r->number);
}

void requests_abandon(struct requests *all, const struct vm *vm)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &all->list) {
        struct request *r = LIST_ENTRY(node, struct request, node);

        if (vm && r->vm != vm)
            continue;
        say(r, 503, r->is_api ? "the call was cut off" : "cut off");
        finish(r);
    }
}
