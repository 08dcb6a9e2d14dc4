/* reach.h - whether a peer can still be reached.
 *
 * By itself TCP gives up after a quarter of an hour only, and TCP_USER_TIMEOUT
 * also ends a peer that lives but does not read, which is back-pressure here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_REACH_H
#define GW_NET_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

#define REACH_KEEPALIVE 10 /* seconds of silence before TCP is to probe */
#define REACH_RESEND \
    1500 /* ms at most between two tries of what stays unacknowledged */

/* Have TCP say everything again at least each REACH_RESEND: its own pauses
 * double, and when the way to the other machine is there again they would keep
 * everybody waiting for as long as it was away. Linux knows this since 6.15;
 * false where it does not. */
bool reach_resend_soon(int fd);

/* The machine at the other end of the TCP socket fd has fallen silent: what was
 * sent, or probes, stay without any acknowledgement. */
bool reach_is_lost(int fd);

#define REACH_BEAT_MS   1000 /* between two words to another machine */
#define REACH_SILENT_MS 3000 /* without an acknowledgement: silent */

/* ms since the machine at the other end of the TCP socket fd was last heard, if
 * something is to be acknowledged by it; else 0. */
uint64_t reach_silence(int fd);

/* A link that is not as it should be, for those who look after it. */
struct reach_link {
    const char *peer; /* borrowed: its address, or what it is known by */
    const char *name; /* borrowed: what it says that it is called, or NULL */
    /* "away", "silent": it is connected, but nothing is acknowledged;
     * "stalled"; "unacknowledged": it does not say which events have begun */
    const char *state;
    uint64_t ms; /* since when; 0: from its beginning */
};
typedef void (*reach_link_cb)(const struct reach_link *link, void *arg);

/* peer, the other end of the socket fd, is an address of this machine, or no
 * TCP address at all: what is sent there does not leave the kernel. */
bool reach_is_local(int fd, const union addr *peer);

#endif /* GW_NET_REACH_H */
