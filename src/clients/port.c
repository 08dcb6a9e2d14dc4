/* One port: accepting within the limits, its connections and timers, its
 * certificates, and its end, which waits for the handles of all of them. It
 * owns struct port. */
#include "clients/port.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clients/access.h"
#include "clients/client_conn_impl.h"
#include "clients/proxy.h"
#include "clients/recv.h"
#include "clients/request.h"
#include "clients/trim.h"
#include "net/clock.h"
#include "net/listener.h"
#include "util/alloc.h"
#include "util/log.h"

#define FD_RESERVE   320   /* descriptors left for links, logs */
#define USER_TIMEOUT 30000 /* ms that sent bytes may stay unacknowledged */
#define KEEP_IDLE    30    /* s of silence before TCP looks for the peer … */
#define KEEP_AGAIN   10    /* … and looks again, … */
#define KEEP_TIMEOUT 60000 /* … ms in all; the same for sent bytes */
#define REAPER_TURNS 2     /* until all handles have closed */
#define REFUSED_LOG  10000 /* ms; one line about refusals in it */

struct port {
    struct client_shared shared; /* first, for those who test it */
    struct proxy proxy;
    struct listener *listener;  /* owned; NULL before and after */
    int fd;                     /* owned until port_listen(), then -1 */
    struct ssl_ctx_st *ssl_ctx; /* owned; NULL: no TLS */
    struct ssl_ctx_st
        *fresh_ctx;      /* owned; what is to take its place, or NULL */
    uint8_t *ticket_key; /* owned; NULL: each context's own */
    uv_idle_t reaper;    /* keeps it until the handles of others have closed */
    unsigned turns_left; /* of it */
};

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value));
}

/* Who can be pinged is. The others may be silent for ever, so the kernel has
 * to find out whose machine is gone. (Its probes count until TCP_USER_TIMEOUT,
 * so that must be long enough for several.)
 *
 * A peer on this machine, often a proxy, has no path whose congestion must be
 * felt out: where BBR is the default, its timers cost 6 % of an echo. */
static void tune_socket(const struct port *port, int fd, const union addr *peer)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (port->shared.conf->protocol->ping != NULL) {
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

/* Close fd: before TLS, before anything that costs. */
static void refuse(
    struct port *port, int fd, const union addr *peer, const char *why)
{
    char text[ADDR_TEXT_SIZE];

    port->shared.counters.refused++;
    close(fd);
    if (log_may(&port->shared.refusals, "refused connections", 1, REFUSED_LOG))
        log_warn("connection refused, %s peer=%s connections=%zu", why,
            addr_format(text, peer), port->shared.counters.connections);
}

/* Its client's address stands in its request (forwarded.h). */
static bool forwards(const struct port *port, const union addr *peer)
{
    return port->shared.conf->protocol->begins_with_request &&
           forwarded_trusts(&port->shared.trust, peer);
}

/* A connection that passed limits_enter() and comes from peer: count it there
 * too and begin with it. Takes ownership of fd. */
static void welcome(struct port *port, int fd, const union addr *peer)
{
    struct limit *limit = NULL;
    int err = forwards(port, peer)
                  ? 0
                  : limits_count(&port->shared.limits, peer, &limit);
    struct client_conn *c;

    if (err < 0) {
        limits_leave(&port->shared.limits, NULL);
        refuse(port, fd, peer,
            err == -EPERM ? "its address is banned"
                          : "too many of its address");
        return;
    }
    c = client_conn_new(&port->shared, peer, limit);
    client_conn_expect(c, &port->shared.opening,
        (uint64_t)(port->shared.conf->handshake_timeout * 1000));
    if (client_conn_start(c, fd, port->ssl_ctx) < 0) {
        client_conn_kill(c);
        client_conn_free(c);
        refuse(port, fd, peer, "cannot be watched");
    }
}

/* Of a proxy: whom it speaks for. */
static void on_proxied(int fd, const union addr *client, void *arg)
{
    welcome(arg, fd, client);
}

static void on_proxied_end(
    int fd, const union addr *proxy, const char *why, void *arg)
{
    struct port *port = arg;

    limits_leave(&port->shared.limits, NULL);
    if (why != NULL)
        refuse(port, fd, proxy, why);
    else
        close(fd);
}

static void await_header(struct port *port, int fd, const union addr *proxy)
{
    if (proxy_accept(&port->proxy, fd, proxy) < 0)
        on_proxied_end(fd, proxy, "cannot be watched", port);
    else
        client_shared_start_sweep(&port->shared);
}

void port_adopt(struct port *port, int fd, const union addr *peer)
{
    port->shared.counters.accepted++;
    tune_socket(port, fd, peer);
    if (port->shared.conf->proxy_protocol &&
        !forwarded_trusts(&port->shared.trust, peer))
        refuse(port, fd, peer, "not one of trusted_proxies");
    else if (fd >= port->shared.fd_max ||
             limits_enter(&port->shared.limits) < 0)
        refuse(port, fd, peer, "too many connections");
    else if (port->shared.conf->proxy_protocol)
        await_header(port, fd, peer);
    else
        welcome(port, fd, peer);
}

static void on_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    struct port *port = arg;
    uint64_t refused = port->shared.counters.refused;

    port_adopt(port, fd, peer);
    /* Who is over his limit shall not use up what the others may have. */
    if (port->shared.counters.refused > refused)
        listener_refund(l);
}

