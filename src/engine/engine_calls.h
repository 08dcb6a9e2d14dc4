/* engine_calls.h - what other files of this folder do by an engine's connection
 * for commands.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_ENGINE_CALLS_H
#define GW_ENGINE_ENGINE_CALLS_H

#include "engine/cells.h"
#include "engine/engine.h"
#include "net/addr.h"
#include "upstream/redis.h"

/* Send one command. done runs on a later turn, unless the engine is closed
 * before. 0 or -ENOBUFS. */
int engine_call(struct engine *e, const struct buf *command,
    redis_reply_cb done, void *arg);

/* What its process is in the cell's record; address is its memory. */
struct cells_self engine_self(
    const struct engine *e, char address[ADDR_TEXT_SIZE]);

#endif /* GW_ENGINE_ENGINE_CALLS_H */
