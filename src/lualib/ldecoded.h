/* ldecoded.h - a client's session as a Lua table, and what a script changed in
 * it.
 *
 * The table is a plain one, so that nothing tells when a script writes to it:
 * beside it lies a copy of what is saved. Keys that look like integers are
 * integers, as in PHP: a metatable makes t["42"] mean t[42].
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LDECODED_H
#define GW_LUALIB_LDECODED_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/list.h"

/* A userdata. User values: the table, the copy, the set of keys under which the
 * script put tables of its own (or nil). */
struct ldecoded {
    struct list node;         /* the owner's */
    uint64_t number, version; /* the owner's */
    size_t size;              /* the owner's */
    size_t count;    /* elements of the table, as ldecoded_diff() found it */
    size_t saved;    /* elements of the copy … */
    bool saved_list; /* … which are 1 … saved, and 0 … saved - 1 to PHP */
    bool list;       /* the table is one, likewise found */
    bool replaced;   /* the table is the script's own; nothing of it is saved */
    bool foreign;    /* the table is the script's own, or has its keys */
};

/* Push one made of a serialized session; an empty one when it is no array. */
struct ldecoded *ldecoded_push(lua_State *L, const void *data, size_t len);

/* The rest takes the one that is on top of the stack. */

/* Push its table. */
void ldecoded_push_table(lua_State *L);

/* The table on top, which is popped, is the session from now on. */
void ldecoded_use(lua_State *L);

/* Give its table this content: all of it is saved. */
void ldecoded_refill(lua_State *L, const void *data, size_t len);

/* Whether it differs from what is saved, which is data when serialized. over
 * and gone get the changes, as phpser_apply() takes them; tell ldecoded_saved()
 * when they are saved. Raises when a value cannot be. */
bool ldecoded_diff(lua_State *L, const void *data, size_t len, struct buf *over,
    struct buf *gone);
void ldecoded_saved(
    lua_State *L, const struct buf *over, const struct buf *gone);

/* The handler is through, and all is saved: nothing that the script holds is
 * part of the session any more, but tables that it took out of it. */
void ldecoded_settle(lua_State *L);

#endif /* GW_LUALIB_LDECODED_H */
