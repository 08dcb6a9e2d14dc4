/* What has come is handed out as whole packets, what is to go collects until
 * run_flush(). A conn owns its socket, a timer and four buffers, and is freed
 * when both handles have closed. No callback follows on_close(), conn_close()
 * or conn_close_flushed(). */
#include "net/conn.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/reach.h"
#include "util/alloc.h"
#include "util/log.h"

#define CONN_READ_ROOM (64 * 1024)   /* bytes offered to one read, at least */
#define CONN_CLAIM_MAX (1024 * 1024) /* bytes reserved on a claim alone */
#define CONN_DISCARD   4096          /* bytes a read while lingering */
#define CONN_LINGER_MS 2000          /* conn_close_flushed() waits so long */
#define CONN_WATCH_MS  5000          /* between looks at the peer's machine */

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    uv_timer_t timer; /* looks at the peer's machine, then ends lingering */
    uv_write_t write;
    struct turn *turn;          /* borrowed; not touched once lingering */
    const struct conn_ops *ops; /* borrowed */
    void *arg;                  /* borrowed, handed to ops */
    struct conn_limits limits;
    struct turn_task flush;
    struct turn_task deliver;
    struct buf in;       /* the beginning of a packet, or held by a pause */
    struct buf first;    /* to go before out; both begin with whole packets */
    struct buf out;      /* collected, not given to the kernel yet */
    struct buf inflight; /* what write is about; untouched until it is done */
    size_t need;         /* length of the first packet of in, 0 unknown */
    uint64_t bytes_in;
    uint64_t bytes_out;
    union addr peer;
    int handles; /* not yet closed */
    int broken;  /* -errno of a write that failed; 0: none */
    bool writing;
    bool split;  /* the kernel has the beginning of the packet in first */
    bool choked; /* was above high water, on_drain is due */
    bool paused;
    bool lingering; /* conn_close_flushed(): the owner is gone */
    bool closing;
    bool far; /* the peer is on another machine */
};

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    if (--c->handles > 0)
        return;
    buf_fini(&c->in);
    buf_fini(&c->first);
    buf_fini(&c->out);
    buf_fini(&c->inflight);
    free(c);
}

static void begin_close(struct conn *c)
{
    c->closing = true;
    turn_cancel(&c->flush);
    turn_cancel(&c->deliver);
    uv_close((uv_handle_t *)&c->timer, on_closed);
    uv_close(&c->io.handle, on_closed);
}

/* The peer or an error has ended the connection. */
static void end(struct conn *c, int err)
{
    if (c->closing)
        return;
    begin_close(c);
    if (!c->lingering)
        c->ops->on_close(c, c->broken ? c->broken : err, c->arg);
}

/* Nothing can be sent any more, but what the peer sent before it went is still
 * to be read, whoever paused that; then reading tells the end. */
static void break_off(struct conn *c, int err)
{
    if (c->lingering) {
        end(c, err);
        return;
    }
    c->broken = err;
    conn_resume(c);
}

/* Hand out whole packets. Returns the bytes used, or what measure said of bad
 * input. */
static ssize_t deliver(struct conn *c, const uint8_t *data, size_t len)
{
    size_t used = 0;

    c->need = 0;
    while (used < len && !c->paused && !c->closing && !c->lingering) {
        ssize_t n =
            c->ops->measure(data + used, len - used, c->limits.packet_max);

        if (n < 0)
            return n;
        if (n == 0)
            break;
        if ((size_t)n > len - used) {
            c->need = (size_t)n;
            break;
        }
        c->ops->on_packet(c, data + used, (size_t)n, c->arg);
        used += (size_t)n;
    }
    return (ssize_t)used;
}

/* A short beginning is moved in front of what comes next, in the scratch
 * memory; so an idle connection, or one with small packets, needs next to no
 * memory of its own. */
static bool reads_to_scratch(const struct conn *c)
{
    return c->in.len <= TURN_SCRATCH_SIZE - CONN_READ_ROOM &&
           c->need <= TURN_SCRATCH_SIZE;
}

/* A claimed length is believed up to a point; beyond it, room grows with what
 * has really come. */
