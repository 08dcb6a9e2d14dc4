/* lcopy.h - plain values from one Lua state to another.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_LCOPY_H
#define GW_TESTING_LCOPY_H

#include <lua.h>

#define LCOPY_DEPTH_MAX 64 /* tables in tables */

/* Push copies of the count values from index first of the state from (absolute
 * indices). Functions, userdata and threads cannot be copied, metatables are
 * not. Raises in to, which then has changed; also from may have more on its
 * stack than before. Nothing is raised in from. */
void lcopy_values(lua_State *to, lua_State *from, int first, int count);

#endif /* GW_TESTING_LCOPY_H */
