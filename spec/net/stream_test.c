/* stream: over a socket pair whose other end is OpenSSL, or somebody who speaks
 * no TLS. */
#include "testloop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "../support/cert.h"
#include "../support/tempdir.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/trust.h"
#include "net/turn.h"

#define LARGE (1024 * 1024) /* bytes; many records, many turns */

static struct testloop t;
static struct turn *turn;
static struct stream *stream;
static struct ssl_ctx_st *trust;
static SSL_CTX *server_ctx;
static struct ssl_st *server;
static int fds[2]; /* the stream's, and the other end */
static char dir[TEMPDIR_SIZE];
static struct cert pem;

static struct {
    int secured;
    struct buf bytes;
    int closed;
    int err;
    char why[128];
    bool close_at_bytes;
} seen;

static void on_secured(struct stream *s, void *arg)
{
    seen.secured++;
}

static void on_bytes(
    struct stream *s, const uint8_t *data, size_t len, void *arg)
{
    buf_append(&seen.bytes, data, len);
    if (seen.close_at_bytes) {
        stream_close(s);
        stream = NULL;
    }
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
    seen.closed++;
    seen.err = err;
    snprintf(seen.why, sizeof(seen.why), "%s", why ? why : "-");
    stream = NULL;
}

static const struct stream_ops ops = {
    .on_secured = on_secured, .on_bytes = on_bytes, .on_close = on_close};

static void write_pem(const char *name, const char *text)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void open_server(void)
{
    BIO *bio = BIO_new_mem_buf(pem.cert, -1);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    EVP_PKEY *key;

    BIO_free(bio);
    bio = BIO_new_mem_buf(pem.key, -1);
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    server_ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(server_ctx, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server_ctx, key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
    server = tls_accept(server_ctx, fds[1]);
}

static int setup(void **state)
{
    testloop_open(&t);
    turn = turn_new(&t.loop);
    memset(&seen, 0, sizeof(seen));
    tempdir_make(dir);
    cert_make(&pem, "localhost", EVP_EC_gen("P-256"), 0, CERT_HOUR);
    write_pem("ca.pem", pem.cert);
    write_pem("key.pem", pem.key);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    open_server();
    return 0;
}

static int teardown(void **state)
{
    if (stream)
        stream_close(stream);
    stream = NULL;
    trust_free(trust);
    trust = NULL;
    tls_free(server);
    SSL_CTX_free(server_ctx);
    if (fds[1] >= 0)
        close(fds[1]);
    buf_fini(&seen.bytes);
    turn_close(turn);
    testloop_close(&t);
    ERR_clear_error();
    return 0;
}

static void open_stream(const char *ca, const char *host)
{
    struct trust_conf conf = {.ca_file = ca ? path_of(ca) : NULL};
    struct stream_conf stream_conf = {.host = host, .high_water = LARGE};
    char err[TRUST_ERROR_SIZE];

    if (host) {
        trust = trust_new(&conf, err);
        assert_non_null(trust);
    }
    stream_conf.tls = trust;
    stream = stream_open(turn, fds[0], &stream_conf, &ops, NULL);
    assert_non_null(stream);
}

/* The server's side of the handshake until it is over or has failed. */
static int shake(void)
{
    int err = -EAGAIN;

    testloop_spin(&t, (err = tls_handshake(server)) != -EAGAIN || seen.closed);
    return err;
}

static void send_server(const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = tls_write(server, data, len);

        assert_true(n > 0 || n == -EAGAIN);
        assert_false(t.expired);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
        uv_run(&t.loop, UV_RUN_NOWAIT);
    }
}

static void receive_server(struct buf *out, size_t len)
{
    while (out->len < len) {
        ssize_t n = tls_read(server, buf_reserve(out, 65536), 65536);

        assert_true(n > 0 || n == -EAGAIN);
        assert_false(t.expired);
        if (n > 0)
            buf_commit(out, (size_t)n);
        uv_run(&t.loop, UV_RUN_NOWAIT);
    }
}

