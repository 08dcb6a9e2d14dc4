/* sock.h - the socket of one connection, with or without TLS.
 *
 * Embedded in its owner. What is read and what the owner waits for comes by its
 * sock_ops; after each of them, and whenever its interest has changed, the
 * owner calls sock_watch().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_SOCK_H
#define GW_CLIENTS_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include "net/tls.h"
#include "net/turn.h"

struct sock;

/* What the owner wants to hear of its peer. */
enum sock_interest {
    SOCK_NOTHING,   /* only that it can be written to, when it was blocked */
    SOCK_HANDSHAKE, /* TLS */
    SOCK_BYTES,
    SOCK_HANGUP, /* only that it has left, or says no more */
};

/* s may be closed in each: only its fd is looked at behind that. */
struct sock_ops {
    /* The TLS handshake is over: 0, or as tls_handshake(). */
    void (*on_handshake)(struct sock *s, int rc);
    /* Bytes, which may be changed, until it returns. */
    void (*on_bytes)(struct sock *s, uint8_t *data, size_t len);
    /* It can be written to again. */
    void (*on_writable)(struct sock *s);
    /* Its peer has left, or it is broken. */
    void (*on_hangup)(struct sock *s);
    /* sock_close() has been called, and nothing of it is used any more. */
    void (*on_closed)(struct sock *s);
};

struct sock {
    uv_poll_t poll;             /* on fd */
    const struct sock_ops *ops; /* borrowed */
    struct turn *turn;          /* borrowed */
    struct ssl_st *ssl;         /* owned; NULL: no TLS */
    int fd;                     /* owned; -1 before and after */
    uint8_t events;             /* what poll watches for */
    uint8_t interest;           /* enum sock_interest, set by the owner */
    bool blocked : 1;           /* it took less than there was */
    bool stuck : 1;             /* TLS goes on only when it has written */
};

/* Serve fd, a connected and non-blocking socket, with TLS if ctx is not NULL.
 * 0, or -errno: fd is still the caller's. */
int sock_open(struct sock *s, struct turn *turn, int fd, struct ssl_ctx_st *ctx,
    const struct sock_ops *ops);
/* Watch for what is of interest now. Harmless once closed. */
void sock_watch(struct sock *s);
/* Write what the socket takes: the bytes it took, fewer than there are when it
 * is full, or -EPIPE. With TLS, what was not taken must come again, unchanged
 * up to the end of the first vector. */
ssize_t sock_write(struct sock *s, const void *data, size_t len);
ssize_t sock_write_vectors(struct sock *s, const struct iovec *iov, int count);
/* The same for len bytes of a file from at on, without TLS. -EIO: the file ends
 * before. */
ssize_t sock_send_file(struct sock *s, int file, uint64_t at, size_t len);
/* Nothing more is written: its peer reads the end. 0, or -EAGAIN: TLS waits
 * until the socket takes the end; again when it can be written to. */
int sock_shutdown(struct sock *s);
/* Close it; on_closed() follows on a later turn. Harmless once closed. */
void sock_close(struct sock *s);

#endif /* GW_CLIENTS_SOCK_H */
