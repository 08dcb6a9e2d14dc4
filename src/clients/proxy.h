/* proxy.h - connections of trusted proxies, until the header of the PROXY
 * protocol has said whom they speak for.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_PROXY_H
#define GW_CLIENTS_PROXY_H

#include <stdint.h>
#include <uv.h>

#include "net/addr.h"
#include "util/list.h"

/* Embedded in the port, which sets all but the list and calls proxy_init(). */
struct proxy {
    struct list waiting; /* the oldest first */
    uv_loop_t *loop;     /* borrowed */
    uint64_t patience;   /* ms for a header */
    /* fd, now the callee's, speaks for client. */
    void (*on_client)(int fd, const union addr *client, void *arg);
    /* fd, now the callee's, is not wanted; why NULL: it left by itself. */
    void (*on_end)(int fd, const union addr *proxy, const char *why, void *arg);
    void *arg; /* borrowed */
};

void proxy_init(struct proxy *p);
/* Wait for the header of fd, a connection from a trusted proxy. 0, or -errno:
 * fd is still the caller's. */
int proxy_accept(struct proxy *p, int fd, const union addr *peer);
/* End those that are due. */
void proxy_sweep(struct proxy *p, uint64_t now);
/* End all. */
void proxy_fini(struct proxy *p);

#endif /* GW_CLIENTS_PROXY_H */
