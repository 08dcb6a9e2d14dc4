/* The call of the script's callback for one event, inside its coroutine. */
#include "worker/events.h"

#include <lauxlib.h>

#include "worker/mailboxes.h"
#include "worker/session.h"
#include "worker/vm_impl.h"

const char *events_callback(uint8_t cmd)
{
    switch (cmd) {
    case FRAME_ON_CONNECT:
        return "onConnect";
    case FRAME_ON_WEBSOCKET_CONNECT:
        return "onWebSocketConnect";
    case FRAME_ON_MESSAGE:
        return "onMessage";
    case FRAME_BOUND:
        return "onClientBound";
    case FRAME_ON_CLOSE:
        return "onClose";
    default:
        return NULL;
    }
}

void events_push_info(lua_State *L, const uint8_t *data, size_t len)
{
    const struct session_hooks *hooks = vm_of(L)->session;

    if (len > 0 && hooks->push_info)
        hooks->push_info(L, data, len);
    else
        lua_pushnil(L);
}

/* A message (text, or what a PHP gateway's protocol has made of it), or what a
 * gateway tells. */
static void push_body(lua_State *L, const struct frame *f)
{
    const struct session_hooks *hooks = vm_of(L)->session;

    if (f->flag & FRAME_FLAG_STRING)
        lua_pushlstring(L, (const char *)f->body, f->body_len);
    else if (f->cmd != FRAME_ON_MESSAGE)
        events_push_info(L, f->body, f->body_len);
    else if (f->body_len > 0 && hooks->push_value)
        hooks->push_value(L, f->body, f->body_len);
    else
        lua_pushnil(L);
}

static void push_session(lua_State *L, const struct mailbox *m)
{
    const struct session_hooks *hooks = vm_of(L)->session;

    if (m->session_len > 0 && hooks->push_session)
        hooks->push_session(L, m->session, m->session_len);
    else
        lua_pushnil(L);
}

static void set_word(lua_State *L, const char *key, const char *word)
{
    lua_pushstring(L, word);
    lua_setfield(L, -2, key);
}

/* onClose's second argument. What is in there comes from gwrun's gateways;
 * PHP's send an empty body. */
static void push_close_info(lua_State *L, const struct mailbox *m)
{
    const struct event *e = m->event;

    push_body(L, &e->f);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    if (e->lost) {
        set_word(L, "by", "lost");
        set_word(L, "cause", "gateway_lost");
    }
    if (lua_getfield(L, -1, "certain") == LUA_TNIL) { /* else it says no */
        lua_pushboolean(L, !e->uncertain);
        lua_setfield(L, -3, "certain");
    }
    lua_pop(L, 1);
    push_session(L, m);
    lua_setfield(L, -2, "session");
}

/* onMessage's third argument: true, false for text, nil where the client's port
 * has no types or its gateway does not tell. */
static void push_type(lua_State *L, uint8_t flag)
{
    if (flag & FRAME_FLAG_TYPES)
        lua_pushboolean(L, flag & FRAME_FLAG_BINARY);
    else
        lua_pushnil(L);
}

/* Push the arguments behind the client id; their number. */
static int push_details(lua_State *L, const struct mailbox *m)
{
    const struct frame *f = &m->event->f;

    switch (f->cmd) {
    case FRAME_ON_CONNECT:
    case FRAME_BOUND:
        return 0;
    case FRAME_ON_CLOSE:
        push_close_info(L, m);
        return 1;
    case FRAME_ON_MESSAGE:
        push_body(L, f);
        push_type(L, f->flag);
        return 2;
    default:
        push_body(L, f);
        return 1;
    }
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
