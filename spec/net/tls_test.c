/* Both sides of TLS against each other, over a socket pair and without a loop:
 * nothing here may wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "../support/cert.h"
#include "net/tls.h"

struct pair {
    SSL_CTX *server_ctx, *client_ctx;
    struct ssl_st *server, *client;
    int fds[2];
};

/* The server shows a certificate for "localhost", which the client trusts. */
static void begin(struct pair *p, const char *host, int max_version)
{
    struct cert pem;
    BIO *bio;
    X509 *x;
    EVP_PKEY *key;

    signal(SIGPIPE, SIG_IGN);
    cert_make(&pem, "localhost", EVP_EC_gen("P-256"), 0, CERT_HOUR);
    bio = BIO_new_mem_buf(pem.cert, -1);
    x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(pem.key, -1);
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    p->server_ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(p->server_ctx, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->server_ctx, key), 1);
    p->client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(p->client_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_max_proto_version(p->client_ctx, max_version);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(p->client_ctx), x);
    X509_free(x);
    EVP_PKEY_free(key);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), 0);
    p->server = tls_accept(p->server_ctx, p->fds[0]);
    p->client = tls_connect(p->client_ctx, p->fds[1], host);
    assert_non_null(p->server);
    assert_non_null(p->client);
}

static void end(struct pair *p)
{
    tls_free(p->server);
    tls_free(p->client);
    SSL_CTX_free(p->server_ctx);
    SSL_CTX_free(p->client_ctx);
    close(p->fds[0]);
    close(p->fds[1]);
    ERR_clear_error();
}

/* Turn by turn until both are through or one has failed. */
static void shake(struct pair *p, int *server, int *client)
{
    *server = *client = -EAGAIN;
    for (int i = 0; i < 10; i++) {
        if (*client == -EAGAIN)
            *client = tls_handshake(p->client);
        if (*server == -EAGAIN)
            *server = tls_handshake(p->server);
        if (*client != -EAGAIN && *server != -EAGAIN)
            return;
    }
}

static void expect_handshake(struct pair *p)
{
    int server, client;

    shake(p, &server, &client);
    assert_int_equal(server, 0);
    assert_int_equal(client, 0);
}

/* The next bytes; records without data, as tickets are, do not count. */
static ssize_t read_next(struct ssl_st *ssl, uint8_t *data, size_t len)
{
    ssize_t n = -EAGAIN;

    for (int i = 0; i < 5 && n == -EAGAIN; i++)
        n = tls_read(ssl, data, len);
    return n;
}

static void talk(int max_version)
{
    struct pair p;
    uint8_t data[16];

    begin(&p, "localhost", max_version);
    expect_handshake(&p);
    assert_int_equal(tls_write(p.client, (const uint8_t *)"hello", 5), 5);
    assert_int_equal(read_next(p.server, data, sizeof(data)), 5);
    assert_memory_equal(data, "hello", 5);
    assert_int_equal(tls_read(p.server, data, sizeof(data)), -EAGAIN);
    assert_false(tls_wants_write(p.server));
    assert_int_equal(tls_write(p.server, (const uint8_t *)"you", 3), 3);
    assert_int_equal(read_next(p.client, data, sizeof(data)), 3);
    assert_memory_equal(data, "you", 3);
    end(&p);
}

static void both_sides_talk(void **state)
{
    talk(TLS1_2_VERSION);
    talk(TLS1_3_VERSION);
}

static void another_hosts_certificate_is_refused(void **state)
{
    static const char *const others[] = {"example.org", "127.0.0.1", "::1"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct pair p;
        int server, client;

        begin(&p, others[i], TLS1_3_VERSION);
        shake(&p, &server, &client);
        assert_int_equal(client, -EKEYREJECTED);
        assert_int_equal(server, -EPROTO);
        end(&p);
    }
}

static void only_a_name_is_told_to_the_server(void **state)
{
    struct pair p;

    begin(&p, "localhost", TLS1_3_VERSION);
    expect_handshake(&p);
    assert_string_equal(
        SSL_get_servername(p.server, TLSEXT_NAMETYPE_host_name), "localhost");
    end(&p);
    begin(&p, "127.0.0.1", TLS1_3_VERSION);
    SSL_set_verify(p.client, SSL_VERIFY_NONE, NULL);
    expect_handshake(&p);
    assert_null(SSL_get_servername(p.server, TLSEXT_NAMETYPE_host_name));
    end(&p);
}

