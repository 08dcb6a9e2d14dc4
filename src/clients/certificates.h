/* certificates.h - what a TLS port shows its clients.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_CERTIFICATES_H
#define GW_CLIENTS_CERTIFICATES_H

#include <stdint.h>

struct ssl_ctx_st; /* an SSL_CTX of OpenSSL */

#define CERTIFICATES_TICKET_KEY_LEN 80 /* bytes */

/* A certificate and its key, as PEM texts. They were read by somebody who may:
 * a gateway need not be allowed to. */
struct certificates_pem {
    const char *cert_name, *key_name; /* of the files, for people */
    const char *cert; /* with those that signed it behind; NULL: no TLS */
    const char *key;
};

/* Can clients be served with it? 0; -EINVAL, or -EKEYEXPIRED when only its time
 * is over or not yet there, with a line in err: what, where, what to do. */
int certificates_check(const struct certificates_pem *tls, char err[256]);

/* A context with certificate and key. 0 and the caller frees it, or -EINVAL
 * with a line in err. */
int certificates_load(
    struct ssl_ctx_st **out, const struct certificates_pem *tls, char err[256]);
/* Connections that it began keep it. */
void certificates_free(struct ssl_ctx_st *ctx);
void certificates_set_ticket_key(
    struct ssl_ctx_st *ctx, const uint8_t key[CERTIFICATES_TICKET_KEY_LEN]);

#endif /* GW_CLIENTS_CERTIFICATES_H */
