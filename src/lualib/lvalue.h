/* lvalue.h - Lua values as PHP's serialize() has them, and how calls fail.
 *
 *   PHP                           Lua
 *   null inside an array          cjson.null, so that it survives a round trip
 *   null alone                    nil
 *   array with keys 0 … n-1       sequence 1 … n (and back)
 *   any other array               table with the same integer and string keys
 *   array with the text "0" as    the same: tables that are no sequences write
 *   the key 0                     the key 0 so
 *   object, enum, reference, …    nil: it is left out
 *
 * PHP knows no string key "7", it is the integer 7. Functions, userdata,
 * threads, tables with a metatable of the script's, cycles and keys that are
 * neither string nor integer cannot be written.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LVALUE_H
#define GW_LUALIB_LVALUE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"
#include "wire/phpser.h"

#define LVALUE_LEN_MAX (16 * 1024 * 1024) /* bytes written; more is refused */

/* Push the Lua value of serialized data. 0, or -errno of phpser_next() and
 * nothing pushed. Raises when out of memory. */
int lvalue_push(lua_State *L, const void *data, size_t len);

/* The same with tables that have the metatable of sessions: there t["42"] means
 * t[42], as in PHP. */
int lvalue_push_session(lua_State *L, const void *data, size_t len);

/* The same of what a gateway tells and no script has written: null inside an
 * array is nil there, so what is missing has no key. */
int lvalue_push_info(lua_State *L, const void *data, size_t len);

/* Push the Lua key of one that was read; list: the array is one. */
void lvalue_push_key(lua_State *L, const struct phpser_token *key, bool list);

/* Give the table on top that metatable. */
void lvalue_set_session(lua_State *L);

/* Append the value at index to out, keys in a fixed order (integers, then
 * strings by their bytes). NULL, or what is wrong with it: then the text is
 * pushed and names the place, as in "_SESSION.cart[3].price is a function,
 * which cannot be saved", and out is as it was. name is what the value is
 * called. */
const char *lvalue_put(
    lua_State *L, int index, struct buf *out, const char *name);

/* Append an element of a table that is called name: the key that is below the
 * top, which takes *key_len bytes, and the value on top. list: the table is
 * one. Errors as above. */
const char *lvalue_put_element(lua_State *L, struct buf *out, const char *name,
    bool list, size_t *key_len);

/* Push nil, message, code ("etimedout") and return 3. err is -errno. */
int lvalue_fail(lua_State *L, int err);

/* The same with a message of one's own, which is on top of the stack. */
int lvalue_fail_with(lua_State *L, int err);

/* Whether the keys of the table at the absolute index t are exactly 1 … *count;
 * counts the keys anyway. An empty table is a list of none. */
bool lvalue_is_list(lua_State *L, int t, size_t *count);

#endif /* GW_LUALIB_LVALUE_H */
