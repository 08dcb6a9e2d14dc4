#include "gateway/client_io.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/client_io_impl.h"
#include "util/alloc.h"
#include "util/log.h"

#define USER_TIMEOUT 30000 /* ms that sent bytes may stay unacknowledged */
#define KEEP_IDLE    30    /* s of silence before TCP looks for the peer … */
#define KEEP_AGAIN   10    /* … and looks again, … */
#define KEEP_TIMEOUT 60000 /* … ms in all; the same for sent bytes */
#define REAPER_TURNS 4     /* until all handles have closed */
#define REFUSED_LOG  10000 /* ms; one line about refusals in it */

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value));
}

/* Websockets are pinged. The others may be silent for ever, so the kernel has
 * to find out whose machine is gone. (Its probes count until TCP_USER_TIMEOUT,
 * so that must be long enough for several.)
 *
 * A peer on this machine, often a proxy, has no path whose congestion must be
 * felt out: where BBR is the default, its timers cost 6 % of an echo. */
static void tune_socket(
    const struct client_io *io, int fd, const union addr *peer)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (io->conf->protocol == CLIENT_IO_WEBSOCKET) {
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT);
    } else {
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_AGAIN);
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, KEEP_TIMEOUT);
    }
    if (addr_is_loopback(peer))
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

void client_io_refuse(
    struct client_io *io, int fd, const union addr *peer, const char *why)
{
    char text[ADDR_TEXT_SIZE];

    io->counters.refused++;
    close(fd);
    if (log_may(&io->refusals, "refused connections", 1, REFUSED_LOG))
        log_warn("connection refused, %s peer=%s connections=%zu", why,
            addr_format(text, peer), io->counters.connections);
}

bool client_io_forwards(const struct client_io *io, const union addr *peer)
{
    return io->conf->protocol == CLIENT_IO_WEBSOCKET &&
           forwarded_trusts(&io->trust, peer);
}

void client_io_welcome(struct client_io *io, int fd, const union addr *peer)
{
    struct client_limit *limit = NULL;
    struct client_conn *c;

    if (!client_io_forwards(io, peer) &&
        client_limits_count(&io->limits, peer, &limit) < 0) {
        client_limits_leave(&io->limits, NULL);
        client_io_refuse(io, fd, peer, "too many of its address");
        return;
    }
    c = client_conn_new(io, peer, limit);
    client_conn_expect(
        c, &io->opening, (uint64_t)(io->conf->handshake_timeout * 1000));
    if (client_sock_open(c, fd) < 0) {
        client_conn_gone(c);
        client_conn_free(c);
        client_io_refuse(io, fd, peer, "cannot be watched");
    } else if (c->secured) {
        client_conn_schedule(c); /* a stream's client is there */
    }
}

void client_io_adopt(struct client_io *io, int fd, const union addr *peer)
{
    io->counters.accepted++;
    tune_socket(io, fd, peer);
    if (io->conf->proxy_protocol && !forwarded_trusts(&io->trust, peer))
        client_io_refuse(io, fd, peer, "not one of trusted_proxies");
    else if (fd >= io->fd_max || client_limits_enter(&io->limits) < 0)
        client_io_refuse(io, fd, peer, "too many connections");
    else if (io->conf->proxy_protocol)
        client_proxy_accept(io, fd, peer);
    else
        client_io_welcome(io, fd, peer);
}

static void on_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    struct client_io *io = arg;
    uint64_t refused = io->counters.refused;

    client_io_adopt(io, fd, peer);
    /* Who is over his limit shall not use up what the others may have. */
    if (io->counters.refused > refused)
        listener_refund(l);
}

static int read_trust(struct client_io *io, char err[256])
{
    const char *bad;
    int rc = forwarded_trust_init(&io->trust, io->conf->trusted_proxies, &bad);

    if (rc < 0)
        snprintf(err, 256, "trusted_proxies: \"%.100s\" is not a network", bad);
    return rc;
}

