/* resolve.h - looks a host's name up without holding up the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_RESOLVE_H
#define GW_NET_RESOLVE_H

#include <netdb.h>
#include <stdint.h>
#include <uv.h>

struct resolve;

/* err 0: found is a list of one address at least, which the callee owns
 * (uv_freeaddrinfo). Else found is NULL and err is one of libuv's UV_EAI_…. */
typedef void (*resolve_done_cb)(int err, struct addrinfo *found, void *arg);

/* Look host up (a name, or a numeric address), for stream sockets to that port.
 * done runs once, on a later turn; *out is gone then. 0, or -errno: done will
 * not run. */
int resolve_start(struct resolve **out, uv_loop_t *loop, const char *host,
    uint16_t port, resolve_done_cb done, void *arg);

/* done will not run. A look-up under way keeps the loop alive until the
 * resolver gives up. */
void resolve_cancel(struct resolve *r);

#endif /* GW_NET_RESOLVE_H */
