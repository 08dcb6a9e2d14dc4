/* loptions.h - the options of Gateway's sends and closes: a table where
 * GatewayWorker has raw, which may still stand there alone.
 *
 * A table is read where it is, at every call: a script may keep one and use it
 * again, and nothing is allocated for it. What is wrong in it raises "bad
 * argument #n to 'sendToClient' (…)".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_LUALIB_LOPTIONS_H
#define GW_LUALIB_LOPTIONS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/label.h"
#include "wire/wsframe.h"

/* What a call takes. */
enum loptions_call {
    LOPTIONS_SEND = 1,       /* raw, binary, event, id */
    LOPTIONS_CLOSE = 2,      /* also code and reason */
    LOPTIONS_CLOSE_MANY = 4, /* … and timeout, which lua/gateway.lua reads */
    LOPTIONS_JOIN = 8,       /* wait, timeout */
    LOPTIONS_BIND = 16,      /* … and exclusive */
};

struct loptions {
    uint8_t flag; /* for the frame: FRAME_FLAG_RAW or one of FRAME_FLAG_TYPES */
    /* Borrowed from the table. Code 0: neither code nor reason is given. */
    struct wsframe_close close;
    struct label label; /* likewise; both lengths 0: there is none */
    bool wait, exclusive;
    double timeout; /* seconds; 0: not given */
};

/* Those at arg: a table, raw alone (of joins and binds not), or nothing. */
void loptions_read(
    lua_State *L, int arg, enum loptions_call call, struct loptions *out);

#endif /* GW_LUALIB_LOPTIONS_H */
