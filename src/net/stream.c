/* A conn, and between it and the owner, where TLS is wanted, OpenSSL with its
 * buffers in memory. Without TLS nothing is copied: the owner appends to the
 * conn's buffer. A stream that is closed inside one of its callbacks is freed
 * when that has returned. */
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>

#include "net/conn.h"
#include "net/tls.h"
#include "net/trust.h"
#include "util/alloc.h"

#define READ_ROOM (16 * 1024) /* bytes; a record of TLS has no more */

struct stream {
    struct turn *turn;            /* borrowed */
    struct conn *conn;            /* owned; NULL once it has ended */
    struct ssl_st *ssl;           /* owned; NULL without TLS */
    struct ssl_ctx_st *ctx;       /* shared; NULL without TLS */
    const struct stream_ops *ops; /* borrowed */
    void *arg;                    /* borrowed, handed to ops */
    struct turn_task flush;       /* encrypts */
    struct buf out;               /* with TLS: not encrypted yet */
    uint64_t bytes_in;
    bool secured; /* the handshake is over */
    bool busy;    /* inside a callback of conn */
    bool closed;
};

static void release(struct stream *s)
{
    turn_cancel(&s->flush);
    if (s->conn)
        conn_close(s->conn);
    tls_free(s->ssl);
    trust_free(s->ctx);
    buf_fini(&s->out);
    free(s);
}

/* Tell the owner, who has it no more. */
static void end(struct stream *s, int err, const char *why)
{
    if (s->closed)
        return;
    s->closed = true;
    s->ops->on_close(s, err, why, s->arg);
}

static void drain(struct stream *s)
{
    struct buf sealed = {0};

    tls_drain(s->ssl, &sealed);
    if (sealed.len > 0 && s->conn)
        buf_append(conn_out(s->conn), sealed.data, sealed.len);
    buf_fini(&sealed);
}

/* Encrypt what has collected. 0 or -errno. */
static int seal(struct stream *s)
{
    while (s->out.len > 0) {
        ssize_t n = tls_write(s->ssl, s->out.data, s->out.len);

        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        buf_consume(&s->out, (size_t)n);
    }
    buf_shrink(&s->out, 0);
    drain(s);
    return 0;
}

static void run_flush(struct turn_task *task)
{
    struct stream *s = LIST_ENTRY(task, struct stream, flush);
    int err = s->secured && s->conn ? seal(s) : 0;

    if (err < 0) {
        end(s, err, "TLS failed");
        release(s);
    }
}

/* Go on with the handshake; false: not over, or failed. */
static bool shake_hands(struct stream *s)
{
    int err = tls_handshake(s->ssl);

    drain(s); /* the peer is told of a failure, too, if it can be */
    if (err == -EAGAIN)
        return false;
    if (err == -EKEYREJECTED) {
        end(s, err, tls_complaint(s->ssl));
        return false;
    }
    if (err < 0) {
        end(s, err, "no TLS is spoken there, or none that fits");
        return false;
    }
    s->secured = true;
    turn_schedule(s->turn, &s->flush);
    s->ops->on_secured(s, s->arg);
    return !s->closed;
}

static void unseal(struct stream *s, const uint8_t *data, size_t len)
{
    uint8_t plain[READ_ROOM];
    ssize_t n;

    if (tls_feed(s->ssl, data, len) < 0) {
        end(s, -ENOMEM, NULL);
        return;
    }
    if (!s->secured && !shake_hands(s))
        return;
    do {
        n = tls_read(s->ssl, plain, sizeof(plain));
        if (n > 0) {
            s->bytes_in += (size_t)n;
            s->ops->on_bytes(s, plain, (size_t)n, s->arg);
        }
    } while (!s->closed && (n > 0 || (n == -EAGAIN && tls_has_input(s->ssl))));
    if (s->closed)
        return;
    if (n == -EAGAIN)
        drain(s); /* TLS itself may have an answer */
    else
        end(s, (int)n, n < 0 ? "TLS failed" : NULL);
}

static ssize_t measure_all(const uint8_t *data, size_t len, size_t limit)
{
    return (ssize_t)len;
}

static void on_packet(
    struct conn *c, const uint8_t *data, size_t len, void *arg)
{
    struct stream *s = arg;

    s->busy = true;
    if (s->ssl) {
        unseal(s, data, len);
    } else {
        s->bytes_in += len;
        s->ops->on_bytes(s, data, len, s->arg);
    }
    s->busy = false;
    if (s->closed)
        release(s);
}

static void on_lost(struct conn *c, int err, void *arg)
{
    struct stream *s = arg;

    s->conn = NULL;
    s->busy = true;
    if (err == 0 && s->ssl && !s->secured)
        end(s, -EPROTO, "the server ended the TLS handshake");
    else
        end(s, err, NULL);
    release(s);
}

/* False: no memory. */
static bool begin_tls(struct stream *s, const struct stream_conf *conf)
{
    s->ctx = trust_share(conf->tls);
    s->ssl = tls_connect_apart(conf->tls, conf->host);
    if (!s->ssl)
        return false;
    tls_handshake(s->ssl); /* says hello; the answer is awaited */
    drain(s);
    return true;
}

struct stream *stream_open(struct turn *turn, int fd,
    const struct stream_conf *conf, const struct stream_ops *ops, void *arg)
{
    static const struct conn_ops conn_ops = {
        .measure = measure_all, .on_packet = on_packet, .on_close = on_lost};
    struct conn_limits limits = {
        .packet_max = SIZE_MAX, .high_water = conf->high_water};
    struct stream *s = xcalloc(1, sizeof(*s));

    list_init(&s->flush.node);
    s->flush.run = run_flush;
    s->turn = turn;
    s->ops = ops;
    s->arg = arg;
    s->conn = conn_open(turn, fd, &conn_ops, &limits, s);
    if (!s->conn || (conf->tls && !begin_tls(s, conf))) {
        release(s);
        return NULL;
    }
    return s;
}

void stream_close(struct stream *s)
{
    if (s->closed)
        return;
    s->closed = true;
    if (!s->busy)
        release(s);
}

void stream_close_flushed(struct stream *s)
{
    if (!s->closed && !s->busy && s->conn) {
        stream_send(s);
        conn_close_flushed(s->conn);
        s->conn = NULL;
    }
    stream_close(s);
}

struct buf *stream_out(struct stream *s)
{
    if (!s->ssl)
        return conn_out(s->conn);
    turn_schedule(s->turn, &s->flush);
    return &s->out;
}

void stream_send(struct stream *s)
{
    if (s->ssl && (!s->secured || seal(s) < 0))
        return; /* the end of the turn tells why */
    conn_send(s->conn);
}

size_t stream_queued(const struct stream *s)
{
    return s->out.len + conn_queued(s->conn);
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}
