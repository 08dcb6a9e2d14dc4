/* TLS clients, certificates made on the spot, and the files of www. */
#include "port_fixture.h"

#include "../support/cert.h"
#include "../support/tempdir.h"
#include "clients/client_shared.h"
#include "util/log.h"

#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct files {
    char dir[TEMPDIR_SIZE];
    struct cert pem;
};

static void sign_cert(struct files *f, const char *name, EVP_PKEY *pkey)
{
    cert_make(&f->pem, name, pkey, 0, CERT_HOUR);
}

static void make_cert(struct files *f, const char *name)
{
    sign_cert(f, name, EVP_EC_gen("P-256"));
}

/* A fresh folder, and a certificate. */
static void make_files(struct files *f)
{
    tempdir_make(f->dir);
    make_cert(f, "first");
}

static struct certificates_pem tls_of(const struct files *f)
{
    return (struct certificates_pem){.cert_name = f->dir,
        .key_name = "key.pem",
        .cert = f->pem.cert,
        .key = f->pem.key};
}

static struct test *serve_tls(
    const struct client_protocol *protocol, struct files *f)
{
    struct test *t = prepare(protocol);

    make_files(f);
    t->conf.tls = tls_of(f);
    start(t);
    return t;
}

struct tls {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    bool ended;
};

static uint8_t client_secret[32]; /* of the newest TLS 1.3 client */

static void on_keylog(const SSL *ssl, const char *line)
{
    const char *hex = strrchr(line, ' ');

    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) != 0)
        return;
    for (size_t i = 0; i < sizeof(client_secret); i++)
        sscanf(hex + 1 + 2 * i, "%2hhx", &client_secret[i]);
}

static void tls_open(struct tls *c, int max_version)
{
    c->ended = false;
    c->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(c->ctx, 0);
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(c->ctx, max_version);
    SSL_CTX_set_ciphersuites(c->ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_keylog_callback(c->ctx, on_keylog);
    SSL_CTX_set_mode(c->ctx,
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->fd);
}

/* Shake hands on c->fd; false: refused. */
static bool tls_begin(struct test *t, struct tls *c, int max_version)
{
    uint64_t begun = uv_hrtime();
    int rc;

    tls_open(c, max_version);
    while ((rc = SSL_connect(c->ssl)) != 1) {
        rc = SSL_get_error(c->ssl, rc);
        if (rc != SSL_ERROR_WANT_READ && rc != SSL_ERROR_WANT_WRITE) {
            ERR_clear_error();
            return false;
        }
        turn_once(t, begun);
    }
    return true;
}

static bool tls_dial(struct test *t, struct tls *c, int max_version)
{
    c->fd = dial(t);
    if (t->conf.proxy_protocol)
        put_str(t, c->fd, "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
    return tls_begin(t, c, max_version);
}

static void tls_end(struct tls *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
    ERR_clear_error();
}

static void tls_put(struct test *t, struct tls *c, const void *data, size_t len)
{
    uint64_t begun = uv_hrtime();
    const char *p = data;

    while (len > 0) {
        int n = SSL_write(c->ssl, p, (int)len);

        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else {
            turn_once(t, begun);
        }
    }
}

static void tls_get_some(struct tls *c, struct buf *in)
{
    int n;

    do {
        buf_reserve(in, 65536);
        n = SSL_read(c->ssl, in->data + in->len, 65536);
        if (n > 0)
            buf_commit(in, (size_t)n);
    } while (n > 0);
    c->ended = SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ;
    ERR_clear_error();
}

static void tls_get(struct test *t, struct tls *c, struct buf *in, size_t len)
{
    uint64_t begun = uv_hrtime();

    for (;;) {
        tls_get_some(c, in);
        if (in->len >= len || c->ended)
            break;
        turn_once(t, begun);
    }
    assert_true(in->len >= len);
}

static void tls_upgrade(struct test *t, struct tls *c)
{
    struct buf in = {0};

    assert_true(tls_dial(t, c, TLS1_3_VERSION));
    tls_put(t, c, UPGRADE(""), strlen(UPGRADE("")));
    tls_get(t, c, &in, 129);
    assert_memory_equal(in.data, "HTTP/1.1 101 ", 13);
    buf_fini(&in);
}

static void put_masked(
    struct test *t, struct tls *c, const char *data, size_t len)
{
    struct buf f = {0};

    buf_append_byte(&f, 0x81);
    buf_append_byte(&f, 0x80 | 127);
    for (int i = 56; i >= 0; i -= 8)
        buf_append_byte(&f, (uint8_t)((uint64_t)len >> i));
    buf_append(&f, "\0\0\0\0", 4);
    buf_append(&f, data, len);
    tls_put(t, c, f.data, f.len);
    buf_fini(&f);
}

static void wss_messages_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = {
        1, 125, 2048, 16383, 16384, 16385, 40000, 500000};
    struct files f;
    struct test *t = serve_tls(&proto_websocket, &f);
    struct buf in = {0};
    char *data = xmalloc(500000);
    struct tls c;

    t->echo = true;
    memset(data, 'w', 500000);
    tls_upgrade(t, &c);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t head = sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10;

        put_masked(t, &c, data, sizes[i]);
        buf_clear(&in);
        tls_get(t, &c, &in, head + sizes[i]);
        assert_int_equal(in.len, head + sizes[i]);
        assert_memory_equal(in.data + head, data, sizes[i]);
    }
    tls_end(&c);
    free(data);
    buf_fini(&in);
    finish(t);
}

