/* trust.h - whom an outgoing connection trusts, and who it is itself: a context
 * of OpenSSL's for connecting sides.
 *
 * Reads files when it is made, and costs some milliseconds for the system's
 * list of authorities: make one for all connections to a server.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_TRUST_H
#define GW_NET_TRUST_H

#include <stdbool.h>

#define TRUST_ERROR_SIZE 256

struct ssl_ctx_st; /* an SSL_CTX of OpenSSL */

struct trust_conf {
    const char *ca_file;   /* PEM, the authorities; NULL: the system's */
    const char *cert_file; /* PEM, our own certificate; NULL: none */
    const char *key_file;  /* PEM, its key; NULL: in cert_file */
    bool insecure;         /* take any certificate */
};

/* A context, ended with trust_free(); NULL, and why, when a file is not what it
 * should be. */
struct ssl_ctx_st *trust_new(
    const struct trust_conf *conf, char err[TRUST_ERROR_SIZE]);

/* One more owner. NULL is allowed. */
struct ssl_ctx_st *trust_share(struct ssl_ctx_st *ctx);

/* NULL is allowed. */
void trust_free(struct ssl_ctx_st *ctx);

#endif /* GW_NET_TRUST_H */
