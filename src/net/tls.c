/* One connection's TLS. It owns OpenSSL's state of the connection (with the two
 * buffers in place of a socket, where it has none), never the socket. OpenSSL's
 * queue of errors, of which a thread has one, is emptied before each call: a
 * failure of one connection is never seen at another. */

#include "net/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define DRAIN_ROOM 4096 /* bytes taken at a time */

/* A write that took a part is told of it and may come again from elsewhere; a
 * connection without traffic holds no buffers; and one record is read at a
 * time, also when it holds no data. */
static void set_modes(SSL *ssl)
{
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                          SSL_MODE_RELEASE_BUFFERS);
    SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
}

static SSL *begin(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    set_modes(ssl);
    return ssl;
}

static SSL *begin_apart(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());

    if (ssl == NULL || in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(ssl, in, out);
    set_modes(ssl);
    return ssl;
}

SSL *tls_accept(SSL_CTX *ctx, int fd)
{
    SSL *ssl = begin(ctx, fd);

    if (ssl != NULL)
        SSL_set_accept_state(ssl);
    return ssl;
}

/* RFC 6066: an address is not sent as a server's name. */
static bool expect_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return true;
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* Make ssl, which may be NULL, the connecting side. */
static SSL *aim(SSL *ssl, const char *host)
{
    if (ssl == NULL)
        return NULL;
    if (!expect_host(ssl, host)) {
        tls_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

SSL *tls_connect(SSL_CTX *ctx, int fd, const char *host)
{
    return aim(begin(ctx, fd), host);
}

SSL *tls_connect_apart(SSL_CTX *ctx, const char *host)
{
    return aim(begin_apart(ctx), host);
}

int tls_feed(SSL *ssl, const uint8_t *data, size_t len)
{
    size_t n;

    ERR_clear_error();
    return BIO_write_ex(SSL_get_rbio(ssl), data, len, &n) == 1 && n == len
               ? 0
               : -ENOMEM;
}

bool tls_has_input(const SSL *ssl)
{
    return BIO_pending(SSL_get_rbio(ssl)) > 0;
}

void tls_drain(SSL *ssl, struct buf *out)
{
    size_t n;

    while (BIO_read_ex(
        SSL_get_wbio(ssl), buf_reserve(out, DRAIN_ROOM), DRAIN_ROOM, &n))
        buf_commit(out, n);
}

const char *tls_complaint(const SSL *ssl)
{
    return X509_verify_cert_error_string(SSL_get_verify_result(ssl));
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

int tls_handshake(SSL *ssl)
{
    ssize_t rc;

    ERR_clear_error();
    rc = result(ssl, SSL_do_handshake(ssl));
    if (rc == -EAGAIN)
        return -EAGAIN;
    if (rc > 0)
        return 0;
    switch (ERR_GET_REASON(ERR_peek_last_error())) {
    case SSL_R_HTTP_REQUEST:
        return -EPROTONOSUPPORT;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return -EKEYREJECTED;
    default:
        return -EPROTO;
    }
}

ssize_t tls_read(SSL *ssl, uint8_t *data, size_t len)
{
    ERR_clear_error();
    return result(ssl, SSL_read(ssl, data, len < INT_MAX ? (int)len : INT_MAX));
}

ssize_t tls_write(SSL *ssl, const uint8_t *data, size_t len)
{
    ssize_t rc;

    ERR_clear_error();
    rc = result(ssl, SSL_write(ssl, data, len < INT_MAX ? (int)len : INT_MAX));
    /* It wants to read the rest of a KeyUpdate in pieces, which only a peer
     * that means harm sends: the socket can be written to all the while. */
    return rc == 0 || (rc == -EAGAIN && SSL_want_read(ssl)) ? -EIO : rc;
}

bool tls_wants_write(const SSL *ssl)
{
    return SSL_want_write(ssl);
}

int tls_shutdown(SSL *ssl)
{
    int n;

    ERR_clear_error();
    n = SSL_shutdown(ssl);
    return n < 0 && SSL_get_error(ssl, n) == SSL_ERROR_WANT_WRITE ? -EAGAIN : 0;
}

void tls_free(SSL *ssl)
{
    SSL_free(ssl);
}