static void on_sweep(uv_timer_t *timer)
{
    struct port *port = timer->data;
    struct client_shared *shared = &port->shared;
    uint64_t now = clock_now(shared->loop);

    proxy_sweep(&port->proxy, now);
    recv_sweep(shared, now);
    trim_sweep(shared);
    client_conn_sweep(shared, now);
    if (list_empty(&port->proxy.waiting) && list_empty(&shared->opening) &&
        list_empty(&shared->receiving) && list_empty(&shared->closing) &&
        list_empty(&shared->lingering) && list_empty(&shared->bodies) &&
        list_empty(&shared->calling) && list_empty(&shared->idle) &&
        list_empty(&shared->streaming) && !trim_waits(shared))
        uv_timer_stop(timer);
}

static int read_trust(struct port *port, char err[256])
{
    const char *bad;
    int rc = forwarded_trust_init(
        &port->shared.trust, port->shared.conf->trusted_proxies, &bad);

    if (rc < 0)
        snprintf(err, 256, "trusted_proxies: \"%.100s\" is not a network", bad);
    return rc;
}

static struct port *alloc_io(struct turn *turn, const struct port_conf *conf,
    const struct client_conn_ops *ops, void *arg)
{
    struct port *port = xcalloc(1, sizeof(*port));
    struct rlimit rl = {.rlim_cur = 1024};
    size_t per_ip = conf->max_connections_per_ip;

    port->shared.conf = conf;
    port->shared.ops = ops;
    port->shared.arg = arg;
    port->shared.turn = turn;
    port->shared.loop = turn_loop(turn);
    port->fd = -1;
    getrlimit(RLIMIT_NOFILE, &rl);
    port->shared.fd_max = rl.rlim_cur > INT_MAX ? INT_MAX : (int)rl.rlim_cur;
    port->shared.fd_max -= FD_RESERVE;
    list_init(&port->shared.conns);
    list_init(&port->shared.opening);
    list_init(&port->shared.receiving);
    list_init(&port->shared.closing);
    list_init(&port->shared.lingering);
    list_init(&port->shared.bodies);
    list_init(&port->shared.calling);
    list_init(&port->shared.idle);
    list_init(&port->shared.streaming);
    for (size_t i = 0; i < CLIENT_SHARED_PARTS; i++)
        list_init(&port->shared.parts[i]);
    port->shared.limits.max = conf->max_connections;
    port->shared.limits.max_per_ip =
        per_ip < conf->max_connections ? per_ip : 0;
    port->shared.stage =
        conf->protocol->begins_with_request ? &request_stage : &recv_stage;
    port->shared.on_sweep = on_sweep;
    port->shared.pool = (struct queue_pool){
        .held = &port->shared.counters.queued,
        .sent = &port->shared.counters.bytes_out,
        .max = conf->queue_max,
        .total_max = conf->queue_total_max,
    };
    port->proxy = (struct proxy){
        .loop = port->shared.loop,
        .patience = (uint64_t)(conf->handshake_timeout * 1000),
        .on_client = on_proxied,
        .on_end = on_proxied_end,
        .arg = port,
    };
    proxy_init(&port->proxy);
    uv_timer_init(port->shared.loop, &port->shared.sweep);
    port->shared.sweep.data = port;
    uv_idle_init(port->shared.loop, &port->reaper);
    port->reaper.data = port;
    return port;
}

