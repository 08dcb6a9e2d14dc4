/* lresponse.h - what onRequest returns, as gateways take it.
 *
 *   status, headers | nil, body | nil
 *   { status =, headers =, body = | json = | redirect = }
 *   { stream = "sse", headers =, session =, uid =, groups = }
 *   text
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LRESPONSE_H
#define GW_LUALIB_LRESPONSE_H

#include <lua.h>

#include "util/buf.h"
#include "worker/handshakes.h"

/* As read of struct requests_hooks: the three values on top. */
const char *lresponse_read(
    lua_State *L, const struct handshakes_rules *rules, struct buf *out);

#endif /* GW_LUALIB_LRESPONSE_H */
