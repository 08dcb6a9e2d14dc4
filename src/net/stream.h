/* stream.h - a connecting socket that brings bytes, with or without TLS.
 *
 * For protocols whose packets somebody else's parser finds. Output collects and
 * leaves in one write at the end of the turn, as with net/conn.h, on which this
 * stands.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_STREAM_H
#define GW_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/turn.h"
#include "util/buf.h"

struct stream;
struct ssl_ctx_st; /* an SSL_CTX of OpenSSL */

struct stream_ops {
    /* TLS is agreed on. Not called where there is none. */
    void (*on_secured)(struct stream *s, void *arg);
    /* Bytes came; borrowed until the call returns. May close the stream. */
    void (*on_bytes)(
        struct stream *s, const uint8_t *data, size_t len, void *arg);
    /* The peer or an error ended it: 0 end of file, or -errno; why is for
     * people, NULL where err says all. s is gone after the call. */
    void (*on_close)(struct stream *s, int err, const char *why, void *arg);
};

struct stream_conf {
    struct ssl_ctx_st *tls; /* see net/trust.h, NULL: without; kept as long */
    const char *host;       /* of whom its certificate must be; copied */
    size_t high_water;      /* bytes, as in struct conn_limits */
};

/* Take a connected socket, also on failure. NULL when that is not possible
 * (logged). conf is read, ops must live as long. No callback runs inside. */
struct stream *stream_open(struct turn *turn, int fd,
    const struct stream_conf *conf, const struct stream_ops *ops, void *arg);

/* Close now; what is queued is lost. No callback will run any more. */
void stream_close(struct stream *s);

/* Send what was appended, then close, when the peer has read it; waits at most
 * as conn_close_flushed() does. No callback will run any more. Not inside one.
 */
void stream_close_flushed(struct stream *s);

/* What the caller appends leaves at the end of this turn, or once TLS is agreed
 * on. Valid until the next call of anything. */
struct buf *stream_out(struct stream *s);

/* Hand the kernel what has collected now; what it does not take leaves later.
 */
void stream_send(struct stream *s);

/* Bytes not yet taken by the kernel. */
size_t stream_queued(const struct stream *s);

/* Bytes handed out so far. */
uint64_t stream_bytes_in(const struct stream *s);

#endif /* GW_NET_STREAM_H */
