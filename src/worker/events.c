/* The call of the script's callback for one event, inside its coroutine. */
#include <lauxlib.h>

#include "worker/dispatch_impl.h"

const char *events_callback(uint8_t cmd)
{
    switch (cmd) {
    case FRAME_ON_CONNECT:
        return "onConnect";
    case FRAME_ON_WEBSOCKET_CONNECT:
        return "onWebSocketConnect";
    case FRAME_ON_MESSAGE:
        return "onMessage";
    case FRAME_ON_CLOSE:
        return "onClose";
    default:
        return NULL;
    }
}

void events_push_value(lua_State *L, const uint8_t *data, size_t len)
{
    const struct session_hooks *hooks = &vm_of(L)->session;

    if (len > 0 && hooks->push_value)
        hooks->push_value(L, data, len);
    else
        lua_pushnil(L);
}

static void push_body(lua_State *L, const struct frame *f)
{
    if (f->flag & FRAME_FLAG_STRING)
        lua_pushlstring(L, (const char *)f->body, f->body_len);
    else
        events_push_value(L, f->body, f->body_len);
}

/* onClose's second argument. uid, groups, code and reason come from gwrun's
 * gateways; PHP's send an empty body. */
static void push_close_info(lua_State *L, const struct mailbox *m)
{
    const struct event *e = m->event;

    push_body(L, &e->f);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    if (e->lost) {
        lua_pushliteral(L, "gateway_lost");
        lua_setfield(L, -2, "reason");
    }
    events_push_value(L, m->session, m->session_len);
    lua_setfield(L, -2, "session");
}

/* Push the arguments behind the client id; their number. */
static int push_details(lua_State *L, const struct mailbox *m)
{
    const struct frame *f = &m->event->f;

    if (f->cmd == FRAME_ON_CONNECT)
        return 0;
    if (f->cmd == FRAME_ON_CLOSE)
        push_close_info(L, m);
    else
        push_body(L, f);
    return 1;
}

int events_call(lua_State *L)
{
    const struct mailbox *m = lua_touserdata(L, 1);
    char id[CLIENT_ID_LEN + 1];

    if (!callbacks_push(L, events_callback(m->cmd)))
        return 0;
    client_id_format(id, &m->client.id);
    lua_pushlstring(L, id, CLIENT_ID_LEN);
    lua_callk(L, 1 + push_details(L, m), 0, 0, session_end);
    return session_end(L, LUA_OK, 0);
}