static size_t read_room(const struct conn *c)
{
    size_t room = c->need > c->in.len ? c->need - c->in.len : 0;
    size_t trust = c->in.len > CONN_CLAIM_MAX ? c->in.len : CONN_CLAIM_MAX;

    if (room > trust)
        room = trust;
    return room > CONN_READ_ROOM ? room : CONN_READ_ROOM;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct conn *c = handle->data;

    if (c->lingering) {
        out->base = (char *)buf_reserve(&c->in, CONN_DISCARD);
        out->len = CONN_DISCARD;
    } else if (reads_to_scratch(c)) {
        uint8_t *scratch = turn_scratch(c->turn);

        if (c->in.len > 0)
            memcpy(scratch, c->in.data, c->in.len);
        out->base = (char *)scratch + c->in.len;
        out->len = TURN_SCRATCH_SIZE - c->in.len;
    } else {
        out->base = (char *)buf_reserve(&c->in, read_room(c));
        out->len = buf_room(&c->in);
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *unused)
{
    struct conn *c = stream->data;
    ssize_t used;

    if (nread == 0)
        return;
    if (nread < 0) {
        end(c, nread == UV_EOF ? 0 : (int)nread);
        return;
    }
    if (c->lingering)
        return;
    c->bytes_in += (size_t)nread;
    if (reads_to_scratch(c)) {
        const uint8_t *scratch = turn_scratch(c->turn);
        size_t len = c->in.len + (size_t)nread;

        used = deliver(c, scratch, len);
        buf_clear(&c->in);
        if (used >= 0)
            buf_append(&c->in, scratch + used, len - (size_t)used);
    } else {
        buf_commit(&c->in, (size_t)nread);
        used = deliver(c, c->in.data, c->in.len);
        if (used > 0)
            buf_consume(&c->in, (size_t)used);
    }
    buf_shrink(&c->in, 0);
    if (used < 0)
        end(c, (int)used);
}

/* After conn_resume(): first what the pause held, then the socket. */
static void run_deliver(struct turn_task *task)
{
    struct conn *c = LIST_ENTRY(task, struct conn, deliver);
    ssize_t used;

    if (c->paused)
        return;
    used = deliver(c, c->in.data, c->in.len);
    if (c->closing || c->lingering)
        return;
    if (used < 0) {
        end(c, (int)used);
        return;
    }
    buf_consume(&c->in, (size_t)used);
    buf_shrink(&c->in, 0);
    if (!c->paused)
        uv_read_start(&c->io.stream, on_alloc, on_read);
}

/* queued: the most that the owner can have seen since the last look. */
static void note_queued(struct conn *c, size_t queued)
{
    if (queued > c->limits.high_water)
        c->choked = true;
}

static void check_drained(struct conn *c)
{
    if (!c->choked || conn_queued(c) > c->limits.high_water / 4)
        return;
    c->choked = false;
    if (c->ops->on_drain)
        c->ops->on_drain(c, c->arg);
}

/* Lingering and all is sent: the peer reads the end, and its own end (or the
 * timer) closes us. Closing at once could reset the connection under data that
 * is still on its way. */
static void send_end(struct conn *c)
{
    uv_os_fd_t fd;

    if (uv_fileno(&c->io.handle, &fd) < 0 || shutdown(fd, SHUT_WR) < 0)
        begin_close(c);
}

static void on_written(uv_write_t *req, int status);

/* The kernel took n bytes of what has collected. */
static void note_sent(struct conn *c, size_t n)
{
    size_t first = n < c->first.len ? n : c->first.len;

    c->bytes_out += n;
    buf_consume(&c->first, first);
    buf_consume(&c->out, n - first);
    if (c->first.base && c->first.len == 0)
        turn_take_back(c->turn, &c->first);
    if (c->out.len == 0)
        turn_take_back(c->turn, &c->out);
}

static size_t collected(const struct conn *c)
{
    return c->first.len + c->out.len;
}

/* Give libuv what has collected. 0 or -errno. */
static int start_write(struct conn *c)
{
    uv_buf_t chunk;

    if (c->first.len > 0) {
        buf_append(&c->first, c->out.data, c->out.len);
        buf_swap(&c->first, &c->out);
        buf_fini(&c->first);
    }
    buf_swap(&c->out, &c->inflight);
    chunk.base = (char *)c->inflight.data;
    chunk.len = c->inflight.len;
    c->writing = true;
    return uv_write(&c->write, &c->io.stream, &chunk, 1, on_written);
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->handle->data;
    int err = status;

    if (c->closing)
        return;
    c->writing = false;
    if (status == 0) {
        note_queued(c, collected(c) + c->inflight.len);
        c->bytes_out += c->inflight.len;
        buf_clear(&c->inflight);
        if (!c->lingering)
            turn_take_back(c->turn, &c->inflight);
        if (c->lingering && collected(c) > 0)
            err = start_write(c);
        else if (c->lingering)
            send_end(c);
    }
    if (err < 0) {
        break_off(c, err);
    } else if (!c->lingering) {
        if (collected(c) > 0)
            turn_schedule(c->turn, &c->flush);
        check_drained(c);
    }
}

static void run_flush(struct turn_task *task)
{
    struct conn *c = LIST_ENTRY(task, struct conn, flush);
    uv_buf_t chunks[2] = {
        {.base = (char *)c->first.data, .len = c->first.len},
        {.base = (char *)c->out.data, .len = c->out.len},
    };
    unsigned none = c->first.len == 0;
    int n;

    note_queued(c, conn_queued(c));
    if (c->writing || c->broken || collected(c) == 0)
        return;
    n = uv_try_write(&c->io.stream, chunks + none, 2 - none);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        break_off(c, n);
        return;
    }
    note_sent(c, (size_t)n);
    c->split = false;
    if (collected(c) > 0) {
        n = start_write(c);
        if (n < 0) {
            break_off(c, n);
            return;
        }
    }
    check_drained(c);
}