/* What was taken is not to be offered again; the rest may have moved. */
static void a_full_socket_takes_the_rest_later(void **state)
{
    enum { SIZE = 4 * 1024 * 1024 };
    uint8_t *out = malloc(SIZE), *copy = malloc(SIZE), *in = malloc(SIZE);
    size_t sent = 0, got = 0;
    unsigned stops = 0;
    struct pair p;

    for (size_t i = 0; i < SIZE; i++)
        out[i] = (uint8_t)(i * 31 >> 3);
    begin(&p, "localhost", TLS1_3_VERSION);
    expect_handshake(&p);
    while (got < SIZE) {
        const uint8_t *from = stops % 2 ? copy : out;
        ssize_t n = 0;

        memcpy(copy + sent, out + sent, SIZE - sent);
        while (sent < SIZE &&
               (n = tls_write(p.server, from + sent, SIZE - sent)) > 0)
            sent += (size_t)n;
        if (sent < SIZE) {
            assert_int_equal(n, -EAGAIN);
            assert_true(tls_wants_write(p.server));
            stops++;
        }
        n = read_next(p.client, in + got, SIZE - got);
        assert_true(n > 0);
        do
            got += (size_t)n;
        while (
            got < SIZE && (n = tls_read(p.client, in + got, SIZE - got)) > 0);
    }
    assert_true(stops > 0);
    assert_memory_equal(in, out, SIZE);
    end(&p);
    free(out);
    free(copy);
    free(in);
}

static void its_end_is_an_end_and_not_an_error(void **state)
{
    struct pair p;
    uint8_t data[16];

    begin(&p, "localhost", TLS1_3_VERSION);
    expect_handshake(&p);
    tls_write(p.server, (const uint8_t *)"last", 4);
    assert_int_equal(tls_shutdown(p.server), 0);
    assert_int_equal(read_next(p.client, data, sizeof(data)), 4);
    assert_int_equal(tls_read(p.client, data, sizeof(data)), 0);
    assert_int_equal(tls_write(p.client, (const uint8_t *)"yes", 3), 3);
    assert_int_equal(read_next(p.server, data, sizeof(data)), 3);
    end(&p);
}

static void the_end_waits_for_a_full_socket(void **state)
{
    static uint8_t block[16 * 1024], data[64 * 1024];
    struct pair p;
    ssize_t n;

    begin(&p, "localhost", TLS1_3_VERSION);
    expect_handshake(&p);
    while (send(p.fds[0], block, sizeof(block), 0) > 0) {
    } /* beneath TLS: only that it is full counts */
    assert_int_equal(tls_shutdown(p.server), -EAGAIN);
    do
        n = recv(p.fds[1], data, sizeof(data), 0);
    while (n > 0);
    assert_int_equal(tls_shutdown(p.server), 0);
    end(&p);
}

/* Send text to the server, as a client that knows nothing of TLS. */
static int answer_to(const char *text)
{
    struct pair p;
    int rc;

    begin(&p, "localhost", TLS1_3_VERSION);
    assert_int_equal(
        send(p.fds[1], text, strlen(text), 0), (ssize_t)strlen(text));
    rc = tls_handshake(p.server);
    end(&p);
    return rc;
}

static void plain_http_is_told_from_garbage(void **state)
{
    assert_int_equal(answer_to("GET / HTTP/1.1\r\n\r\n"), -EPROTONOSUPPORT);
    assert_int_equal(answer_to("what is this, then?\r\n"), -EPROTO);
    assert_int_equal(ERR_peek_error() == 0, 1);
}

static void who_hangs_up_ends_the_handshake(void **state)
{
    struct pair p;

    begin(&p, "localhost", TLS1_3_VERSION);
    assert_int_equal(tls_handshake(p.client), -EAGAIN);
    shutdown(p.fds[0], SHUT_RDWR);
    assert_int_equal(tls_handshake(p.client), -EPROTO);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_talk),
        cmocka_unit_test(another_hosts_certificate_is_refused),
        cmocka_unit_test(only_a_name_is_told_to_the_server),
        cmocka_unit_test(a_full_socket_takes_the_rest_later),
        cmocka_unit_test(its_end_is_an_end_and_not_an_error),
        cmocka_unit_test(the_end_waits_for_a_full_socket),
        cmocka_unit_test(plain_http_is_told_from_garbage),
        cmocka_unit_test(who_hangs_up_ends_the_handshake),
    };

    return cmocka_run_group_tests_name("net.tls", tests, NULL, NULL);
}
