/* lsession.h - _SESSION and _SERVER: the data of the client that code serves.
 *
 * Globals in a client event, nil elsewhere. _SESSION is made from the client's
 * serialized session when it is first used, or as the last event left it; what
 * differs when the handler ends or waits is saved. _SERVER is made anew at each
 * use.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LSESSION_H
#define GW_LUALIB_LSESSION_H

#include <lua.h>
#include <stdbool.h>

#include "util/buf.h"
#include "wire/client_id.h"

void lsession_open(lua_State *L);

/* Whether id is the client that the running code serves. */
bool lsession_is_current(lua_State *L, const struct client_id *id);

/* Save _SESSION now if it was changed. Call it before what may wait begins:
 * raises if something in it cannot be saved. */
void lsession_flush(lua_State *L);

/* The session of the client that is served becomes these serialized bytes, here
 * and at its gateway. Push true, or nil, message, code; their number. */
int lsession_replace(lua_State *L, const struct buf *value);

/* The same, with the serialized array merged into it as PHP does. */
int lsession_merge(lua_State *L, const struct buf *over);

/* Push nil, message, code: a session of so many bytes is refused. Returns 3. */
int lsession_fail_too_large(lua_State *L, size_t size, size_t max);

#endif /* GW_LUALIB_LSESSION_H */