static void a_slow_wss_client_gets_everything_in_order(void **state)
{
    struct files f;
    struct test *t = serve_tls(&proto_websocket, &f);
    struct buf in = {0}, want = {0};
    char data[5000];
    struct tls c;

    t->conf.queue_max = 64 * 1024 * 1024;
    tls_upgrade(t, &c);
    for (unsigned n = 0; n < 3000; n++) {
        size_t len = n % 5 == 0 ? 5000 : n % 100;
        struct blob *blob;

        memset(data, 'a' + (int)(n % 26), len);
        blob = frame(t, data, len, PROTOCOL_AS_USUAL);
        buf_append(&want, blob->data, blob->len);
        assert_int_equal(client_conn_send_blob(t->conn, blob), 0);
        blob_unref(blob);
        if (n % 50 == 0)
            turn_once(t, uv_hrtime());
    }
    assert_true(client_conn_queued(t->conn) > 0);
    tls_get(t, &c, &in, want.len);
    assert_int_equal(in.len, want.len);
    assert_memory_equal(in.data, want.data, want.len);
    tls_end(&c);
    buf_fini(&in);
    buf_fini(&want);
    finish(t);
}

static void a_proxy_header_goes_ahead_of_tls(void **state)
{
    static const char *const trusted[] = {"127.0.0.1", NULL};
    struct test *t = prepare(&proto_text);
    struct buf in = {0};
    struct files f;
    struct tls c;

    make_files(&f);
    t->conf.tls = tls_of(&f);
    t->conf.trusted_proxies = trusted;
    t->conf.proxy_protocol = true;
    t->echo = true;
    start(t);
    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    tls_put(t, &c, "hello\n", 6);
    tls_get(t, &c, &in, 6);
    assert_memory_equal(in.data, "hello\n", 6);
    assert_string_equal(t->peer, "192.0.2.1:56324");
    tls_end(&c);
    finish(t);
    buf_fini(&in);
}

static void pause_at_every_message(struct test *t)
{
    client_conn_pause(t->conn);
}

static void a_paused_tls_client_loses_nothing(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text};

    for (int p = 0; p < 2; p++) {
        struct files f;
        struct test *t = serve_tls(protocols[p], &f);
        struct buf all = {0}, out = {0};
        struct tls c;
        char text[64];

        if (p == 0)
            tls_upgrade(t, &c);
        else
            assert_true(tls_dial(t, &c, TLS1_3_VERSION));
        UNTIL(t, t->opened == 1);
        buf_clear(&t->told);
        t->on_message = pause_at_every_message;
        for (int i = 0; i < 2000; i++) {
            snprintf(text, sizeof(text), "%d%.*s", i, i % 40,
                "........................................");
            buf_printf(&all, "%s %s\n", p == 0 ? "text" : "message", text);
            if (p == 0) {
                uint8_t head[6] = {0x81, (uint8_t)(0x80 | strlen(text))};

                buf_append(&out, head, 6);
                buf_append_str(&out, text);
            } else {
                buf_printf(&out, "%s\n", text);
            }
        }
        tls_put(t, &c, out.data, out.len);
        for (unsigned i = 1; i <= 2000; i++) {
            UNTIL(t, t->messages == i);
            client_conn_resume(t->conn);
        }
        assert_int_equal(t->told.len, all.len);
        assert_memory_equal(t->told.data, all.data, all.len);
        tls_end(&c);
        buf_fini(&all);
        buf_fini(&out);
        finish(t);
    }
}

