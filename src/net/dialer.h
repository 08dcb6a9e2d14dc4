/* dialer.h - connects to an address and tries again until it succeeds.
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

#include "net/addr.h"
#include "net/turn.h"

struct dialer;

/* Connected. The callee owns fd. The dialer rests until dialer_retry(). */
typedef void (*dialer_connect_cb)(struct dialer *d, int fd, void *arg);

/* Start dialing; a failure is logged once until the next success. A connect
 * that takes longer than 3 s counts as failed. */
struct dialer *dialer_open(uv_loop_t *loop, const union addr *addr,
    dialer_connect_cb connect_cb, void *arg);

/* Has it failed since it was last connected? */
bool dialer_has_failed(const struct dialer *d);

/* Wait at most ms between tries, instead of 5 s. */
void dialer_limit_wait(struct dialer *d, uint64_t ms);

/* The connection was lost: dial again, after a short jittered wait. */
void dialer_retry(struct dialer *d);

/* Asynchronous; the callback will not run any more. */
void dialer_close(struct dialer *d);

#endif /* GW_NET_DIALER_H */
