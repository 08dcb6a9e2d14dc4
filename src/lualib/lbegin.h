/* lbegin.h - what a script gives a client to begin with: its session, uid and
 * groups, in a table that onHandshake or onRequest returns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LBEGIN_H
#define GW_LUALIB_LBEGIN_H

#include <lua.h>

#include "util/buf.h"
#include "worker/handshakes.h"

/* Append session, uid and groups of the table at index t, a positive one, to
 * out (wire/answer.h). NULL, or what is wrong: then the text is pushed. */
const char *lbegin_put(
    lua_State *L, int t, const struct handshakes_rules *rules, struct buf *out);

#endif /* GW_LUALIB_LBEGIN_H */