static void a_silent_tls_client_is_there_after_its_handshake(void **state)
{
    struct files f;
    struct test *t = prepare(&proto_text);
    struct clock clock = {0};
    uint64_t begun;
    struct tls c;

    make_files(&f);
    t->loop.data = &clock;
    t->conf.tls = tls_of(&f);
    t->conf.handshake_timeout = 0.2;
    t->on_open = NULL;
    start(t);
    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    UNTIL(t, t->opened == 1);
    clock.now += 400;
    begun = uv_hrtime();
    while (uv_hrtime() - begun < 100 * 1000000ULL)
        turn_once(t, begun);
    assert_int_equal(t->closed, 0);
    tls_put(t, &c, "hi\n", 3);
    UNTIL(t, t->messages == 1);
    tls_end(&c);
    UNTIL(t, t->closed == 1);
    finish(t);
}

/* Let port serve one end of a TCP connection; returns that, the other is *peer.
 */
static int adopt_pair(struct test *t, int *peer)
{
    union addr any, a = {0};
    socklen_t len = sizeof(a);
    int listening, fd;

    addr_parse(&any, "127.0.0.1:0");
    listening = listener_bind(&any, false);
    assert_int_equal(listen(listening, 1), 0);
    getsockname(listening, &a.sa, &len);
    *peer = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(*peer, &a.sa, len), 0);
    fcntl(*peer, F_SETFL, O_NONBLOCK);
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    close(listening);
    port_adopt(t->port, fd, &a);
    return fd;
}

/* What the loop does in 100 ms; it does not spin. */
static void expect_rest(struct test *t)
{
    uint64_t begun = uv_hrtime();
    unsigned turns = 0;

    while (uv_hrtime() - begun < 100 * 1000000ULL) {
        turn_once(t, begun);
        turns++;
    }
    assert_true(turns < 100); /* the tick's: one in 5 ms */
}

static void tls_says_its_end_once_the_socket_takes_it(void **state)
{
    static const char junk[4096], alert[] = {0x17, 3, 3, 0, 19};
    struct files f;
    struct test *t = serve_tls(&proto_text, &f);
    struct buf in = {0};
    struct tls c;
    int fd = adopt_pair(t, &c.fd);

    assert_true(tls_begin(t, &c, TLS1_3_VERSION));
    UNTIL(t, t->opened == 1);
    while (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) > 0)
        ;
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, "kicked");
    expect_rest(t);
    get_all(t, c.fd, &in);
    assert_true(in.len > 25); /* with the NUL of get_all() */
    assert_memory_equal(in.data + in.len - 25, alert, sizeof(alert));
    UNTIL(t, t->closed == 1);
    expect_rest(t);
    assert_true(heard(t, "close 1000 kicked, saying kicked\n"));
    tls_end(&c);
    UNTIL(t, port_counters(t->port)->connections == 0);
    buf_fini(&in);
    finish(t);
}

/* HKDF-Expand-Label of RFC 8446 section 7.1; label_len counts "tls13 ". */
static void expand(
    uint8_t *out, size_t len, const char *label, size_t label_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    const uint8_t head[] = {0, (uint8_t)len, (uint8_t)label_len};

    EVP_PKEY_derive_init(ctx);
    EVP_PKEY_CTX_set_hkdf_mode(ctx, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY);
    EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256());
    EVP_PKEY_CTX_set1_hkdf_key(ctx, client_secret, sizeof(client_secret));
    EVP_PKEY_CTX_add1_hkdf_info(ctx, head, sizeof(head));
    EVP_PKEY_CTX_add1_hkdf_info(
        ctx, (const uint8_t *)label, (int)label_len + 1);
    assert_int_equal(EVP_PKEY_derive(ctx, out, &len), 1);
    EVP_PKEY_CTX_free(ctx);
}

/* The first record of a client, made by hand. */
static void put_record(struct test *t, int fd, const void *plain, int len)
{
    uint8_t key[16], iv[12], record[64] = {0x17, 3, 3, 0, (uint8_t)(len + 16)};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    expand(key, sizeof(key), "tls13 key", 9);
    expand(iv, sizeof(iv), "tls13 iv", 8);
    EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, iv);
    EVP_EncryptUpdate(ctx, NULL, &n, record, 5);
    EVP_EncryptUpdate(ctx, record + 5, &n, plain, len);
    EVP_EncryptFinal_ex(ctx, record + 5 + len, &n);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, record + 5 + len);
    EVP_CIPHER_CTX_free(ctx);
    put(t, fd, record, 5 + (size_t)len + 16);
}

static void half_a_key_update_does_not_make_the_loop_spin(void **state)
{
    static const uint8_t half[] = {0x18, 0, 0, 1, 0x16}; /* of a handshake */
    struct files f;
    struct test *t = serve_tls(&proto_text, &f);
    struct tls c;

    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    UNTIL(t, t->opened == 1);
    put_record(t, c.fd, half, sizeof(half));
    expect_rest(t);
    client_conn_send(t->conn, "hello", 5, PROTOCOL_AS_USUAL);
    expect_rest(t);
    UNTIL(t, t->closed == 1);
    tls_end(&c);
    finish(t);
}