static void on_watch(uv_timer_t *timer)
{
    struct conn *c = timer->data;
    uv_os_fd_t fd;

    if (uv_fileno(&c->io.handle, &fd) == 0 && reach_is_lost(fd))
        end(c, -ETIMEDOUT);
}

/* A peer on this machine cannot become unreachable. On an overloaded machine
 * probes of it would stay without an answer all the same. */
static void watch(struct conn *c)
{
    uv_os_fd_t fd;

    if (uv_fileno(&c->io.handle, &fd) < 0 || reach_is_local(fd, &c->peer))
        return;
    c->far = true;
    uv_tcp_keepalive(&c->io.tcp, 1, REACH_KEEPALIVE);
    reach_resend_soon(fd);
    uv_timer_start(&c->timer, on_watch, CONN_WATCH_MS, CONN_WATCH_MS);
    uv_unref((uv_handle_t *)&c->timer);
}

/* A peer that is gone already leaves only the family. */
static void find_peer(struct conn *c, int fd)
{
    socklen_t len = sizeof(c->peer);
    int domain = AF_UNIX;
    socklen_t domain_len = sizeof(domain);

    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len);
    if (domain != AF_UNIX)
        getpeername(fd, &c->peer.sa, &len);
    c->peer.sa.sa_family = (sa_family_t)domain;
    addr_unmap(&c->peer);
}

/* Make fd a libuv stream. 0 or -errno; once c->handles is set, c must be closed
 * through libuv. */
static int open_stream(struct conn *c, uv_loop_t *loop, int fd)
{
    bool is_unix = c->peer.sa.sa_family == AF_UNIX;
    int err;

    err = is_unix ? uv_pipe_init(loop, &c->io.pipe, 0)
                  : uv_tcp_init(loop, &c->io.tcp);
    if (err < 0)
        return err;
    uv_timer_init(loop, &c->timer);
    c->io.handle.data = c;
    c->timer.data = c;
    c->handles = 2;
    err = is_unix ? uv_pipe_open(&c->io.pipe, fd) : uv_tcp_open(&c->io.tcp, fd);
    if (err < 0)
        return err;
    if (!is_unix)
        uv_tcp_nodelay(&c->io.tcp, 1);
    return 0;
}