/* path as it is without links, for what lies in it to be compared with. */
static int find_folder(
    char **out, const char *path, const char *what, char err[256])
{
    int e;

    if (path == NULL)
        return 0;
    *out = realpath(path, NULL);
    if (*out != NULL)
        return 0;
    e = errno;
    snprintf(err, 256, "%s folder %.150s: %s", what, path, strerror(e));
    return -e;
}

static int open_access(struct port *port, char err[256])
{
    const struct access_conf *conf = &port->shared.conf->access;
    int rc;

    if (conf->file == NULL)
        return 0;
    rc = access_new(&port->shared.access, port->shared.turn, conf,
        &port->shared.counters.access_lost);
    if (rc < 0)
        snprintf(err, 256, "access_log %.150s: %s", conf->file, strerror(-rc));
    return rc;
}

int port_new(struct port **out, struct turn *turn, int fd,
    const struct port_conf *conf, const struct client_conn_ops *ops, void *arg,
    char err[256])
{
    struct port *port = alloc_io(turn, conf, ops, arg);
    int rc = read_trust(port, err);

    if (rc == 0 && conf->tls.cert != NULL)
        rc = certificates_load(&port->ssl_ctx, &conf->tls, err);
    if (rc == 0)
        rc = find_folder(&port->shared.www, conf->www, "www", err);
    if (rc == 0)
        rc = find_folder(&port->shared.files, conf->files, "files", err);
    if (rc == 0 && conf->api.keys != NULL) {
        port->shared.api = apigate_new(&conf->api, err);
        rc = port->shared.api != NULL ? 0 : -EINVAL;
    }
    if (rc == 0)
        rc = open_access(port, err);
    if (rc < 0) {
        port_free(port);
        return rc;
    }
    port->fd = fd;
    *out = port;
    return 0;
}

int port_listen(struct port *port)
{
    int rc;

    if (port->fd < 0)
        return -EALREADY;
    rc = listener_open(
        &port->listener, port->shared.loop, port->fd, on_accept, port);
    if (rc < 0)
        return rc;
    port->fd = -1;
    listener_set_rate(port->listener, port->shared.conf->max_accept_rate);
    return 0;
}

/* Connections go on waiting there for the next one that listens. */
static void leave_socket(struct port *port)
{
    if (port->listener != NULL)
        listener_close(port->listener);
    port->listener = NULL;
    if (port->fd >= 0)
        close(port->fd);
    port->fd = -1;
}

/* It is no client yet, and comes from a banned address itself. */
static bool is_out(struct port *port, const struct client_conn *c)
{
    return c->state < CLIENT_CONN_OPEN && !forwards(port, &c->peer) &&
           limits_bans(&port->shared.limits, &c->peer);
}

int port_ban(struct port *port, const union addr *peer, double seconds)
{
    int err = limits_ban(&port->shared.limits, peer, seconds);
    struct list *node, *tmp;

    if (err < 0 || seconds <= 0)
        return err;
    LIST_FOREACH_SAFE (node, tmp, &port->shared.conns) {
        struct client_conn *c = LIST_ENTRY(node, struct client_conn, node);

        if (is_out(port, c))
            client_conn_kill(c);
    }
    return 0;
}

