/* ljson.h - gwrun.json: JSON text and Lua values.
 *
 *   JSON            Lua
 *   null            json.null (a light userdata, the same as cjson.null)
 *   12              integer, when it fits in 64 bits; else float, as 12.0 is
 *   [1, 2]          sequence
 *   []              empty table that json.array() marked
 *   {"1": 2}        table with string keys
 *
 * Any other empty table is {}; one with string keys is an object. So is one
 * with gaps, unless json.array() marked it or it came from []: then they are
 * null.
 *
 * Own code, for no library does this: lua-cjson 2.1 makes floats of integers,
 * writing 2^53 as 9.007199254741e+15, and {} of []. jansson refuses what
 * scripts meet (integers of more than 64 bits, half a surrogate pair, text that
 * is not UTF-8), and a message by way of its tree costs three times as much.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LJSON_H
#define GW_LUALIB_LJSON_H

#include <lua.h>

#define LJSON_DEPTH_MAX  128                /* tables in tables */
#define LJSON_LEN_MAX    (64 * 1024 * 1024) /* bytes written; more raises */
#define LJSON_ARRAY_TYPE "gwrun.json.array" /* metatable of marked arrays */

/* Push the module. */
void ljson_push(lua_State *L);

/* Push its encode(value), of a state in which the module was pushed before. */
void ljson_push_encode(lua_State *L);

#endif /* GW_LUALIB_LJSON_H */
