/* requests.h - what lualib does for Events.onRequest: it makes the request a
 * Lua value, and an answer of what the script returns. For calls of the push
 * API it has a function in the script's place.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_REQUESTS_H
#define GW_WORKER_REQUESTS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "worker/handshakes.h"

struct requests_hooks {
    /* Push the request in these bytes (wire/httpcall.h). Raises when they are
     * not valid. */
    void (*push)(lua_State *L, const uint8_t *data, size_t len);
    /* Append what the script returned, the three values on top, to out
     * (wire/answer.h); rules are those for a client, should it become one.
     * NULL, or what is wrong with it: then the text is pushed, and out is of no
     * use. Raises when memory is out, or a value cannot be written as JSON. */
    const char *(*read)(
        lua_State *L, const struct handshakes_rules *rules, struct buf *out);
    /* Push the function that answers calls of the push API: it gets the
     * request and the caller's rights, a text, and returns what onRequest may.
     */
    void (*push_api)(lua_State *L);
};

/* Set once per state; hooks is borrowed. */
void requests_set_hooks(lua_State *L, const struct requests_hooks *hooks);

#endif /* GW_WORKER_REQUESTS_H */
