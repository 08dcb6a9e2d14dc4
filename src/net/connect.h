/* connect.h - one connection to a host by name, to an address, or to a unix
 * socket.
 *
 * Names are looked up without holding up the loop; their addresses are tried
 * one after the other. For a connection that is made again and again see
 * net/dialer.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_CONNECT_H
#define GW_NET_CONNECT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct connect;

/* err 0: connected, the callee owns fd. Else -errno, or libuv's UV_EAI_…. */
typedef void (*connect_done_cb)(int err, int fd, void *arg);

/* How long it may take. */
struct connect_limit {
    uint64_t ms;
    bool each; /* of a name's addresses, and not all of them with the look-up */
};

/* Connect to host (a name, a numeric address, or the path of a unix socket,
 * which has a slash). done runs once, on a later turn; the connect is gone
 * then. */
struct connect *connect_start(uv_loop_t *loop, const char *host, uint16_t port,
    struct connect_limit limit, connect_done_cb done, void *arg);

/* Give it up: done will not run. */
void connect_cancel(struct connect *c);

#endif /* GW_NET_CONNECT_H */
