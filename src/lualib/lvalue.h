/* lvalue.h - Lua values as PHP's serialize() has them, and how calls fail.
 *
 *   PHP                           Lua
 *   null inside an array          cjson.null, so that it survives a round trip
 *   null alone                    nil
 *   array with keys 0 … n-1       sequence 1 … n (and back)
 *   any other array               table with the same integer and string keys
 *
 * PHP knows no string key "7", it is the integer 7. Functions, userdata,
 * threads, tables with a metatable, cycles and keys that are neither string nor
 * integer cannot be written.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LVALUE_H
#define GW_LUALIB_LVALUE_H

#include <lua.h>
#include <stddef.h>

#include "util/buf.h"

#define LVALUE_LEN_MAX (16 * 1024 * 1024) /* bytes written; more is refused */

/* Push the Lua value of serialized data. 0, or -errno of phpser_next() and
 * nothing pushed. Raises when out of memory. */
int lvalue_push(lua_State *L, const void *data, size_t len);

/* Append the value at index to out, keys in a fixed order (integers, then
 * strings by their bytes). NULL, or what is wrong with it: then the text is
 * pushed and names the place, as in "_SESSION.cart[3].price is a function,
 * which cannot be saved", and out is as it was. name is what the value is
 * called. */
const char *lvalue_put(
    lua_State *L, int index, struct buf *out, const char *name);

/* Push nil, message, code ("etimedout") and return 3. err is -errno. */
int lvalue_fail(lua_State *L, int err);

/* The same with a message of one's own, which is on top of the stack. */
int lvalue_fail_with(lua_State *L, int err);

#endif /* GW_LUALIB_LVALUE_H */