void port_stop_listening(struct port *port)
{
    if (port->listener != NULL)
        listener_refuse(port->listener);
    port->listener = NULL;
    leave_socket(port);
}

int port_prepare_tls(
    struct port *port, const char *cert, const char *key, char err[256])
{
    struct certificates_pem tls = port->shared.conf->tls;

    port_settle_tls(port, false);
    if (port->ssl_ctx == NULL)
        return 0;
    tls.cert = cert;
    tls.key = key;
    return certificates_load(&port->fresh_ctx, &tls, err);
}

void port_settle_tls(struct port *port, bool take)
{
    struct ssl_ctx_st *unused = port->fresh_ctx;

    if (unused == NULL)
        return;
    if (take) {
        unused = port->ssl_ctx;
        port->ssl_ctx = port->fresh_ctx;
        if (port->ticket_key != NULL)
            certificates_set_ticket_key(port->ssl_ctx, port->ticket_key);
    }
    certificates_free(unused);
    port->fresh_ctx = NULL;
}

int port_prepare_keys(struct port *port, const char *keys, char err[256])
{
    return port->shared.api != NULL
               ? apigate_prepare(port->shared.api, keys, err)
               : 0;
}

void port_reopen_log(struct port *port)
{
    int rc = access_reopen(port->shared.access);

    if (rc < 0)
        log_error("cannot open the access log again file=%s: %s",
            port->shared.conf->access.file, strerror(-rc));
}

void port_settle_keys(struct port *port, bool take)
{
    if (port->shared.api != NULL)
        apigate_settle(port->shared.api, take);
}

void port_set_ticket_key(
    struct port *port, const uint8_t key[CERTIFICATES_TICKET_KEY_LEN])
{
    if (port->ssl_ctx == NULL)
        return;
    if (port->ticket_key == NULL)
        port->ticket_key = xmalloc(CERTIFICATES_TICKET_KEY_LEN);
    memcpy(port->ticket_key, key, CERTIFICATES_TICKET_KEY_LEN);
    certificates_set_ticket_key(port->ssl_ctx, key);
}

static void on_reaper_closed(uv_handle_t *handle)
{
    struct port *port = handle->data;

    queue_pool_fini(&port->shared.pool);
    certificates_free(port->ssl_ctx);
    certificates_free(port->fresh_ctx);
    free(port->ticket_key);
    limits_fini(&port->shared.limits);
    forwarded_trust_fini(&port->shared.trust);
    free(port->shared.www);
    free(port->shared.files);
    apigate_free(port->shared.api);
    free(port);
}

/* The connections' handles close at the end of a turn, of this or of the next
 * one. */
static void on_reaper(uv_idle_t *reaper)
{
    struct port *port = reaper->data;

    if (--port->turns_left > 0)
        return;
    uv_close((uv_handle_t *)reaper, on_reaper_closed);
}

void port_free(struct port *port)
{
    struct list *node, *tmp;

    leave_socket(port);
    proxy_fini(&port->proxy);
    LIST_FOREACH_SAFE (node, tmp, &port->shared.conns)
        client_conn_kill(LIST_ENTRY(node, struct client_conn, node));
    access_free(port->shared.access);
    port->shared.access = NULL;
    assert(port->shared.counters.queued == 0 &&
           port->shared.counters.unfinished == 0);
    uv_close((uv_handle_t *)&port->shared.sweep, NULL);
    port->turns_left = REAPER_TURNS;
    uv_idle_start(&port->reaper, on_reaper);
}

const struct client_protocol *port_protocol(const struct port *port)
{
    return port->shared.conf->protocol;
}

const struct port_counters *port_counters(const struct port *port)
{
    return &port->shared.counters;
}

struct blob *port_frame(struct port *port, const struct client_protocol *p,
    const struct protocol_message *what)
{
    return client_conn_frame(&port->shared, p, what);
}

void port_count_binary(struct port *port)
{
    port->shared.counters.binary_refused++;
}
