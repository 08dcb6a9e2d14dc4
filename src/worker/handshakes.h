/* handshakes.h - the table that a script's onHandshake may return.
 *
 * The worker asks the script and tells the gateway; lualib, which knows how Lua
 * values are written, reads the table.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_HANDSHAKES_H
#define GW_WORKER_HANDSHAKES_H

#include <lua.h>
#include <stddef.h>

#include "util/buf.h"

/* What this client may be given. */
struct handshakes_rules {
    const char *offered; /* subprotocols, as it sent them; NULL: none */
    size_t session_max;  /* bytes */
    size_t groups_max;
};

/* Append the table at index to out (wire/answer.h). NULL, or what is wrong with
 * it: then the text is pushed, and out is of no use. Raises only when memory is
 * out. */
typedef const char *(*handshakes_read_fn)(lua_State *L, int index,
    const struct handshakes_rules *rules, struct buf *out);

/* Set once per state. */
void handshakes_set_reader(lua_State *L, handshakes_read_fn read);

#endif /* GW_WORKER_HANDSHAKES_H */
