/* lreading.h - reading a table that a script has returned.
 *
 * Without metamethods, so that no code of the script's runs meanwhile. What is
 * wrong with it becomes a message with the key's name, for people.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LREADING_H
#define GW_LUALIB_LREADING_H

#include <lauxlib.h>
#include <stdbool.h>

#include "util/buf.h"
#include "worker/handshakes.h"

struct lreading {
    lua_State *L;
    int t;                                /* the table is at this index */
    const struct handshakes_rules *rules; /* what its gateway takes */
    struct buf *out; /* gets what was read; of no use once something is wrong */
};

/* Say that something is wrong: pushes the text, and has it as its value. */
#define LREADING_WRONG(r, ...) lua_pushfstring((r)->L, __VA_ARGS__)

/* Push the value of a key; its type. */
int lreading_get(const struct lreading *r, const char *key);

/* Is it there? */
bool lreading_has(const struct lreading *r, const char *key);

/* The keys that a table may have. */
struct lreading_keys {
    const char *const *names; /* NULL-terminated */
    /* Words of messages: "KEY is a number; GIVE", "UNKNOWN "uidd"; GIVE", "KEYS
     * behind __index …". */
    const char *key, *unknown, *keys, *give;
};

/* Has the table others? NULL: no; else what is wrong, pushed. */
const char *lreading_check(
    const struct lreading *r, const struct lreading_keys *keys);

#endif /* GW_LUALIB_LREADING_H */
