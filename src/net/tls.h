/* tls.h - TLS as a stream, of either side, on a socket that somebody else has,
 * or on none.
 *
 * What OpenSSL calls an SSL, made to behave as recv() and send() do on a
 * non-blocking socket. Nothing here waits or watches: the socket's owner calls
 * again when the socket can be read from, or written to where
 * tls_wants_write(). Certificates, and whom to trust, are the context's affair;
 * so are options, but for the modes that this file relies on.
 *
 * The process must ignore SIGPIPE.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_TLS_H
#define GW_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"

struct ssl_ctx_st; /* an SSL_CTX of OpenSSL */
struct ssl_st;     /* an SSL of it */

/* The accepting side of a connection on fd, which stays the caller's and must
 * outlive it. ctx is kept as long as it is needed. Ends with tls_free(); NULL:
 * no memory. */
struct ssl_st *tls_accept(struct ssl_ctx_st *ctx, int fd);

/* The same for the connecting side. host, a name or an address, is told to the
 * peer if it is a name, and its certificate must be of it where ctx has
 * certificates verified. */
struct ssl_st *tls_connect(struct ssl_ctx_st *ctx, int fd, const char *host);

/* The same without a socket: tls_feed() brings what the peer has sent, and
 * tls_drain() takes what it is to get. */
struct ssl_st *tls_connect_apart(struct ssl_ctx_st *ctx, const char *host);

/* Bytes of the peer; they are copied. 0 or -ENOMEM. */
int tls_feed(struct ssl_st *ssl, const uint8_t *data, size_t len);

/* Some of those have not been looked at: a tls_read() that returned -EAGAIN is
 * worth another. */
bool tls_has_input(const struct ssl_st *ssl);

/* Append to out what the peer is to get. */
void tls_drain(struct ssl_st *ssl, struct buf *out);

/* What is wrong with the peer's certificate, after -EKEYREJECTED: for people.
 */
const char *tls_complaint(const struct ssl_st *ssl);

/* Begin or go on with the handshake. 0: it is over; -EAGAIN; -EPROTO; or why it
 * failed where the owner may want to tell: -EKEYREJECTED, the peer's
 * certificate is not accepted, -EPROTONOSUPPORT, it speaks plain HTTP. */
int tls_handshake(struct ssl_st *ssl);

/* As recv() and send() of one buffer: > 0, 0 for the end (read), -EAGAIN, or
 * -EIO. What a write did not take must come again, the same bytes at any
 * address. One record is read at a time, and -EAGAIN may also mean that it had
 * no data. */
ssize_t tls_read(struct ssl_st *ssl, uint8_t *data, size_t len);
ssize_t tls_write(struct ssl_st *ssl, const uint8_t *data, size_t len);

/* The call that returned -EAGAIN goes on when the socket can be written to, not
 * when there is something to read. */
bool tls_wants_write(const struct ssl_st *ssl);

/* Say that nothing more comes. 0, or -EAGAIN: not said yet. */
int tls_shutdown(struct ssl_st *ssl);

/* Harmless with NULL. */
void tls_free(struct ssl_st *ssl);

#endif /* GW_NET_TLS_H */
