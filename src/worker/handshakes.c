/* Events.onHandshake: the script decides who becomes a client. A gateway that
 * knows of answers with parts says so with what it asks; another one takes a
 * status and a reason. What cannot be said so is the script's error, and
 * nobody is let in with less than the script meant. */
#include "worker/handshakes.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "wire/answer.h"
#include "wire/bigendian.h"
#include "worker/coro.h"
#include "worker/events.h"
#include "worker/gateways_impl.h"
#include "worker/vm_impl.h"

#define REASON_MAX 201 /* bytes of a refusal's reason, with its NUL; cut */

/* Places on the stack of a handler's coroutine: before the call the function is
 * in the first, and makes room then. */
enum { OFFERED = 2, REQUEST };

/* One request that a handler decides about. */
struct handshake {
    struct list node;       /* in handshakes->list */
    struct handshakes *all; /* borrowed */
    const struct vm *vm;    /* where the handler runs */
    struct gateways_address from;
    uint32_t number;       /* the gateway's, of this request */
    uint64_t begun;        /* handlers_now() */
    const struct frame *f; /* borrowed until the handler has its argument */
    bool takes_parts;      /* the gateway does, within these rules */
    struct handshakes_rules rules;
    unsigned status; /* 0: let it in */
    char reason[REASON_MAX];
    struct buf answer; /* owned; instead of these, when it is not empty */
};

/* The answer that every gateway knows. */
static void decide(const struct handshakes *all, struct gateways_address to,
    uint32_t number, unsigned status, const char *reason)
{
    struct buf text = {0};

    buf_printf(&text, "%u %s", status, reason);
    gateways_answer(
        all->gateways, FRAME_HANDSHAKE, to, number, FRAME_FLAG_STRING, &text);
    buf_fini(&text);
}

static void finish(struct handshake *h)
{
    struct handshakes *all = h->all;

    if (h->answer.len > 0)
        gateways_answer(
            all->gateways, FRAME_HANDSHAKE, h->from, h->number, 0, &h->answer);
    else
        decide(all, h->from, h->number, h->status, h->reason);
    buf_fini(&h->answer);
    list_remove(&h->node);
    all->count--;
    free(h);
}

void handshakes_set_reader(lua_State *L, handshakes_read_fn read)
{
    vm_of(L)->read_answer = read;
}

static int raise_wrong(lua_State *L, const char *what)
{
    return callbacks_raise(L, "onHandshake", what);
}

static int raise_result(lua_State *L)
{
    return raise_wrong(L,
        "must return nothing or true to accept, false or a status from 400 to "
        "599 (and a reason, a string) to refuse, or a table that says more");
}