static void carries_bytes_without_tls(void **state)
{
    char text[8];

    open_stream(NULL, NULL);
    buf_append_str(stream_out(stream), "hello");
    testloop_until(&t, read(fds[1], text, 5) == 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(write(fds[1], "you", 3), 3);
    testloop_until(&t, seen.bytes.len == 3);
    assert_int_equal(stream_bytes_in(stream), 3);
    assert_int_equal(seen.secured, 0);
    close(fds[1]);
    fds[1] = -1;
    testloop_until(&t, seen.closed);
    assert_int_equal(seen.err, 0);
}

static void carries_bytes_both_ways_under_tls(void **state)
{
    struct buf large = {0}, got = {0};

    for (size_t i = 0; i < LARGE; i++)
        buf_append_byte(&large, (uint8_t)(i * 7 >> 3));
    open_stream("ca.pem", "localhost");
    /* before the handshake is over */
    buf_append(stream_out(stream), large.data, large.len);
    assert_true(stream_queued(stream) >= LARGE);
    assert_int_equal(shake(), 0);
    receive_server(&got, LARGE);
    assert_memory_equal(got.data, large.data, LARGE);
    assert_int_equal(seen.secured, 1);
    send_server(large.data, large.len);
    testloop_spin(&t, seen.bytes.len == LARGE);
    assert_memory_equal(seen.bytes.data, large.data, LARGE);
    assert_int_equal(stream_bytes_in(stream), LARGE);
    tls_shutdown(server);
    testloop_until(&t, seen.closed);
    assert_int_equal(seen.err, 0);
    buf_fini(&large);
    buf_fini(&got);
}

static void does_not_trust_a_strange_certificate(void **state)
{
    cert_make(&pem, "localhost", EVP_EC_gen("P-256"), 0, CERT_HOUR);
    write_pem("other.pem", pem.cert);
    open_stream("other.pem", "localhost");
    shake();
    testloop_until(&t, seen.closed);
    assert_int_equal(seen.err, -EKEYREJECTED);
    assert_non_null(strstr(seen.why, "certificate"));
    assert_int_equal(seen.secured, 0);
}

static void does_not_trust_the_certificate_of_another_host(void **state)
{
    open_stream("ca.pem", "example.com");
    shake();
    testloop_until(&t, seen.closed);
    assert_int_equal(seen.err, -EKEYREJECTED);
    assert_non_null(strstr(seen.why, "hostname mismatch"));
}

static void says_that_no_tls_is_spoken_there(void **state)
{
    open_stream("ca.pem", "localhost");
    assert_int_equal(write(fds[1], "-ERR what?\r\n", 12), 12);
    testloop_until(&t, seen.closed);
    assert_int_equal(seen.err, -EPROTO);
    assert_non_null(strstr(seen.why, "no TLS is spoken there"));
}

static void says_that_the_handshake_was_ended(void **state)
{
    open_stream("ca.pem", "localhost");
    shutdown(fds[1], SHUT_RDWR);
    testloop_until(&t, seen.closed);
    assert_true(seen.err < 0);
}

static void may_be_closed_where_bytes_come(void **state)
{
    open_stream("ca.pem", "localhost");
    assert_int_equal(shake(), 0);
    seen.close_at_bytes = true;
    send_server((const uint8_t *)"bye", 3);
    testloop_until(&t, seen.bytes.len == 3);
    assert_null(stream);
    assert_int_equal(seen.closed, 0);
}

static void says_which_file_is_of_no_use(void **state)
{
    struct trust_conf conf = {.ca_file = "/no/such.pem"};
    char err[TRUST_ERROR_SIZE];
    char key[512];

    open_stream(NULL, NULL);
    assert_null(trust_new(&conf, err));
    assert_string_equal(
        err, "ca_file /no/such.pem: no certificate can be read");
    conf =
        (struct trust_conf){.insecure = true, .cert_file = path_of("ca.pem")};
    assert_null(trust_new(&conf, err));
    assert_non_null(strstr(err, "cert_file"));
    assert_non_null(strstr(err, "no key of that certificate"));
    snprintf(key, sizeof(key), "%s", path_of("key.pem"));
    conf.cert_file = path_of("ca.pem");
    conf.key_file = key;
    trust = trust_new(&conf, err);
    assert_non_null(trust);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(carries_bytes_without_tls),
        TEST(carries_bytes_both_ways_under_tls),
        TEST(does_not_trust_a_strange_certificate),
        TEST(does_not_trust_the_certificate_of_another_host),
        TEST(says_that_no_tls_is_spoken_there),
        TEST(says_that_the_handshake_was_ended),
        TEST(may_be_closed_where_bytes_come),
        TEST(says_which_file_is_of_no_use),
    };

    return cmocka_run_group_tests_name("net.stream", tests, NULL, NULL);
}
