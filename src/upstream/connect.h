/* connect.h - one connection to a host by name, or to a unix socket.
 *
 * Names are looked up without blocking the loop; their addresses are tried one
 * after the other. For inner links see net/dialer.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_CONNECT_H
#define GW_UPSTREAM_CONNECT_H

#include <stdint.h>
#include <uv.h>

struct connect;

/* err 0: connected, the callee owns fd. Else -errno, or libuv's UV_EAI_…. */
typedef void (*connect_done_cb)(int err, int fd, void *arg);

/* Connect to host (a name, a numeric address, or "/path" of a unix socket)
 * within ms. done runs once, on a later turn; the connect is gone then. */
struct connect *connect_start(uv_loop_t *loop, const char *host, uint16_t port,
    uint64_t ms, connect_done_cb done, void *arg);

/* Give it up: done will not run. */
void connect_cancel(struct connect *c);

#endif /* GW_UPSTREAM_CONNECT_H */
