/* outlook.h - which cells there are beside this one, for the operators' page.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_OUTLOOK_H
#define GW_GATEWAY_OUTLOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "engine/look.h"
#include "proc/pages.h"

/* Of one gateway. outlook_fini() ends it, after its engine is closed. */
struct outlook {
    struct looker looker;
    uv_loop_t *loop;         /* borrowed */
    const char *cell;        /* borrowed; this one's name */
    uint64_t asked_at;       /* ms; 0: never */
    struct page_cells *seen; /* owned; NULL: all was taken */
};

void outlook_init(struct outlook *o, uv_loop_t *loop, struct engine *engine,
    const char *cell);
void outlook_fini(struct outlook *o);

/* True, and the cells, when the engine's server has told them since the last
 * call. Asks it for newer ones each ENGINE_REFRESH seconds, and never waits. */
bool outlook_take(struct outlook *o, struct page_cells *out);

#endif /* GW_GATEWAY_OUTLOOK_H */
