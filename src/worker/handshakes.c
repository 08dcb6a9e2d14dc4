/* Events.onHandshake: the script decides who becomes a client. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/log.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

#define REASON_MAX 201 /* bytes of a refusal's reason, with its NUL; cut */

/* One request that a handler decides about. */
struct handshake {
    struct list node; /* in dispatch->handshakes */
    struct dispatch *d;
    const struct vm *vm; /* where the handler runs */
    struct gateways_address from;
    uint32_t number;       /* the gateway's, of this request */
    const struct frame *f; /* borrowed until the handler has its argument */
    unsigned status;       /* 0: let it in */
    char reason[REASON_MAX];
};

static void finish(struct handshake *h)
{
    struct dispatch *d = h->d;

    gateways_decide(d->gateways, h->from, h->number, h->status, h->reason);
    list_remove(&h->node);
    d->nhandshakes--;
    free(h);
}

static int raise_result(lua_State *L)
{
    return luaL_error(L,
        "onHandshake must return nothing or true to accept, false or a status "
        "from 400 to 599 (and a reason, a string) to refuse");
}

/* What the handler has returned: the two values on top. */
static int take_answer(lua_State *L, int status, lua_KContext ctx)
{
    struct handshake *h = (struct handshake *)ctx;
    bool refused = lua_isboolean(L, -2) && !lua_toboolean(L, -2);

    if (lua_isinteger(L, -2)) {
        lua_Integer code = lua_tointeger(L, -2);

        if (code < 400 || code > 599)
            return raise_result(L);
        h->status = (unsigned)code;
    } else if (refused) {
        h->status = 403;
    } else if (!lua_isnoneornil(L, -2) && !lua_isboolean(L, -2)) {
        return raise_result(L);
    }
    if (h->status == 0)
        return 0;
    if (lua_isstring(L, -1))
        snprintf(h->reason, sizeof(h->reason), "%s", lua_tostring(L, -1));
    else if (!lua_isnil(L, -1))
        return raise_result(L);
    for (char *p = h->reason; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    return 0;
}

/* The coroutine's body. */
static int call(lua_State *L)
{
    struct handshake *h = lua_touserdata(L, 1);

    /* The script may have been replaced since the gateway asked. */
    if (!callbacks_push(L, "onHandshake"))
        return 0;
    events_push_value(L, h->f->body, h->f->body_len);
    lua_callk(L, 1, 2, (lua_KContext)h, take_answer);
    return take_answer(L, LUA_OK, (lua_KContext)h);
}

static void on_decided(const char *error, void *arg)
{
    struct handshake *h = arg;

    if (error) {
        h->status = 500;
        h->reason[0] = '\0';
        if (dispatch_count_failure(h->d)) {
            log_error("handler failed event=onHandshake");
            log_block(LOG_ERROR, error);
        }
    }
    finish(h);
}

void handshakes_ask(
    struct dispatch *d, struct gateways_address from, const struct frame *f)
{
    static const struct coro_client nobody = {.nobody = true};
    struct handshake *h;

    if (!d->vm || d->nhandshakes >= DISPATCH_HANDSHAKES_MAX) {
        gateways_decide(
            d->gateways, from, f->connection_id, 503, "nobody can decide now");
        return;
    }
    h = xcalloc(1, sizeof(*h));
    h->d = d;
    h->vm = d->vm;
    h->from = from;
    h->number = f->connection_id;
    h->f = f;
    list_init(&h->node);
    list_push_back(&d->handshakes, &h->node);
    d->nhandshakes++;
    d->events++;
    coro_start(d->vm, "onHandshake", call, h, &nobody, on_decided, h);
}

void handshakes_abandon(struct dispatch *d, const struct vm *vm)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &d->handshakes) {
        struct handshake *h = LIST_ENTRY(node, struct handshake, node);

        if (vm && h->vm != vm)
            continue;
        h->status = 503;
        snprintf(h->reason, sizeof(h->reason), "cut off");
        finish(h);
    }
}
