/* lnumber.h - numbers as text, wherever gwrun makes text of them: messages,
 * words for Redis, JSON, keys, parameters.
 *
 * An integer is written as one, and so is a float without a fraction (7.0 is
 * "7", as in PHP and JavaScript), because cjson.decode and arithmetic make
 * floats of ids. Any other float is the shortest text that reads back the same,
 * whatever the locale (wire/phpfloat.h). Lua's own conversions (.., tostring)
 * are left as they are.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LNUMBER_H
#define GW_LUALIB_LNUMBER_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"

/* The integer that the number at index is, also as a float (-0.0 is none).
 * False if it is not one of 64 bits. */
bool lnumber_integer(lua_State *L, int index, lua_Integer *out);

/* Append the text of the number at index, which is one. */
void lnumber_put(lua_State *L, int index, struct buf *out);

/* As lua_tolstring(), by these rules: NULL unless the value at index is a
 * string or a number; a number is replaced by its text. */
const char *lnumber_tolstring(lua_State *L, int index, size_t *len);

/* As luaL_checklstring(), by these rules. */
const char *lnumber_checklstring(lua_State *L, int arg, size_t *len);

#endif /* GW_LUALIB_LNUMBER_H */
