/* lbuf.h - a buffer that Lua frees, for what is written by code that may raise.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LBUF_H
#define GW_LUALIB_LBUF_H

#include <lua.h>

#include "util/buf.h"

/* Push a userdata and return the empty buffer in it; both live equally long. */
struct buf *lbuf_push(lua_State *L);

#endif /* GW_LUALIB_LBUF_H */