/* Junk, until the kernel takes no byte more for good. */
static void fill(struct test *t, int fd)
{
    static const char junk[4096];
    size_t len = sizeof(junk);

    while (len > 0) {
        if (send(fd, junk, len, MSG_NOSIGNAL) > 0)
            continue;
        len /= 2;
        expect_rest(t);
    }
}

/* What TLS has to say comes first, and the socket does not take it. */
static void a_full_socket_under_tls_does_not_make_the_loop_spin(void **state)
{
    for (int secured = 0; secured < 2; secured++) {
        struct files f;
        struct test *t = serve_tls(&proto_text, &f);
        struct tls c;
        int fd = adopt_pair(t, &c.fd);

        if (secured) {
            assert_true(tls_begin(t, &c, TLS1_3_VERSION));
            SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED);
            assert_int_equal(SSL_do_handshake(c.ssl), 1);
            expect_rest(t);
        }
        fill(t, fd);
        if (secured) {
            client_conn_send(t->conn, "hello", 5, PROTOCOL_AS_USUAL);
            expect_rest(t);
            tls_put(t, &c, "hi\n", 3);
        } else {
            tls_open(&c, TLS1_3_VERSION);
            assert_int_equal(SSL_connect(c.ssl), -1); /* its hello is out */
            put_str(t, c.fd, "more");
        }
        expect_rest(t);
        tls_end(&c);
        UNTIL(t, port_counters(t->port)->connections == 0);
        finish(t);
    }
}

