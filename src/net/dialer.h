/* dialer.h - connects to an address and tries again until it succeeds.
 *
 * A name is looked up before each try, without holding up the loop: a container
 * that comes back may have another address. Its addresses are tried one after
 * the other.
 *
 * The first try is immediate; then after 0.1 s, doubling up to 5 s, each with
 * full jitter (a restarted peer is not stormed). A connection that lasts 5 s
 * resets it; a peer that accepts and closes is not stormed either.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_DIALER_H
#define GW_NET_DIALER_H

#include <stdbool.h>
#include <stdint.h>

#include "net/turn.h"

struct dialer;

/* Connected, to the address or to the unix socket. The callee owns fd. The
 * dialer rests until dialer_retry(). */
typedef void (*dialer_connect_cb)(struct dialer *d, int fd, void *arg);

/* Start dialing "host:port"; NULL when it is none. A failure is logged once
 * until the next success. A connect that takes longer than 3 s counts as
 * failed. */
struct dialer *dialer_open(uv_loop_t *loop, const char *address,
    dialer_connect_cb connect_cb, void *arg);

/* Try the unix socket at path (copied) first, each time. Where only the address
 * itself answers, that is a line in the log. Before the first try. */
void dialer_prefer(struct dialer *d, const char *path);

/* Has it failed since it was last connected? */
bool dialer_has_failed(const struct dialer *d);

/* Wait at most ms between tries, instead of 5 s. */
void dialer_limit_wait(struct dialer *d, uint64_t ms);

/* The connection was lost: dial again, after a short jittered wait. */
void dialer_retry(struct dialer *d);

/* Asynchronous; the callback will not run any more. A look-up under way keeps
 * the loop alive until the resolver gives up. */
void dialer_close(struct dialer *d);

/* This process and those whom it dials begin at the same time: who cannot be
 * reached in the next ms is not in the log yet. 0: all are at once, as at
 * first. */
void dialer_start_together(uint64_t ms);

#endif /* GW_NET_DIALER_H */