struct conn *conn_open(struct turn *turn, int fd, const struct conn_ops *ops,
    const struct conn_limits *limits, void *arg)
{
    struct conn *c = xcalloc(1, sizeof(*c));
    int err;

    list_init(&c->flush.node);
    list_init(&c->deliver.node);
    c->flush.run = run_flush;
    c->deliver.run = run_deliver;
    c->turn = turn;
    c->ops = ops;
    c->limits = *limits;
    c->arg = arg;
    find_peer(c, fd);
    err = open_stream(c, turn_loop(turn), fd);
    if (err < 0) {
        close(fd);
        goto fail;
    }
    err = uv_read_start(&c->io.stream, on_alloc, on_read);
    if (err < 0)
        goto fail;
    watch(c);
    return c;

fail:
    log_error("cannot use a connection err=%s", uv_strerror(err));
    if (c->handles > 0)
        begin_close(c);
    else
        free(c);
    return NULL;
}

void conn_close(struct conn *c)
{
    if (!c->closing && !c->lingering)
        begin_close(c);
}

static void on_linger_timeout(uv_timer_t *timer)
{
    struct conn *c = timer->data;

    if (!c->closing)
        begin_close(c);
}

void conn_close_flushed(struct conn *c)
{
    if (c->closing || c->lingering)
        return;
    turn_cancel(&c->flush);
    turn_cancel(&c->deliver);
    c->lingering = true;
    uv_ref((uv_handle_t *)&c->timer);
    uv_timer_start(&c->timer, on_linger_timeout, CONN_LINGER_MS, 0);
    uv_read_start(&c->io.stream, on_alloc, on_read);
    if (c->writing)
        return;
    if (collected(c) == 0)
        send_end(c);
    else if (start_write(c) < 0)
        begin_close(c);
}

void conn_set_packet_max(struct conn *c, size_t packet_max)
{
    c->limits.packet_max = packet_max;
}

struct buf *conn_out(struct conn *c)
{
    if (!c->out.base)
        turn_lend(c->turn, &c->out);
    turn_schedule(c->turn, &c->flush);
    return &c->out;
}

struct buf *conn_out_first(struct conn *c)
{
    if (!c->first.base)
        turn_lend(c->turn, &c->first);
    turn_schedule(c->turn, &c->flush);
    return &c->first;
}

void conn_send_first(struct conn *c, bool more)
{
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    uv_os_fd_t fd;
    ssize_t n;

    if (c->writing || c->broken || c->first.len == 0 ||
        uv_fileno(&c->io.handle, &fd) < 0)
        return;
    if (more && c->out.len > 0)
        flags |= MSG_MORE;
    n = send(fd, c->first.data, c->first.len, flags);
    if (n <= 0)
        return; /* the next write tells why */
    c->split = (size_t)n < c->first.len;
    note_sent(c, (size_t)n);
}

bool conn_send_last_word(struct conn *c, const void *packet, size_t len)
{
    uv_os_fd_t fd;

    if (c->writing || c->split || c->closing ||
        uv_fileno(&c->io.handle, &fd) < 0)
        return false;
    return send(fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

void conn_send(struct conn *c)
{
    if (!c->closing && !c->lingering)
        run_flush(&c->flush);
}

size_t conn_queued(const struct conn *c)
{
    return collected(c) + uv_stream_get_write_queue_size(&c->io.stream);
}

bool conn_is_full(const struct conn *c)
{
    return conn_queued(c) > c->limits.high_water;
}

void conn_pause(struct conn *c)
{
    if (c->broken)
        return;
    c->paused = true;
    uv_read_stop(&c->io.stream);
}

void conn_resume(struct conn *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    turn_schedule(c->turn, &c->deliver);
}

const union addr *conn_peer(const struct conn *c)
{
    return &c->peer;
}

void conn_call_peer(struct conn *c, const union addr *name)
{
    c->peer = *name;
}

uint64_t conn_bytes_in(const struct conn *c)
{
    return c->bytes_in;
}

uint64_t conn_bytes_out(const struct conn *c)
{
    return c->bytes_out;
}

bool conn_is_far(const struct conn *c)
{
    return c->far;
}

uint64_t conn_silence(const struct conn *c)
{
    uv_os_fd_t fd;

    return c->far && uv_fileno(&c->io.handle, &fd) == 0 ? reach_silence(fd) : 0;
}

bool conn_has_ended(const struct conn *c)
{
    struct pollfd p = {.events = POLLRDHUP};
    uv_os_fd_t fd;

    if (uv_fileno(&c->io.handle, &fd) < 0)
        return true;
    p.fd = fd;
    return poll(&p, 1, 0) > 0;
}
