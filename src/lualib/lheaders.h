/* lheaders.h - the headers that a script sets of an answer: a table of names
 * and values, checked so that a mistake is the script's to read.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LHEADERS_H
#define GW_LUALIB_LHEADERS_H

#include <lua.h>
#include <stddef.h>

#include "util/buf.h"

#define LHEADERS_INHERITED \
    "behind __index of a metatable; put them into the table itself"

/* Append the table at index to out, whose parts (wire/answer.h) begin at offset
 * 4. NULL, or what is wrong with it: then the text is pushed. */
const char *lheaders_put(lua_State *L, int index, struct buf *out);

/* Text or a whole number, which becomes text in its place on the stack; or
 * NULL. */
const char *lheaders_text(lua_State *L, int index, size_t *len);

#endif /* GW_LUALIB_LHEADERS_H */
