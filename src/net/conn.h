/* conn.h - a stream socket that brings packets and sends what collected.
 *
 * Used for every inner connection: gateway links, register lines, the control
 * socket, the pipe to the master. Clients' sockets are smaller
 * (clients/sock.c): there may be a million of them.
 *
 * Output collects in a buffer and leaves in one write at the end of the turn.
 * TCP_NODELAY is set. A peer whose machine or network is gone is noticed within
 * half a minute (on_close with -ETIMEDOUT), however busy the conn is. No
 * callback runs inside the call that caused it, except that on_packet may lead
 * to further on_packet calls after it returns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_CONN_H
#define GW_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/addr.h"
#include "net/turn.h"
#include "util/buf.h"

struct conn;

struct conn_ops {
    /* As frame_measure() and the functions of framing.h: the length of the
     * first packet, 0 need more, < 0 never valid (the conn is closed with it).
     */
    ssize_t (*measure)(const uint8_t *data, size_t len, size_t limit);
    /* One whole packet; the bytes are borrowed until the call returns. May
     * call conn_close(). */
    void (*on_packet)(
        struct conn *c, const uint8_t *packet, size_t len, void *arg);
    /* Optional: the queue was above high water and has fallen below a quarter
     * of it. */
    void (*on_drain)(struct conn *c, void *arg);
    /* The peer or an error ended it: 0 end of file, or -errno (that of measure
     * for bad input, that of a write that failed). What the peer had sent
     * before has been delivered, also in a pause. c is gone after the call. Not
     * called after conn_close(). */
    void (*on_close)(struct conn *c, int err, void *arg);
};

struct conn_limits {
    size_t packet_max; /* bytes, handed to measure */
    size_t high_water; /* bytes queued for sending; above it conn_is_full() */
};

/* Take a connected TCP or unix stream socket. Takes ownership of fd, also on
 * failure. NULL when libuv refuses it (logged). ops must live as long. */
struct conn *conn_open(struct turn *turn, int fd, const struct conn_ops *ops,
    const struct conn_limits *limits, void *arg);

/* Close now; what is queued is lost. No callback will run any more. */
void conn_close(struct conn *c);

/* Send what is queued, then close; waits at most 2 s. No callback will run any
 * more and nothing is read. */
void conn_close_flushed(struct conn *c);

/* Change packet_max for the packets to come: a peer that has shown who it is
 * may send larger ones. */
void conn_set_packet_max(struct conn *c, size_t packet_max);

/* The output buffer: what the caller appends leaves at the end of this turn.
 * Valid until the next call of anything. */
struct buf *conn_out(struct conn *c);

/* As above, for packets that leave before those, in the same write. */
struct buf *conn_out_first(struct conn *c);

/* Hand these to the kernel now, if it takes them, so that they leave whatever
 * becomes of this process. more: the kernel may keep them until it gets what
 * has collected behind them. */
void conn_send_first(struct conn *c, bool more);

/* The same for all that has collected, instead of at the end of this turn; what
 * the socket does not take leaves later. */
void conn_send(struct conn *c);

/* Hand the kernel one packet in front of all that has collected. False: it
 * takes no more, or the end of another packet waits. May be called in a signal
 * handler that has interrupted the loop, if the process ends with it. */
bool conn_send_last_word(struct conn *c, const void *packet, size_t len);

/* Bytes not yet taken by the kernel. */
size_t conn_queued(const struct conn *c);
bool conn_is_full(const struct conn *c);

/* Stop and go on reading. Packets already read are held too; the one being
 * delivered is finished. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* The peer's address as conn_open() found it; family AF_UNIX for a unix socket,
 * until conn_call_peer() says what else it is to be called. */
const union addr *conn_peer(const struct conn *c);
void conn_call_peer(struct conn *c, const union addr *name);

/* Bytes in and out since conn_open(). */
uint64_t conn_bytes_in(const struct conn *c);
uint64_t conn_bytes_out(const struct conn *c);

/* The peer is on another machine. ms since that machine was last heard, if it
 * has something to acknowledge, else 0; of this machine always 0. */
bool conn_is_far(const struct conn *c);
uint64_t conn_silence(const struct conn *c);

/* The peer has closed its end or is gone, although on_close may not have told
 * yet. */
bool conn_has_ended(const struct conn *c);

#endif /* GW_NET_CONN_H */
