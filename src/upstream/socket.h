/* socket.h - a stream of bytes to another server, with or without TLS.
 *
 * For protocols that scripts speak themselves. What has come is kept until it
 * is taken, and nothing more is read when that is much; what is to be sent
 * collects and leaves at the end of the turn.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSOCKET_SOCKET_H
#define GW_UPSOCKET_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/turn.h"

#define SOCKET_AHEAD     (64 * 1024) /* bytes not taken; then none are read */
#define SOCKET_LINGER_MS 2000        /* to send what waits, once closed */

struct ssl_ctx_st; /* an SSL_CTX of OpenSSL */
struct socket;

enum socket_state {
    SOCKET_CONNECTING, /* -> SOCKET_SHAKING, SOCKET_OPEN, SOCKET_ENDED */
    SOCKET_SHAKING,    /* TLS; -> SOCKET_OPEN, SOCKET_ENDED */
    SOCKET_OPEN,       /* -> SOCKET_SHAKING, SOCKET_ENDED */
    SOCKET_ENDED,      /* nothing more comes; what has come can be taken */
    SOCKET_LEAVING,    /* socket_close(): the owner is gone */
};

/* Borrowed until socket_open() returns, but for ctx (net/trust.h), which TLS
 * keeps.
 */
struct socket_request {
    const char *host; /* a name, an address, or the path of a unix socket */
    uint16_t port;
    uint64_t connect_ms;    /* look-up, connection and TLS */
    size_t queue_max;       /* bytes that wait to be sent */
    struct ssl_ctx_st *ctx; /* NULL: no TLS */
    const char *name;       /* whom the certificate must be of */
};

/* Bytes have come, or the state has changed. At the end of a turn;
 * socket_close() is allowed. */
typedef void (*socket_change_cb)(struct socket *s, void *arg);

struct socket *socket_open(struct turn *turn,
    const struct socket_request *request, socket_change_cb on_change,
    void *arg);

/* No callback will run any more. What is open sends what is waiting and says
 * goodbye, within SOCKET_LINGER_MS; the rest is cut. */
void socket_close(struct socket *s);

enum socket_state socket_state(const struct socket *s);

/* Why it ended: 0, the peer said nothing more would come (it may read on, so
 * without TLS what waits goes on leaving while it takes some within
 * SOCKET_LINGER_MS); or -errno, and what happened, for people. */
int socket_error(const struct socket *s, const char **why);

/* What has come, until the next call of anything; and n bytes of it are done
 * with. */
const uint8_t *socket_bytes(const struct socket *s, size_t *len);
void socket_take(struct socket *s, size_t n);

/* Read on until so many have come, beyond SOCKET_AHEAD; 0: not beyond it. */
void socket_want(struct socket *s, size_t n);

/* 0: they will be sent. -ENOBUFS, -ENOTCONN. */
int socket_write(struct socket *s, const void *data, size_t len);

/* Go on with TLS, once what waits has been sent. The state tells when it is
 * done. 0; -ENOTCONN; -EALREADY; -EPROTO: bytes have come that nobody has
 * taken, which a stranger may have put in front of TLS. */
int socket_start_tls(
    struct socket *s, struct ssl_ctx_st *ctx, const char *name, uint64_t ms);

#endif /* GW_UPSOCKET_SOCKET_H */
