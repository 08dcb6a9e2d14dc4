/* session.h - the session and server data of the client that code serves.
 *
 * The dispatcher keeps each client's session bytes; lualib turns them into
 * _SESSION on first use and hands changed bytes back.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_SESSION_H
#define GW_WORKER_SESSION_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/phpser.h"

/* How scripts' sessions are read and saved: set once per state by lualib. Both
 * run inside the event's coroutine. */
struct session_hooks {
    /* The handler of this coroutine is about to wait: if _SESSION was touched
     * and differs, call session_save(). Raises for a value that cannot be
     * saved. */
    void (*flush)(lua_State *L);
    /* The same as it ends. */
    void (*end)(lua_State *L);
    /* Push the Lua value of a serialized one. Raises when data is malformed. */
    void (*push_value)(lua_State *L, const void *data, size_t len);
    /* The same of what a gateway tells: what is null has no key. */
    void (*push_info)(lua_State *L, const void *data, size_t len);
    /* The same of a session. */
    void (*push_session)(lua_State *L, const void *data, size_t len);
};
/* hooks is borrowed. */
void session_set_hooks(lua_State *L, const struct session_hooks *hooks);

/* The serialized session that the running event began with, or that was saved
 * last; borrowed until the next call of anything. len 0: none. */
const uint8_t *session_bytes(lua_State *L, size_t *len);

/* Tells what is made of the session of the running event from what is made of
 * others. number 0: nothing can be kept for its next event. */
struct session_id {
    uint64_t number;  /* the same for each event of a client */
    uint64_t version; /* another one once somebody else has changed it; 0:
                         nobody has, since it was empty */
};
struct session_id session_id(lua_State *L);

/* The largest session that the gateway of the running event's client takes,
 * bytes. */
size_t session_max(lua_State *L);

/* Change the session of the client of the running event, at its gateway and for
 * its next events. 0; -EMSGSIZE: it would be *size bytes; -ENOTCONN or
 * -ENOBUFS, which is logged: its gateway did not take it; or as phpser_apply().
 * A client that is gone has no session to save. */
int session_save(lua_State *L, const struct phpser_patch *patch, size_t *size);

#endif /* GW_WORKER_SESSION_H */