static void set_reason(struct handshake *h, const char *text)
{
    snprintf(h->reason, sizeof(h->reason), "%s", text);
    for (char *p = h->reason; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

/* For a gateway that takes a status and a reason: the headers of a refusal are
 * left out. False: that would not be what the script has said. */
static bool say_plainly(struct handshake *h)
{
    struct answer said;
    struct answer_part body;
    char text[REASON_MAX] = "";

    if (answer_parse(&said, h->answer.data, h->answer.len) ||
        (said.status == 0 ? said.len > 0 : said.status < 400))
        return false;
    if (answer_find(&said, ANSWER_BODY, &body))
        snprintf(text, sizeof(text), "%.*s", (int)body.len, body.data);
    set_reason(h, text);
    h->status = said.status;
    buf_clear(&h->answer);
    return true;
}

/* The handler has returned a table, and nil behind it. */
static int take_table(lua_State *L, struct handshake *h)
{
    const handshakes_read_fn read = vm_of(L)->read_answer;
    const char *wrong;

    if (!read)
        return raise_result(L);
    if (!lua_isnil(L, -1))
        return raise_wrong(L,
            "returned a table and something behind it; the text "
            "of a refusal is body in the table");
    h->rules.offered = lua_tostring(L, OFFERED);
    wrong = read(L, -2, &h->rules, &h->answer);
    if (wrong)
        return raise_wrong(
            L, lua_pushfstring(L, "returned a table in which %s", wrong));
    if (!h->takes_parts && !say_plainly(h))
        return raise_wrong(L,
            "returned a table that the gateway cannot be told, "
            "whose gwrun is older: bring that up to date");
    return 0;
}

/* What the handler has returned: the two values on top. */
static int take_answer(lua_State *L, int status, lua_KContext ctx)
{
    struct handshake *h = (struct handshake *)ctx;
    bool refused = lua_isboolean(L, -2) && !lua_toboolean(L, -2);

    if (lua_istable(L, -2))
        return take_table(L, h);
    if (lua_type(L, -2) == LUA_TNUMBER) {
        lua_Integer code = lua_tointeger(L, -2); /* 0: a fraction */

        if (code < 400 || code > 599)
            return raise_result(L);
        h->status = (unsigned)code;
    } else if (refused) {
        h->status = 403;
    } else if (!lua_isnoneornil(L, -2) && !lua_isboolean(L, -2)) {
        return raise_result(L);
    }
    /* What has failed in Lua returns nil and why: it has not let in. */
    if (lua_isnil(L, -2) && !lua_isnil(L, -1))
        return raise_wrong(L,
            "returned nil and something behind it; to refuse return false, or "
            "a status, and the text");
    if (h->status == 0)
        return 0;
    if (lua_isstring(L, -1))
        set_reason(h, lua_tostring(L, -1));
    else if (!lua_isnil(L, -1))
        return raise_result(L);
    return 0;
}

/* Push the subprotocols that the request on top offers, or nil. The script may
 * change the request. */
static void push_offered(lua_State *L)
{
    if (lua_istable(L, -1) && lua_getfield(L, -1, "headers") == LUA_TTABLE) {
        lua_getfield(L, -1, "sec-websocket-protocol");
        lua_replace(L, -2);
    } else {
        lua_settop(L, REQUEST);
        lua_pushnil(L);
    }
}

/* The coroutine's body. */
static int call(lua_State *L)
{
    struct handshake *h = lua_touserdata(L, 1);

    /* The script may have been replaced since the gateway asked. */
    if (!callbacks_push(L, "onHandshake"))
        return 0;
    events_push_info(L, h->f->body, h->f->body_len);
    push_offered(L);
    lua_insert(L, OFFERED);
    lua_callk(L, 1, 2, (lua_KContext)h, take_answer);
    return take_answer(L, LUA_OK, (lua_KContext)h);
}

static void on_decided(const char *error, void *arg)
{
    struct handshake *h = arg;

    handlers_took(h->all->handlers, "onHandshake", h->begun,
        handlers_now(h->all->handlers));
    if (error) {
        h->status = 500;
        h->reason[0] = '\0';
        buf_clear(&h->answer);
        handlers_fail(h->all->handlers, "onHandshake", NULL, error);
    }
    finish(h);
}

void handshakes_init(struct handshakes *all, struct gateways *gateways,
    struct handlers *handlers)
{
    *all = (struct handshakes){.gateways = gateways, .handlers = handlers};
    list_init(&all->list);
}

void handshakes_ask(
    struct handshakes *all, struct gateways_address from, const struct frame *f)
{
    static const struct coro_client nobody = {.nobody = true};
    struct handshake *h;

    if (!all->vm || all->count >= HANDSHAKES_MAX) {
        decide(all, from, f->connection_id, 503, "nobody can decide now");
        return;
    }
    h = xcalloc(1, sizeof(*h));
    h->all = all;
    h->vm = all->vm;
    h->from = from;
    h->number = f->connection_id;
    h->begun = handlers_now(all->handlers);
    h->f = f;
    h->takes_parts = f->ext_len >= 8;
    h->rules.session_max = h->takes_parts ? get32(f->ext) : SIZE_MAX;
    h->rules.groups_max = h->takes_parts ? get32(f->ext + 4) : SIZE_MAX;
    list_init(&h->node);
    list_push_back(&all->list, &h->node);
    all->count++;
    all->handlers->begun++;
    coro_start(all->vm, "onHandshake", call, h, &nobody, on_decided, h);
}

void handshakes_abandon(struct handshakes *all, const struct vm *vm)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &all->list) {
        struct handshake *h = LIST_ENTRY(node, struct handshake, node);

        if (vm && h->vm != vm)
            continue;
        h->status = 503;
        buf_clear(&h->answer);
        snprintf(h->reason, sizeof(h->reason), "cut off");
        finish(h);
    }
}
