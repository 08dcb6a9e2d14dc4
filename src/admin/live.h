/* live.h - pages that watch: each gets an event a second while it is open.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_LIVE_H
#define GW_ADMIN_LIVE_H

#include <uv.h>

#include "clients/port.h"
#include "wire/ctlmsg.h"

#define LIVE_MAX 32   /* pages at a time */
#define LIVE_MS  1000 /* between two events */

struct live;

/* make returns a new value, what they are shown, for as long as there is a
 * page.
 */
struct live *live_new(uv_loop_t *loop, json_t *(*make)(void *arg), void *arg);

/* After all pages are gone. Asynchronous. */
void live_close(struct live *l);

/* A page has an event stream on port. The pointer that live_leave() takes, or
 * NULL: there are too many. */
void *live_join(struct live *l, struct port *port, struct client_conn *c);
void live_leave(void *page);

#endif /* GW_ADMIN_LIVE_H */
