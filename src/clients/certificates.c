/* What a TLS port shows its clients: contexts from certificate and key, and
 * what session tickets are sealed with. A context is whole or is not made; the
 * connections are net/tls.c's. OpenSSL's queue of errors is empty behind every
 * function. */

#include "clients/certificates.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME "%.80s" /* of a file, in lines for people */

/* Why OpenSSL refused the last call, from the oldest entry of its queue. */
static int fail(char err[256], const char *what, const char *name)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());

    snprintf(err, 256, "the %s in " NAME " cannot be used: %.80s", what, name,
        reason != NULL ? reason : "unknown error");
    ERR_clear_error();
    return -EINVAL;
}

/* Nobody is there to type one: OpenSSL would ask on the terminal. */
static int on_passphrase(char *buf, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static int use_leaf(
    SSL_CTX *ctx, const struct certificates_pem *tls, X509 *leaf, char err[256])
{
    if (SSL_CTX_use_certificate(ctx, leaf) == 1)
        return 0;
    if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_EE_KEY_TOO_SMALL)
        return fail(err, "certificate", tls->cert_name);
    snprintf(err, 256,
        "the certificate in " NAME " has a key of %d bits, which clients "
        "refuse; make one with 2048 bits or more",
        tls->cert_name, EVP_PKEY_bits(X509_get0_pubkey(leaf)));
    ERR_clear_error();
    return -EINVAL;
}

/* The first certificate is the server's own, the others are those that signed
 * it. */
static int use_chain(
    SSL_CTX *ctx, const struct certificates_pem *tls, char err[256])
{
    BIO *bio = BIO_new_mem_buf(tls->cert, -1);
    X509 *x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    int rc;

    if (x == NULL) {
        snprintf(err, 256,
            NAME " has no whole CERTIFICATE in it; give a PEM file",
            tls->cert_name);
        rc = -EINVAL;
    } else {
        rc = use_leaf(ctx, tls, x, err);
    }
    X509_free(x);
    ERR_clear_error();
    while (rc == 0 && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
            rc = fail(err, "chain", tls->cert_name);
            X509_free(x);
        }
    }
    if (rc == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        rc = fail(err, "chain", tls->cert_name);
    ERR_clear_error();
    BIO_free(bio);
    return rc;
}

static int use_key(
    SSL_CTX *ctx, const struct certificates_pem *tls, char err[256])
{
    BIO *bio = BIO_new_mem_buf(tls->key, -1);
    bool asked = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &asked);
    int rc = -EINVAL;

    if (asked)
        snprintf(err, 256,
            NAME " has a passphrase; remove it: openssl pkey -in OLD -out NEW",
            tls->key_name);
    else if (key == NULL)
        snprintf(err, 256,
            NAME " has no whole PRIVATE KEY in it; give a PEM file",
            tls->key_name);
    else if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
        snprintf(err, 256,
            NAME " is not the key of the certificate in " NAME
                 "; give the one that it was made with",
            tls->key_name, tls->cert_name);
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
        fail(err, "key", tls->key_name);
    else
        rc = 0;
    ERR_clear_error();
    EVP_PKEY_free(key);
    BIO_free(bio);
    return rc;
}

/* A context with certificate and key and nothing else. 0 or -EINVAL. */
static int load(
    SSL_CTX **out, const struct certificates_pem *tls, char err[256])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int rc;

    ERR_clear_error();
    rc = use_chain(ctx, tls, err);
    if (rc == 0)
        rc = use_key(ctx, tls, err);
    if (rc < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return rc;
}

static int check_dates(
    const X509 *x, const struct certificates_pem *tls, char err[256])
{
    const ASN1_TIME *begin = X509_get0_notBefore(x);
    const ASN1_TIME *end = X509_get0_notAfter(x);
    bool early = X509_cmp_current_time(begin) > 0;
    char date[32] = "?";
    struct tm tm;

    if (!early && X509_cmp_current_time(end) > 0)
        return 0;
    if (ASN1_TIME_to_tm(early ? begin : end, &tm) == 1)
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
    snprintf(err, 256,
        early ? "the certificate in " NAME " is not valid before %s; set this "
                "machine's clock, or wait"
              : "the certificate in " NAME " expired at %s; renew it",
        tls->cert_name, date);
    return -EKEYEXPIRED;
}

int certificates_check(const struct certificates_pem *tls, char err[256])
{
    SSL_CTX *ctx;
    int rc = load(&ctx, tls, err);

    if (rc < 0)
        return rc;
    rc = check_dates(SSL_CTX_get0_certificate(ctx), tls, err);
    SSL_CTX_free(ctx);
    return rc;
}

/* Browsers offer HTTP/2 first. */
static int choose_alpn(SSL *ssl, const unsigned char **out,
    unsigned char *out_len, const unsigned char *offered, unsigned offered_len,
    void *unused)
{
    static const unsigned char ours[] = "\x08http/1.1";

    if (SSL_select_next_proto((unsigned char **)out, out_len, ours,
            sizeof(ours) - 1, offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_TLSEXT_ERR_OK;
}

int certificates_load(
    SSL_CTX **out, const struct certificates_pem *tls, char err[256])
{
    uint8_t name[SHA256_DIGEST_LENGTH];
    SSL_CTX *ctx;
    int rc = load(&ctx, tls, err);

    if (rc < 0)
        return rc;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* All ports have one ticket key, but who was shown this certificate must
     * not be served under another one. */
    SHA256((const uint8_t *)tls->cert_name, strlen(tls->cert_name), name);
    SSL_CTX_set_session_id_context(ctx, name, sizeof(name));
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    *out = ctx;
    return 0;
}

void certificates_set_ticket_key(
    SSL_CTX *ctx, const uint8_t key[CERTIFICATES_TICKET_KEY_LEN])
{
    /* OpenSSL only reads it. */
    SSL_CTX_set_tlsext_ticket_keys(
        ctx, (void *)key, CERTIFICATES_TICKET_KEY_LEN);
}

void certificates_free(SSL_CTX *ctx)
{
    SSL_CTX_free(ctx);
}
