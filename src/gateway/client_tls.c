#include "gateway/client_io_impl.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/sha.h>
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

/* Nobody is there to type one: OpenSSL would ask on the terminal. */
static int on_passphrase(char *buf, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

/* Read certificate and key into a context of their own. 0 or -EINVAL. */
static int load(SSL_CTX **out, const struct client_io_conf *conf, char err[256])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool asked = false;
    int rc = 0;

    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, on_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
    if (SSL_CTX_use_certificate_chain_file(ctx, conf->tls_cert) != 1)
        rc = fail(err, "tls certificate", conf->tls_cert);
    else if (SSL_CTX_use_PrivateKey_file(
                 ctx, conf->tls_key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(ctx) != 1)
        rc = fail(err, "tls key", conf->tls_key);
    if (asked)
        snprintf(err, 256,
            "tls key %s has a passphrase; remove it: openssl "
            "pkey -in OLD -out NEW",
            conf->tls_key);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (rc < 0)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
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

int client_tls_new(void **out, const struct client_io_conf *conf, char err[256])
{
    uint8_t name[SHA256_DIGEST_LENGTH];
    SSL_CTX *ctx;
    int rc;

    if (conf->tls_key == NULL) {
        snprintf(err, 256, "tls certificate %s has no key", conf->tls_cert);
        return -EINVAL;
    }
    rc = load(&ctx, conf, err);
    if (rc < 0)
        return rc;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* One record a turn, also when it holds no data. */
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* All ports have one ticket key, but who was shown this certificate must
     * not be served under another one. */
    SHA256((const uint8_t *)conf->tls_cert, strlen(conf->tls_cert), name);
    SSL_CTX_set_session_id_context(ctx, name, sizeof(name));
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    *out = ctx;
    return 0;
}

void client_tls_set_ticket_key(
    void *ctx, const uint8_t key[CLIENT_IO_TICKET_KEY_LEN])
{
    /* OpenSSL only reads it. */
    SSL_CTX_set_tlsext_ticket_keys(ctx, (void *)key, CLIENT_IO_TICKET_KEY_LEN);
}

void client_tls_free(void *ctx)
{
    SSL_CTX_free(ctx);
}

void *client_tls_begin(void *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

/* What OpenSSL made of a call that returned n. */
static ssize_t result(const SSL *ssl, int n)
{
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

int client_tls_handshake(struct client_conn *c)
{
    char peer[ADDR_TEXT_SIZE];
    ssize_t rc;

    ERR_clear_error();
    rc = result(c->ssl, SSL_do_handshake(c->ssl));
    if (rc == -EAGAIN)
        return -EAGAIN;
    if (rc > 0)
        return 0;
    if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST)
        log_info("plain http on a tls port, closing peer=%s",
            addr_format(peer, &c->peer));
    return -EPROTO;
}

ssize_t client_tls_read(void *ssl, uint8_t *data, size_t len)
{
    ERR_clear_error();
    return result(ssl, SSL_read(ssl, data, (int)len));
}

ssize_t client_tls_write(void *ssl, const uint8_t *data, size_t len)
{
    ssize_t rc;

    ERR_clear_error();
    rc = result(ssl, SSL_write(ssl, data, len < INT_MAX ? (int)len : INT_MAX));
    /* It wants to read the rest of a KeyUpdate in pieces, which only a peer
     * that means harm sends: the socket can be written to all the while. */
    return rc == 0 || (rc == -EAGAIN && SSL_want_read(ssl)) ? -EIO : rc;
}

bool client_tls_wants_write(const void *ssl)
{
    return SSL_want_write((const SSL *)ssl);
}

int client_tls_shutdown(void *ssl)
{
    int n;

    ERR_clear_error();
    n = SSL_shutdown(ssl);
    return n < 0 && SSL_get_error(ssl, n) == SSL_ERROR_WANT_WRITE ? -EAGAIN : 0;
}

void client_tls_end(void *ssl)
{
    SSL_free(ssl);
}
