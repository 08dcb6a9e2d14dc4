/* beyond.h - the gateways of all cells, as a list for PHP's GatewayClient.
 *
 * Those that nobody can reach from elsewhere are left out: with loopback, or a
 * cell's number in place of an address (engine.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_REGISTER_BEYOND_H
#define GW_REGISTER_BEYOND_H

#include "engine/engine.h"
#include "net/turn.h"
#include "util/buf.h"

struct beyond;

/* changed is called on later turns. All is borrowed. NULL, and a line in err:
 * the engine cannot be used. */
struct beyond *beyond_open(struct turn *turn, const struct engine_conf *conf,
    void (*changed)(void *arg), void *arg, char err[ENGINE_ERROR_SIZE]);

/* NULL is allowed. */
void beyond_close(struct beyond *b);

/* The register's message with the list, as it was known last; valid until the
 * next turn. */
const struct buf *beyond_line(struct beyond *b);

#endif /* GW_REGISTER_BEYOND_H */
