/* handshakes.h - a gateway asks whether somebody may become a client, and the
 * script's onHandshake decides.
 *
 * The table that it may return is read by lualib, which knows how Lua values
 * are written.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_HANDSHAKES_H
#define GW_WORKER_HANDSHAKES_H

#include <lua.h>
#include <stddef.h>

#include "util/buf.h"
#include "util/list.h"
#include "wire/frame.h"
#include "worker/gateways.h"
#include "worker/handlers.h"

/* being decided about; more are refused with 503 */
#define HANDSHAKES_MAX 10000

/* What this client may be given. */
struct handshakes_rules {
    const char *offered; /* subprotocols, as it sent them; NULL: none */
    size_t session_max;  /* bytes */
    size_t groups_max;
};

/* Append the table at index to out (wire/answer.h). NULL, or what is wrong with
 * it: then the text is pushed, and out is of no use. Raises only when memory is
 * out. */
typedef const char *(*handshakes_read_fn)(lua_State *L, int index,
    const struct handshakes_rules *rules, struct buf *out);

/* Set once per state. */
void handshakes_set_reader(lua_State *L, handshakes_read_fn read);

/* Those that the script decides about just now. Embedded in the worker. */
struct handshakes {
    struct gateways *gateways; /* borrowed */
    struct handlers *handlers; /* borrowed */
    struct vm *vm; /* borrowed; where handlers begin, NULL while none may */
    struct list list;
    size_t count;
};

void handshakes_init(struct handshakes *all, struct gateways *gateways,
    struct handlers *handlers);

/* Ask the script about a request of that gateway; gateways_answer() follows. f
 * is borrowed during the call. */
void handshakes_ask(struct handshakes *all, struct gateways_address from,
    const struct frame *f);

/* Refuse what vm has not decided yet, NULL: what none has; its handlers are cut
 * off. */
void handshakes_abandon(struct handshakes *all, const struct vm *vm);

#endif /* GW_WORKER_HANDSHAKES_H */
