/* lfields.h - the fields of the table that the Lua half of a module hands to
 * its core, at index 1.
 *
 * The Lua half has checked them; what is wrong all the same raises. Strings are
 * left on the stack, and so stay alive for as long as the call.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LFIELDS_H
#define GW_LUALIB_LFIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL: there is none. len may be NULL. */
const char *lfields_string(lua_State *L, const char *name, size_t *len);

double lfields_number(lua_State *L, const char *name);
uint64_t lfields_ms(lua_State *L, const char *name); /* given in seconds */
bool lfields_flag(lua_State *L, const char *name);

/* The strings of a list of at most max, whose memory stays on the stack, too;
 * their number. */
size_t lfields_strings(
    lua_State *L, const char *name, size_t max, const char *const **out);

#endif /* GW_LUALIB_LFIELDS_H */
