/* dispatch.h - what libraries may ask about the client whose event runs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_DISPATCH_H
#define GW_WORKER_DISPATCH_H

#include <lua.h>

#include "util/list.h"

/* Embedded by whoever wants to know while a handler waits that its client is
 * gone, and ended with list_remove(&watch->node) when the handler ends at the
 * latest. */
struct dispatch_watch {
    struct list node;
    /* The client's close event has come; it waits for the handler to end. Of
     * several watches of a handler only the first is told. watch->node is the
     * callee's to remove. At the end of a turn. */
    void (*gone)(struct dispatch_watch *watch);
};

/* Watch the client whose event runs L. 0; -ENOTCONN: it is gone already, no
 * watch begins; -EINVAL: none is served here. */
int dispatch_watch_client(lua_State *L, struct dispatch_watch *watch);

#endif /* GW_WORKER_DISPATCH_H */
