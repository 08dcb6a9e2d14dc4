#include "gateway/client_io_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"

/* One line from the oldest entry of OpenSSL's error queue. */
static int fail(char err[256], const char *what, const char *path)
{
    unsigned long e = ERR_get_error();
    const char *reason = ERR_reason_error_string(e);

    if (ERR_GET_LIB(e) == ERR_LIB_SYS)
        reason = strerror(ERR_GET_REASON(e));
    snprintf(err, 256, "%s %s: %s", what, path,
        reason != NULL ? reason : "cannot be used");
    ERR_clear_error();
    return -EINVAL;
}

/* Read certificate and key into a context of their own. 0 or -EINVAL. */
static int load(SSL_CTX **out, const struct client_io_conf *conf, char err[256])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int rc = 0;

    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, conf->tls_cert) != 1)
        rc = fail(err, "tls certificate", conf->tls_cert);
    else if (SSL_CTX_use_PrivateKey_file(
                 ctx, conf->tls_key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(ctx) != 1)
        rc = fail(err, "tls key", conf->tls_key);
    if (rc < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return rc;
}

int client_tls_check(const struct client_io_conf *conf, char err[256])
{
    SSL_CTX *ctx;
    int rc;

    if (conf->tls_key == NULL) {
        snprintf(err, 256, "tls certificate %s has no key", conf->tls_cert);
        return -EINVAL;
    }
    rc = load(&ctx, conf, err);
    if (rc == 0)
        SSL_CTX_free(ctx);
    return rc;
}

int client_tls_load(void *ctx, const struct client_io_conf *conf, char err[256])
{
    STACK_OF(X509) *chain = NULL;
    SSL_CTX *fresh;
    int rc = load(&fresh, conf, err);

    if (rc < 0)
        return rc;
    SSL_CTX_get0_chain_certs(fresh, &chain);
    if (SSL_CTX_use_cert_and_key(ctx, SSL_CTX_get0_certificate(fresh),
            SSL_CTX_get0_privatekey(fresh), chain, 1) != 1)
        rc = fail(err, "tls certificate", conf->tls_cert);
    SSL_CTX_free(fresh);
    return rc;
}

static void log_plain_http(const SSL *ssl)
{
    union addr peer = {0};
    socklen_t len = sizeof(peer);
    char text[ADDR_TEXT_SIZE];

    getpeername(SSL_get_fd(ssl), &peer.sa, &len);
    log_info(
        "plain http on a tls port, closing peer=%s", addr_format(text, &peer));
}

static void on_info(const SSL *ssl, int where, int ret)
{
    struct client_conn *c = SSL_get_app_data(ssl);

    if ((where & SSL_CB_HANDSHAKE_DONE) && c != NULL)
        client_conn_secured(c, SSL_get_fd(ssl), (void *)ssl);
    else if ((where & SSL_CB_EXIT) && ret <= 0 &&
             ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST)
        log_plain_http(ssl);
}

void client_tls_setup(void *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_info_callback(ctx, on_info);
}

void client_tls_watch(void *ssl, struct client_conn *c)
{
    SSL_set_app_data(ssl, c);
    /* The first bytes were looked at already, and a peer may be fast. */
    if (SSL_is_init_finished(ssl))
        client_conn_secured(c, SSL_get_fd(ssl), ssl);
}

ssize_t client_tls_peek(void *ssl, uint8_t *data, size_t len)
{
    int n;

    ERR_clear_error();
    n = SSL_peek(ssl, data, (int)len);
    if (n > 0)
        return n;
    switch (SSL_get_error(ssl, n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return -EIO;
    }
}
