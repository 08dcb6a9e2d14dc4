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

/* How scripts' sessions are read and saved: set once per state by lualib. Both
 * run inside the event's coroutine. */
struct session_hooks {
    /* The handler of this coroutine ended or is about to wait: if _SESSION was
     * touched and differs, call session_save(). Raises for a value that cannot
     * be saved. */
    void (*flush)(lua_State *L);
    /* Push the Lua value of a serialized one. Raises when data is malformed. */
    void (*push_value)(lua_State *L, const void *data, size_t len);
};
void session_set_hooks(lua_State *L, const struct session_hooks *hooks);

/* The serialized session that the running event began with, or that was saved
 * last; borrowed until the next call of anything. len 0: none. */
const uint8_t *session_bytes(lua_State *L, size_t *len);

/* Save for the client of the running event: SET_SESSION to its gateway, and the
 * bytes that its next events see until the gateway sends newer ones. */
void session_save(lua_State *L, const void *data, size_t len);

#endif /* GW_WORKER_SESSION_H */