/* They cost much and say nothing: others get their turn between them. */
static void key_updates_are_read_one_a_turn(void **state)
{
    struct files f;
    struct test *t = serve_tls(&proto_text, &f);
    unsigned turns = 0;
    struct tls c;

    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    UNTIL(t, t->opened == 1);
    for (int i = 0; i < 500; i++) {
        SSL_key_update(c.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        assert_int_equal(SSL_do_handshake(c.ssl), 1);
    }
    tls_put(t, &c, "hi\n", 3);
    UNTIL(t, (turns++, t->messages == 1));
    assert_true(turns > 500);
    tls_end(&c);
    finish(t);
}

static void tls_1_1_and_plain_text_are_refused(void **state)
{
    static const struct client_protocol *const protocols[] = {
        &proto_websocket, &proto_text};

    for (int p = 0; p < 2; p++) {
        struct files f;
        struct test *t = serve_tls(protocols[p], &f);
        struct buf in = {0};
        struct tls c;
        int fd;

        assert_false(tls_dial(t, &c, TLS1_1_VERSION));
        tls_end(&c);
        assert_true(tls_dial(t, &c, TLS1_2_VERSION));
        tls_end(&c);
        fd = dial(t);
        put_str(t, fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        get_all(t, fd, &in);
        assert_null(memmem(in.data, in.len, "HTTP/1", 6));
        close(fd);
        fd = dial(t); /* and a handshake that never begins */
        UNTIL(t, port_counters(t->port)->accepted == 4);
        assert_true(t->opened <= 1);
        close(fd);
        UNTIL(t, port_counters(t->port)->connections == 0);
        buf_fini(&in);
        finish(t);
    }
}

/* It would cost us much more than its peer. */
static void nobody_shakes_hands_twice(void **state)
{
    struct files f;
    struct test *t = serve_tls(&proto_text, &f);
    uint64_t begun = uv_hrtime();
    struct tls c;
    int rc;

    assert_true(tls_dial(t, &c, TLS1_2_VERSION));
    assert_int_equal(SSL_renegotiate(c.ssl), 1);
    while ((rc = SSL_do_handshake(c.ssl)) != 1 &&
           SSL_get_error(c.ssl, rc) == SSL_ERROR_WANT_READ)
        turn_once(t, begun);
    assert_int_not_equal(rc, 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    tls_end(&c);
    UNTIL(t, port_counters(t->port)->connections == 0);
    finish(t);
}

static void plain_http_on_a_tls_port_is_one_clear_line(void **state)
{
    struct files f;
    struct test *t = serve_tls(&proto_websocket, &f);
    struct buf in = {0};
    char path[96], line[512] = "";
    FILE *log;
    int fd;

    snprintf(path, sizeof(path), "%s/log", f.dir);
    assert_int_equal(log_open(path), 0);
    log_set_level(LOG_INFO);
    fd = dial(t);
    put_str(t, fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    get_all(t, fd, &in);
    log_set_level(LOG_NOTICE);
    log = fopen(path, "r");
    assert_non_null(fgets(line, sizeof(line), log));
    assert_non_null(strstr(
        line, "info client_conn: plain http on a tls port, closing peer=127."));
    assert_null(fgets(line, sizeof(line), log));
    fclose(log);
    close(fd);
    buf_fini(&in);
    finish(t);
}

static void expect_name(struct test *t, const char *want)
{
    struct tls c;
    char name[64] = "";
    X509 *x;

    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    x = SSL_get1_peer_certificate(c.ssl);
    X509_NAME_get_text_by_NID(
        X509_get_subject_name(x), NID_commonName, name, sizeof(name));
    assert_string_equal(name, want);
    X509_free(x);
    tls_end(&c);
}

static int prepare_tls(struct test *t, struct files *f, char err[256])
{
    return port_prepare_tls(t->port, f->pem.cert, f->pem.key, err);
}

static void expect_exchange(struct test *t, struct files *f, const char *name)
{
    char err[256] = "";

    assert_int_equal(prepare_tls(t, f, err), 0);
    port_settle_tls(t->port, true);
    memset(&f->pem, 0, sizeof(f->pem)); /* it was borrowed */
    expect_name(t, name);
}

static void certificates_are_exchanged_for_new_connections(void **state)
{
    struct files f;
    struct test *t = serve_tls(&proto_websocket, &f);
    struct buf in = {0};
    struct tls old;

    t->echo = true;
    tls_upgrade(t, &old);
    expect_name(t, "first");
    make_cert(&f, "second");
    expect_name(t, "first");
    expect_exchange(t, &f, "second");
    sign_cert(&f, "rsa", EVP_RSA_gen(2048)); /* the other kind goes */
    expect_exchange(t, &f, "rsa");
    make_cert(&f, "third");
    expect_exchange(t, &f, "third");
    put_masked(t, &old, "alive", 5);
    tls_get(t, &old, &in, 7);
    tls_end(&old);
    buf_fini(&in);
    finish(t);
}

static void a_certificate_waits_for_the_verdict_about_it(void **state)
{
    struct files f;
    struct test *t = serve_tls(&proto_text, &f);
    char err[256] = "";

    make_cert(&f, "second");
    assert_int_equal(prepare_tls(t, &f, err), 0);
    expect_name(t, "first");
    port_settle_tls(t->port, false);
    port_settle_tls(t->port, true); /* there is none any more */
    expect_name(t, "first");
    strcpy(f.pem.key, "no key");
    assert_int_equal(prepare_tls(t, &f, err), -EINVAL);
    port_settle_tls(t->port, true);
    expect_name(t, "first");
    make_cert(&f, "third");
    assert_int_equal(prepare_tls(t, &f, err), 0);
    finish(t); /* with one that nobody decided about */
}

static void expect_bad(const struct files *f, int result, const char *want)
{
    struct certificates_pem tls = tls_of(f);
    char err[256] = "";

    tls.cert_name = "cert.pem";
    assert_int_equal(certificates_check(&tls, err), result);
    if (!strstr(err, want))
        fail_msg("%s", err);
}

static void says_what_is_wrong_with_a_certificate_and_what_to_do(void **state)
{
    struct files f, other;

    make_files(&f);
    make_files(&other);
    expect_bad(&f, 0, "");
    strcat(f.pem.cert, other.pem.cert); /* a chain */
    expect_bad(&f, 0, "");
    strcat(f.pem.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    expect_bad(&f, -EINVAL, "the chain in cert.pem cannot be used: ");
    make_cert(&f, "again");
    strcpy(f.pem.key, other.pem.key);
    expect_bad(&f, -EINVAL,
        "key.pem is not the key of the certificate in cert.pem; give the one "
        "that it was made with");
    sign_cert(&f, "rsa", EVP_RSA_gen(2048)); /* of another kind */
    strcpy(f.pem.key, other.pem.key);
    expect_bad(&f, -EINVAL, "key.pem is not the key of the certificate");
    sign_cert(&f, "small", EVP_RSA_gen(1024));
    expect_bad(&f, -EINVAL,
        "the certificate in cert.pem has a key of 1024 bits, which clients "
        "refuse; make one with 2048 bits or more");
    cert_make(&f.pem, "old", EVP_EC_gen("P-256"), -2 * CERT_HOUR, -CERT_HOUR);
    expect_bad(&f, -EKEYEXPIRED, "the certificate in cert.pem expired at 20");
    expect_bad(&f, -EKEYEXPIRED, " UTC; renew it");
    cert_make(&f.pem, "new", EVP_EC_gen("P-256"), CERT_HOUR, 2 * CERT_HOUR);
    expect_bad(&f, -EKEYEXPIRED, "is not valid before 20");
    strcpy(f.pem.key, "");
    expect_bad(&f, -EINVAL, "key.pem has no whole PRIVATE KEY in it");
    strcpy(f.pem.cert, f.pem.key);
    expect_bad(&f, -EINVAL, "cert.pem has no whole CERTIFICATE in it");
}

static void a_key_with_a_passphrase_is_refused_without_asking(void **state)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    struct files f;

    make_files(&f);
    PEM_write_bio_PrivateKey(bio, pkey, EVP_aes_128_cbc(),
        (const unsigned char *)"secret", 6, NULL, NULL);
    cert_take_text(f.pem.key, bio);
    EVP_PKEY_free(pkey);
    expect_bad(&f, -EINVAL, "key.pem has a passphrase; remove it");
}

static void two_tls_ports_live_on_one_loop(void **state)
{
    struct files f, g;
    struct test *t = serve_tls(&proto_text, &f);
    struct port *first = t->port;
    union addr second;
    struct tls c;

    make_files(&g);
    t->conf.tls = tls_of(&g);
    second = t->addr;
    start(t); /* the newer one must not take the older one's callbacks away */
    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    UNTIL(t, t->opened == 1);
    tls_end(&c);
    t->addr = second;
    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    UNTIL(t, t->opened == 2);
    tls_end(&c);
    UNTIL(t, t->closed == 2);
    port_free(first);
    finish(t);
}

/* The answer to a request for www, over a connection of its own. */
static char *fetch(struct test *t, const char *method, const char *path)
{
    struct buf in = {0};
    char request[512], *answer;
    int fd = dial(t);

    snprintf(request, sizeof(request),
        "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    put_str(t, fd, request);
    get_all(t, fd, &in);
    answer = xstrdup((const char *)in.data);
    close(fd);
    buf_fini(&in);
    return answer;
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void link_file(const char *dir, const char *name, const char *target)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(symlink(target, path), 0);
}

static void files_of_www_are_served_and_no_others(void **state)
{
    static const struct {
        const char *method, *path, *status, *has;
    } table[] = {
        {"GET", "/", "200", "content-type: text/html"},
        {"GET", "/", "200", "\r\n\r\n<h1>home</h1>"},
        {"GET", "/index.html", "200", "<h1>home</h1>"},
        {"GET", "/?x=1", "200", "<h1>home</h1>"},
        {"GET", "/sub/", "200", "<h1>sub</h1>"},
        {"GET", "/sub/../app.js", "200", "content-type: text/javascript"},
        {"GET", "/inside.txt", "200", "hello"},
        {"HEAD", "/index.html", "200", "content-length: 13"},
        {"GET", "/c++.txt", "200", "plus"},
        {"GET", "/c%2B%2b.txt?+=+", "200", "plus"},
        {"GET", "/c%20%20.txt", "200", "blank"},
        {"GET", "/.well-known/x", "200", "known"},
        {"GET", "/linked/x", "200", "known"},
        {"GET", "/.env", "404", ""},
        {"GET", "/%2eenv", "404", ""},
        {"GET", "//.env", "404", ""},
        {"GET", "/.git/config", "404", ""},
        {"GET", "/sub/.env", "404", ""},
        {"GET", "/sub/../.env", "404", ""},
        {"GET", "/.well-known/../.env", "404", ""},
        {"GET", "/.well-known/%2e%2e/.env", "404", ""},
        {"GET", "/.well-known/.env", "404", ""},
        {"GET", "/.well-known", "404", ""},
        {"GET", "/sub/.well-known/x", "404", ""},
        {"GET", "/sub", "301", "location: /sub/\r\n"},
        {"GET", "/sub?x=/1", "301", "location: /sub/?x=/1\r\n"},
        {"GET", "///sub", "301", "location: /sub/\r\n"},
        {"HEAD", "/sub", "301", "content-length: 0\r\n"},
        {"GET", "/bare", "404", ""},
        {"GET", "/bare/", "404", ""},
        {"GET", "/pipe", "404", ""},
        {"GET", "/none.html", "404", "\r\n\r\nNot Found"},
        {"HEAD", "/none.html", "404", "content-length: 9"},
        {"GET", "/outside", "404", ""},
        {"GET", "/outside_dir/secret", "404", ""},
        {"GET", "/../secret", "404", ""},
        {"GET", "/%2e%2e/secret", "404", ""},
        {"GET", "/..%2fsecret", "404", ""},
        {"GET", "/sub/..%2f..%2fsecret", "404", ""},
        {"GET", "/sub/%2e%2e%2f%2e%2e%2fsecret", "404", ""},
        {"GET", "//etc/passwd", "404", ""},
        {"GET", "/%00x", "400", ""},
        {"POST", "/", "405", ""},
        {"PUT", "/", "405", ""},
        {"DELETE", "/index.html", "405", ""},
        {"OPTIONS", "/", "405", ""},
    };
    static const char *const folders[] = {
        "", ".git", ".well-known", "sub", "sub/.well-known", "bare"};
    char dir[TEMPDIR_SIZE], www[96], sub[128];
    struct test *t = prepare(&proto_websocket);
    struct clock clock = {0}; /* who is kept alive is so for ever */

    t->loop.data = &clock;
    tempdir_make(dir);
    snprintf(www, sizeof(www), "%s/www", dir);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(sub, sizeof(sub), "%s/%s", www, folders[i]);
        mkdir(sub, 0755);
        write_file(sub, ".env", "SECRET");
        write_file(sub, "config", "SECRET");
        write_file(sub, "x", "known");
    }
    snprintf(sub, sizeof(sub), "%s/sub", www);
    write_file(www, "c++.txt", "plus");
    write_file(www, "c  .txt", "blank");
    link_file(www, "linked", ".well-known");
    write_file(dir, "secret", "SECRET");
    write_file(www, "index.html", "<h1>home</h1>");
    write_file(www, "app.js", "1");
    write_file(www, "hello.txt", "hello");
    write_file(sub, "index.html", "<h1>sub</h1>");
    link_file(www, "inside.txt", "hello.txt");
    link_file(www, "outside", "../secret");
    link_file(www, "outside_dir", "..");
    snprintf(sub, sizeof(sub), "%s/pipe", www);
    assert_int_equal(mkfifo(sub, 0600), 0);
    t->conf.www = www;
    start(t);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char *answer = fetch(t, table[i].method, table[i].path);

        if (strncmp(answer, "HTTP/1.1 ", 9) != 0 ||
            strncmp(answer + 9, table[i].status, 3) != 0 ||
            strstr(answer, table[i].has) == NULL ||
            strstr(answer, "SECRET") != NULL ||
            strstr(answer, "connection: close\r\n") == NULL ||
            (strcmp(table[i].method, "HEAD") == 0 &&
                strstr(answer, "\r\n\r\n")[4] != '\0'))
            fail_msg("%s %s is answered with\n%s", table[i].method,
                table[i].path, answer);
        free(answer);
    }
    assert_int_equal(t->opened, 0);
    UNTIL(t, port_counters(t->port)->connections == 0);
    finish(t);
}

static void a_large_file_arrives_whole_also_over_tls(void **state)
{
    static const char request[] = "GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    struct files f;
    struct test *t = prepare(&proto_websocket);
    struct buf in = {0}, content = {0};
    struct tls c;
    char *body;

    make_files(&f);
    for (unsigned i = 0; i < 400000; i++)
        buf_printf(&content, "%06u ", i);
    buf_append_byte(&content, '\0');
    write_file(f.dir, "large.bin", (char *)content.data);
    t->conf.www = f.dir;
    t->conf.tls = tls_of(&f);
    start(t);
    assert_true(tls_dial(t, &c, TLS1_3_VERSION));
    tls_put(t, &c, request, sizeof(request) - 1);
    for (uint64_t begun = uv_hrtime(); !c.ended;) {
        tls_get_some(&c, &in);
        turn_once(t, begun);
    }
    buf_append_byte(&in, '\0');
    body = strstr((char *)in.data, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, (char *)content.data);
    tls_end(&c);
    buf_fini(&in);
    buf_fini(&content);
    finish(t);
}

/* Serve a file of that many lines to a client, on a clock that stands still;
 * room bytes fit into each of its sockets' buffers; behind follows its request.
 * Returns its end. */
static int ask_for_file(struct test *t, struct clock *clock, int room,
    unsigned lines, const char *behind, struct buf *content)
{
    char *request =
        xasprintf("GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n%s", behind);
    static char dir[TEMPDIR_SIZE];
    int fd, peer;

    tempdir_make(dir);
    for (unsigned i = 0; i < lines; i++)
        buf_printf(content, "%06u ", i);
    buf_append_byte(content, '\0');
    write_file(dir, "file.txt", (char *)content->data);
    t->conf.www = dir;
    t->loop.data = clock;
    start(t);
    fd = adopt_pair(t, &peer);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    put_str(t, peer, request);
    free(request);
    return peer;
}

static void expect_rest_of_file(
    struct test *t, int peer, struct buf *in, struct buf *content)
{
    get_all(t, peer, in);
    assert_non_null(strstr((char *)in->data, (char *)content->data));
    close(peer);
    buf_fini(in);
    buf_fini(content);
    finish(t);
}

static rlim_t first_free_fd(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return (rlim_t)fd;
}

/* It is there: 404 would be kept, and believed. */
static void who_cannot_open_a_file_says_so(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct client_shared *shared;
    char dir[TEMPDIR_SIZE];
    struct clock clock = {0};
    struct rlimit limit, few;
    char *answer;

    t->loop.data = &clock;
    tempdir_make(dir);
    write_file(dir, "index.html", "<h1>home</h1>");
    t->conf.www = dir;
    start(t);
    shared = (struct client_shared *)(void *)t->port;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < 2; i++) {
        few = limit;
        if (i == 0) /* both ends of a connection have one, no more is there … */
            few.rlim_cur = first_free_fd() + 2;
        else /* … or too many files are open */
            shared->files_open = (size_t)shared->fd_max / 4;
        setrlimit(RLIMIT_NOFILE, &few);
        answer = fetch(t, "GET", "/");
        setrlimit(RLIMIT_NOFILE, &limit);
        assert_non_null(strstr(answer, "HTTP/1.1 503 "));
        assert_non_null(strstr(answer, "\r\nretry-after: 1\r\n"));
        free(answer);
        shared->files_open = 0;
        assert_int_equal(port_counters(t->port)->files_refused, i + 1);
    }
    answer = fetch(t, "GET", "/");
    assert_non_null(strstr(answer, "\r\n\r\n<h1>home</h1>"));
    assert_int_equal(shared->files_open, 0);
    free(answer);
    finish(t);
}

/* What has come behind its request is too much: that is not answered, and
 * nothing about it stands in the file. */
static void a_file_is_whole_where_too_much_is_unfinished(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct clock clock = {0};
    struct buf in = {0}, content = {0};
    char begun[15000];
    int peer, other;

    memset(begun, 'x', sizeof(begun) - 1);
    begun[sizeof(begun) - 1] = '\0';
    t->conf.unfinished_total_max = 20000;
    peer = ask_for_file(t, &clock, 4096, 20000, begun, &content);
    get(t, peer, &in, 1);
    assert_in_range(port_counters(t->port)->unfinished, 15000, 20000);
    adopt_pair(t, &other);
    put_str(t, other, begun);
    while (port_counters(t->port)->unfinished_closed == 0)
        expect_rest(t);
    expect_rest_of_file(t, peer, &in, &content);
    close(other);
}

static void the_end_of_a_file_waits_for_a_slow_client(void **state)
{
    struct test *t = prepare(&proto_websocket);
    struct clock clock = {0};
    struct buf in = {0}, content = {0};
    int peer = ask_for_file(t, &clock, 4096, 20000, "", &content);

    for (int i = 0; i < 3; i++) {
        get(t, peer, &in, i == 0 ? 80000 : in.len + 10000);
        clock.now += 8000;
        for (int n = 0; n < 6; n++) /* more than from sweep to sweep */
            expect_rest(t);
    }
    expect_rest_of_file(t, peer, &in, &content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wss_messages_of_every_size_come_back),
        cmocka_unit_test(a_proxy_header_goes_ahead_of_tls),
        cmocka_unit_test(a_slow_wss_client_gets_everything_in_order),
        cmocka_unit_test(a_paused_tls_client_loses_nothing),
        cmocka_unit_test(a_silent_tls_client_is_there_after_its_handshake),
        cmocka_unit_test(tls_says_its_end_once_the_socket_takes_it),
        cmocka_unit_test(half_a_key_update_does_not_make_the_loop_spin),
        cmocka_unit_test(a_full_socket_under_tls_does_not_make_the_loop_spin),
        cmocka_unit_test(key_updates_are_read_one_a_turn),
        cmocka_unit_test(tls_1_1_and_plain_text_are_refused),
        cmocka_unit_test(nobody_shakes_hands_twice),
        cmocka_unit_test(plain_http_on_a_tls_port_is_one_clear_line),
        cmocka_unit_test(certificates_are_exchanged_for_new_connections),
        cmocka_unit_test(a_certificate_waits_for_the_verdict_about_it),
        cmocka_unit_test(says_what_is_wrong_with_a_certificate_and_what_to_do),
        cmocka_unit_test(a_key_with_a_passphrase_is_refused_without_asking),
        cmocka_unit_test(two_tls_ports_live_on_one_loop),
        cmocka_unit_test(files_of_www_are_served_and_no_others),
        cmocka_unit_test(a_large_file_arrives_whole_also_over_tls),
        cmocka_unit_test(the_end_of_a_file_waits_for_a_slow_client),
        cmocka_unit_test(a_file_is_whole_where_too_much_is_unfinished),
        cmocka_unit_test(who_cannot_open_a_file_says_so),
    };

    return cmocka_run_group_tests_name(
        "clients.certificates", tests, NULL, NULL);
}
