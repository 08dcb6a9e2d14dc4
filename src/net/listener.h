/* listener.h - accepts connections on a listening socket and hands them on.
 *
 * The socket is bound elsewhere (the master, or listener_bind()), so that a
 * port in use is one clear error before anything starts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_LISTENER_H
#define GW_NET_LISTENER_H

#include <stdbool.h>

#include "net/addr.h"
#include "net/turn.h"

#define LISTENER_BACKLOG 4096 /* pending connects; the kernel caps it */

struct listener;

/* A new connection. The callee owns fd (non-blocking, close-on-exec). peer is
 * borrowed; family AF_UNIX without a path for unix sockets. */
typedef void (*listener_accept_cb)(
    struct listener *l, int fd, const union addr *peer, void *arg);

/* Bind a TCP socket (non-blocking, close-on-exec, not listening). share lets
 * several sockets bind the same port, each with its own queue (SO_REUSEPORT).
 * The descriptor, or -errno. Port 0 lets the kernel choose. */
int listener_bind(const union addr *addr, bool share);

/* Bind a unix stream socket at path, mode 0600, replacing a stale one. The
 * descriptor, or -errno. */
int listener_bind_unix(const char *path);

/* Listen on fd and call accept_cb for every connection. Takes ownership of fd
 * on success. 0 or -errno. */
int listener_open(struct listener **out, uv_loop_t *loop, int fd,
    listener_accept_cb accept_cb, void *arg);

/* Accept at most so many a second, after a burst of a twentieth of them; the
 * others wait in the kernel's queue. 0, as in the beginning: any number. */
void listener_set_rate(struct listener *l, size_t per_second);

/* The connection just accepted was refused at once: it counts a tenth. */
void listener_refund(struct listener *l);

/* The address it is bound to. */
int listener_addr(const struct listener *l, union addr *out);

/* Stop. Asynchronous: l is freed when libuv has closed the handle; the caller
 * must not touch it again. */
void listener_close(struct listener *l);

/* The same for a socket that other processes hold, too: whoever connects to it
 * is refused from now on, until one of them listens again. */
void listener_refuse(struct listener *l);

#endif /* GW_NET_LISTENER_H */