static struct client_io *alloc_io(struct turn *turn,
    const struct client_io_conf *conf, const struct client_io_ops *ops,
    void *arg)
{
    struct client_io *io = xcalloc(1, sizeof(*io));
    struct rlimit rl = {.rlim_cur = 1024};
    size_t per_ip = conf->max_connections_per_ip;

    io->conf = conf;
    io->ops = ops;
    io->arg = arg;
    io->turn = turn;
    io->loop = turn_loop(turn);
    io->fd = -1;
    io->wake_fd = -1;
    getrlimit(RLIMIT_NOFILE, &rl);
    io->fd_max =
        rl.rlim_cur > CLIENT_FDS_MAX ? CLIENT_FDS_MAX : (int)rl.rlim_cur;
    io->fd_max -= CLIENT_FD_RESERVE;
    list_init(&io->conns);
    list_init(&io->opening);
    list_init(&io->closing);
    list_init(&io->lingering);
    list_init(&io->proxied);
    io->limits.max = conf->max_connections;
    io->limits.max_per_ip = per_ip < conf->max_connections ? per_ip : 0;
    uv_timer_init(io->loop, &io->sweep);
    io->sweep.data = io;
    uv_idle_init(io->loop, &io->reaper);
    io->reaper.data = io;
    return io;
}

int client_io_new(struct client_io **out, struct turn *turn, int fd,
    const struct client_io_conf *conf, const struct client_io_ops *ops,
    void *arg, char err[256])
{
    struct client_io *io = alloc_io(turn, conf, ops, arg);
    int rc = read_trust(io, err);

    if (rc == 0 && conf->tls_cert != NULL)
        rc = client_tls_new(&io->ssl_ctx, conf, err);
    if (rc == 0 && conf->www != NULL)
        rc = client_files_open(io, err);
    if (rc < 0) {
        client_io_free(io);
        return rc;
    }
    io->fd = fd;
    *out = io;
    return 0;
}

int client_io_listen(struct client_io *io)
{
    int rc;

    if (io->fd < 0)
        return -EALREADY;
    rc = listener_open(&io->listener, io->loop, io->fd, on_accept, io);
    if (rc < 0)
        return rc;
    io->fd = -1;
    listener_set_rate(io->listener, io->conf->max_accept_rate);
    return 0;
}

/* Connections go on waiting there for the next one that listens. */
static void leave_socket(struct client_io *io)
{
    if (io->listener != NULL)
        listener_close(io->listener);
    io->listener = NULL;
    if (io->fd >= 0)
        close(io->fd);
    io->fd = -1;
}

void client_io_stop_listening(struct client_io *io)
{
    if (io->listener != NULL)
        listener_refuse(io->listener);
    io->listener = NULL;
    leave_socket(io);
}

int client_io_reload_tls(struct client_io *io, char err[256])
{
    void *fresh;
    int rc;

    if (io->ssl_ctx == NULL)
        return 0;
    rc = client_tls_new(&fresh, io->conf, err);
    if (rc < 0)
        return rc;
    client_tls_free(io->ssl_ctx);
    io->ssl_ctx = fresh;
    if (io->ticket_key != NULL)
        client_tls_set_ticket_key(fresh, io->ticket_key);
    return 0;
}

void client_io_set_ticket_key(
    struct client_io *io, const uint8_t key[CLIENT_IO_TICKET_KEY_LEN])
{
    if (io->ssl_ctx == NULL)
        return;
    if (io->ticket_key == NULL)
        io->ticket_key = xmalloc(CLIENT_IO_TICKET_KEY_LEN);
    memcpy(io->ticket_key, key, CLIENT_IO_TICKET_KEY_LEN);
    client_tls_set_ticket_key(io->ssl_ctx, key);
}

static void on_reaper_closed(uv_handle_t *handle)
{
    struct client_io *io = handle->data;

    client_queue_free_spares(io);
    client_tls_free(io->ssl_ctx);
    free(io->ticket_key);
    client_limits_fini(&io->limits);
    forwarded_trust_fini(&io->trust);
    free(io->www);
    free(io);
}

/* The connections' handles close at the end of a turn. libwebsockets closes its
 * own over several turns, and ends only when told again after the last one. */
static void on_reaper(uv_idle_t *reaper)
{
    struct client_io *io = reaper->data;

    if (--io->turns_left > 0)
        return;
    client_files_end(io);
    uv_close((uv_handle_t *)reaper, on_reaper_closed);
}

void client_io_free(struct client_io *io)
{
    struct list *node, *tmp;

    leave_socket(io);
    client_proxy_free(io);
    client_files_close(io);
    LIST_FOREACH_SAFE (node, tmp, &io->conns)
        client_conn_kill(LIST_ENTRY(node, struct client_conn, node));
    assert(io->counters.queued == 0);
    uv_close((uv_handle_t *)&io->sweep, NULL);
    io->turns_left = REAPER_TURNS;
    uv_idle_start(&io->reaper, on_reaper);
}

const struct client_io_counters *client_io_counters(const struct client_io *io)
{
    return &io->counters;
}
