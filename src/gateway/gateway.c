#include "gateway/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/asks.h"
#include "gateway/clients.h"
#include "gateway/commands.h"
#include "gateway/handshake.h"
#include "gateway/heartbeat.h"
#include "gateway/inner.h"
#include "gateway/router.h"
#include "net/clock.h"
#include "proc/reglink.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/client_id.h"
#include "wire/frame.h"

#define STOP_TICK_MS   100
#define STOP_BATCH_MIN 200 /* clients told goodbye per tick, at least */
#define STOP_SPREAD    0.5 /* of the drain time, for the goodbyes */

enum gateway_state {
    GATEWAY_STARTING, /* clients are not accepted yet */
    GATEWAY_SERVING,
    GATEWAY_LEAVING,  /* waits for the clients to leave by themselves */
    GATEWAY_DRAINING, /* tells them to */
    GATEWAY_STOPPED,
};

struct gateway {
    uv_loop_t *loop;                     /* borrowed */
    const struct gateway_conf *conf;     /* borrowed */
    const struct gateway_events *events; /* borrowed */
    void *arg;                           /* borrowed, handed to events */
    struct turn *turn;
    struct clients *clients;
    struct router *router;
    struct client_io *io;
    struct asks *asks;
    struct inner *inner;         /* NULL once stopped */
    struct reglink *reglink;     /* NULL without registers and once stopped */
    struct heartbeat *heartbeat; /* NULL when switched off */
    struct commands commands;
    struct turn_task ready; /* begins to accept clients */
    uv_timer_t *stop_timer; /* owned; NULL until a stop */
    struct buf scratch;     /* of on_open() */
    struct router_conf address;
    unsigned index;
    enum gateway_state state;
    size_t sockets;    /* of clients, kicked ones included */
    size_t told;       /* clients told goodbye so far; they come first */
    uint64_t deadline; /* ms, clock_now: end of the drain time */
    size_t batch;      /* goodbyes per tick */
};

/* ---- clients' events ---- */

static int forward(struct gateway *g, struct client *c, uint8_t cmd,
    const void *body, size_t len)
{
    int err = router_forward(g->router, c, cmd, body, len);

    if (err < 0)
        client_close(c->conn, 1013, "busy");
    return err;
}

static void forward_request(struct gateway *g, struct client *c,
    const struct client_io_request *request)
{
    buf_clear(&g->scratch);
    handshake_put(&g->scratch, request, &c->peer, g->address.gateway_port);
    forward(g, c, FRAME_ON_WEBSOCKET_CONNECT, g->scratch.data, g->scratch.len);
}

static void *on_open(struct client_conn *conn, const union addr *peer,
    const struct client_io_request *request, void *arg)
{
    struct gateway *g = arg;
    struct client *c;

    if (g->state != GATEWAY_SERVING || router_is_full(g->router))
        return NULL;
    c = clients_add(g->clients, conn, peer, heartbeat_ticks(g->loop));
    g->sockets++;
    if (forward(g, c, FRAME_ON_CONNECT, NULL, 0) == 0 && request)
        forward_request(g, c, request);
    return c;
}

static void on_message(
    void *client, const void *data, size_t len, bool binary, void *arg)
{
    struct gateway *g = arg;

    forward(g, client, FRAME_ON_MESSAGE, data, len);
}

static void on_activity(void *client, void *arg)
{
    const struct gateway *g = arg;
    struct client *c = client;

    c->seen = heartbeat_ticks(g->loop);
}

static void on_close(void *client, int code, const char *reason, void *arg)
{
    struct gateway *g = arg;
    struct client *c = client;

    g->sockets--;
    router_close(g->router, c, code, reason);
    clients_remove(g->clients, c);
    c->conn = NULL;
    clients_release(c);
}

static bool must_ask(void *arg)
{
    const struct gateway *g = arg;

    return router_asks(g->router);
}

static void *on_ask(struct client_conn *conn, const union addr *peer,
    const struct client_io_request *request, void *arg)
{
    struct gateway *g = arg;

    if (g->state != GATEWAY_SERVING)
        return NULL;
    buf_clear(&g->scratch);
    handshake_put_question(&g->scratch, request, peer, g->address.gateway_port);
    return asks_begin(g->asks, conn, g->scratch.data, g->scratch.len);
}

static void on_ask_end(void *ask, void *arg)
{
    asks_forget(((struct gateway *)arg)->asks, ask);
}

static const struct client_io_ops client_ops = {
    .asks = must_ask,
    .on_ask = on_ask,
    .on_ask_end = on_ask_end,
    .on_open = on_open,
    .on_message = on_message,
    .on_activity = on_activity,
    .on_close = on_close,
};

/* ---- start ---- */

static void run_ready(struct turn_task *task)
{
    struct gateway *g = LIST_ENTRY(task, struct gateway, ready);
    int err;

    if (g->state != GATEWAY_STARTING)
        return;
    err = client_io_listen(g->io);
    if (err < 0) {
        log_error("cannot listen for clients port=%u err=\"%s\"",
            g->address.gateway_port, strerror(-err));
        return; /* the next worker that joins is the next try */
    }
    g->state = GATEWAY_SERVING;
    log_notice("clients can connect name=%s port=%u", g->conf->name,
        g->address.gateway_port);
    if (g->events->on_ready)
        g->events->on_ready(g->arg);
}

static void on_worker(void *arg)
{
    struct gateway *g = arg;

    if (g->state == GATEWAY_STARTING)
        turn_schedule(g->turn, &g->ready);
}

static void on_decision(const struct frame *f, uint32_t serial, void *arg)
{
    asks_answer(((struct gateway *)arg)->asks, f, serial);
}

static void on_worker_gone(uint32_t serial, void *arg)
{
    asks_worker_gone(((struct gateway *)arg)->asks, serial);
}

static void open_reglink(struct gateway *g)
{
    const char *const *registers = g->conf->register_addresses;
    char address[ADDR_TEXT_SIZE];

    if (!registers || !registers[0])
        return;
    snprintf(address, sizeof(address), "%s:%u", g->conf->lan_ip,
        g->address.local_port);
    g->reglink =
        reglink_open_gateway(g->turn, registers, g->conf->secret_key, address);
}

/* An event must fit into one packet, session and request included. */
static int check_conf(const struct gateway_conf *conf, char err[256])
{
    uint32_t ip;

    if (addr_parse_ipv4(&ip, conf->lan_ip) < 0) {
        snprintf(
            err, 256, "lan_ip: \"%s\" is not an IPv4 address", conf->lan_ip);
        return -EINVAL;
    }
    if (conf->clients.message_max >
        FRAME_MAX_LEN - CLIENTS_SESSION_MAX - FRAME_HEAD_LEN) {
        snprintf(err, 256, "message_max: more than %d bytes",
            FRAME_MAX_LEN - CLIENTS_SESSION_MAX - FRAME_HEAD_LEN);
        return -EINVAL;
    }
    return 0;
}

static size_t high_water(const struct gateway_conf *conf)
{
    return conf->worker_high_water > 0 ? conf->worker_high_water
                                       : GATEWAY_WORKER_HIGH_WATER;
}

static void find_address(struct gateway *g, const struct gateway_slot *slot)
{
    union addr bound = {0};
    socklen_t len = sizeof(bound);

    addr_parse_ipv4(&g->address.local_ip, g->conf->lan_ip);
    g->address.local_port = (uint16_t)(g->conf->start_port + slot->index);
    if (getsockname(slot->client_fd, &bound.sa, &len) == 0)
        g->address.gateway_port = addr_port(&bound);
    g->address.mode = g->conf->router;
    g->address.choose = g->conf->choose;
    g->address.choose_arg = g->conf->choose_arg;
    g->address.high_water = high_water(g->conf);
}

static void close_slot(struct gateway_slot *slot)
{
    int fds[] = {slot->client_fd, slot->inner_fd, slot->ids_fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int copy_fd(int fd)
{
    return fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

/* The parts that can fail; each takes its descriptor when it succeeds. */
static int open_parts(
    struct gateway *g, struct gateway_slot *slot, char err[256])
{
    struct inner_conf inner = {
        .turn = g->turn,
        .router = g->router,
        .commands = &g->commands,
        .secret_key = g->conf->secret_key,
        .high_water = g->address.high_water,
        .ping_workers = strcmp(g->conf->lan_ip, "127.0.0.1") != 0,
        .on_worker = on_worker,
        .on_decision = on_decision,
        .on_worker_gone = on_worker_gone,
        .arg = g,
    };
    int code = clients_new(&g->clients, slot->ids_fd);

    if (code < 0) {
        snprintf(err, 256, "file of connection ids: %s", strerror(-code));
        goto fail;
    }
    slot->ids_fd = -1;
    code = client_io_new(&g->io, g->turn, slot->client_fd, &g->conf->clients,
        &client_ops, g, err);
    if (code < 0)
        goto fail_clients;
    slot->client_fd = -1;
    g->commands.clients = g->clients;
    g->commands.router = g->router;
    g->commands.io = g->io;
    code = inner_open(&g->inner, slot->inner_fd, &inner);
    if (code < 0) {
        snprintf(err, 256, "inner port %u: %s", g->address.local_port,
            strerror(-code));
        goto fail_io;
    }
    slot->inner_fd = -1;
    return 0;

fail_io:
    client_io_free(g->io);
fail_clients:
    clients_free(g->clients);
fail:
    return code;
}

int gateway_new(struct gateway **out, uv_loop_t *loop,
    const struct gateway_conf *conf, const struct gateway_slot *slot,
    const struct gateway_events *events, void *arg, char err[256])
{
    struct gateway_slot given = *slot;
    struct gateway_slot copy; /* so that on failure the caller's stay open */
    struct gateway *g;
    int code = check_conf(conf, err);

    if (code < 0)
        return code;
    copy = (struct gateway_slot){slot->index, copy_fd(slot->client_fd),
        copy_fd(slot->inner_fd), copy_fd(slot->ids_fd)};
    g = xcalloc(1, sizeof(*g));
    g->loop = loop;
    g->conf = conf;
    g->events = events;
    g->arg = arg;
    g->index = slot->index;
    find_address(g, slot);
    g->turn = turn_new(loop);
    g->router = router_new(&g->address);
    g->asks = asks_new(g->router);
    list_init(&g->ready.node);
    g->ready.run = run_ready;
    code = open_parts(g, &copy, err);
    close_slot(code < 0 ? &copy : &given);
    if (code < 0) {
        asks_free(g->asks);
        router_free(g->router);
        turn_close(g->turn);
        free(g);
        return code;
    }
    g->heartbeat = heartbeat_open(loop, conf, g->clients);
    open_reglink(g);
    if (conf->accept_before_ready)
        turn_schedule(g->turn, &g->ready);
    *out = g;
    return 0;
}

/* ---- stop ---- */

/* Everybody is gone and every event begun, or at least with a worker's kernel
 * if that one does not say what it begins. */
static bool is_drained(const struct gateway *g)
{
    return g->sockets == 0 && router_held_count(g->router) == 0 &&
           router_unbegun_count(g->router) == 0 &&
           router_queued(g->router) == 0;
}

/* Tell the next clients goodbye. Those told lie in front of the others in the
 * dense array, except that one who leaves lets the last one move up; so begin
 * again from the front once the end is reached. */
static void say_goodbye(struct gateway *g)
{
    size_t count = clients_count(g->clients);

    if (g->told >= count)
        g->told = 0;
    for (size_t n = 0; n < g->batch && g->told < count; n++)
        client_close(
            clients_at(g->clients, g->told++)->conn, 1001, "going away");
}

static void destroy_all(struct gateway *g)
{
    for (size_t i = 0; i < clients_count(g->clients); i++)
        client_destroy(clients_at(g->clients, i)->conn, "going away");
}

static void finish_stop(struct gateway *g)
{
    g->state = GATEWAY_STOPPED;
    uv_timer_stop(g->stop_timer);
    inner_close_flushed(g->inner);
    g->inner = NULL;
    if (g->reglink)
        reglink_close(g->reglink);
    g->reglink = NULL;
    if (g->events->on_stopped)
        g->events->on_stopped(g->arg);
}

static void on_stop_tick(uv_timer_t *timer)
{
    struct gateway *g = timer->data;
    uint64_t now = clock_now(g->loop);

    if (is_drained(g)) {
        finish_stop(g);
        return;
    }
    if (g->state == GATEWAY_LEAVING)
        return;
    if (now < g->deadline)
        say_goodbye(g);
    else if (now < g->deadline + STOP_TICK_MS * 2)
        destroy_all(g); /* their ON_CLOSE goes out before the next tick */
    else
        finish_stop(g);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void begin_stop(struct gateway *g, enum gateway_state state)
{
    client_io_stop_listening(g->io);
    g->state = state;
    if (!g->stop_timer) {
        g->stop_timer = xcalloc(1, sizeof(*g->stop_timer));
        uv_timer_init(g->loop, g->stop_timer);
        g->stop_timer->data = g;
    }
    uv_timer_start(g->stop_timer, on_stop_tick, 0, STOP_TICK_MS);
}

void gateway_stop(struct gateway *g, double drain_time)
{
    double ticks = fmax(1, drain_time * STOP_SPREAD * 1000 / STOP_TICK_MS);
    size_t share = (size_t)((double)clients_count(g->clients) / ticks) + 1;

    if (g->state == GATEWAY_DRAINING || g->state == GATEWAY_STOPPED)
        return;
    g->batch = share > STOP_BATCH_MIN ? share : STOP_BATCH_MIN;
    g->deadline = clock_now(g->loop) + (uint64_t)(fmax(0, drain_time) * 1000);
    log_notice("stopping clients=%zu drain_s=%g", clients_count(g->clients),
        drain_time);
    begin_stop(g, GATEWAY_DRAINING);
}

void gateway_stop_when_empty(struct gateway *g)
{
    if (g->state >= GATEWAY_LEAVING)
        return;
    log_notice("stopping when the last client has left clients=%zu",
        clients_count(g->clients));
    begin_stop(g, GATEWAY_LEAVING);
}

void gateway_free(struct gateway *g)
{
    g->state = GATEWAY_STOPPED;
    client_io_free(g->io);
    if (g->inner)
        inner_close(g->inner);
    if (g->reglink)
        reglink_close(g->reglink);
    heartbeat_close(g->heartbeat);
    if (g->stop_timer)
        uv_close((uv_handle_t *)g->stop_timer, on_timer_closed);
    asks_free(g->asks);
    router_free(g->router);
    clients_free(g->clients);
    commands_fini(&g->commands);
    buf_fini(&g->scratch);
    turn_close(g->turn);
    free(g);
}

int gateway_adopt(struct gateway *g, int fd, const union addr *peer)
{
    if (g->state != GATEWAY_SERVING)
        return -EAGAIN;
    client_io_adopt(g->io, fd, peer);
    return 0;
}

int gateway_reload_tls(struct gateway *g, char err[256])
{
    return client_io_reload_tls(g->io, err);
}

void gateway_set_ticket_key(
    struct gateway *g, const uint8_t key[CLIENT_IO_TICKET_KEY_LEN])
{
    client_io_set_ticket_key(g->io, key);
}

/* ---- what is to be seen from outside ---- */

void gateway_status(const struct gateway *g, struct gateway_status *out)
{
    const struct router_counters *routed = router_counters(g->router);

    *out = (struct gateway_status){
        .name = g->conf->name,
        .index = g->index,
        .clients = clients_count(g->clients),
        .workers = router_worker_count(g->router),
        .groups = clients_group_count(g->clients),
        .uids = clients_uid_count(g->clients),
        .registers_missing = g->reglink ? reglink_missing(g->reglink) : 0,
        .clients_paused = router_paused_count(g->router),
        .io = *client_io_counters(g->io),
        .events_out = routed->events,
        .events_held = router_held_count(g->router),
        .events_unbegun = router_unbegun_count(g->router),
        .events_again = routed->again,
        .events_cut_off = routed->cut_off,
        .events_dropped = routed->refused + routed->lost,
        .commands_in = g->commands.run,
        .dropped = g->commands.dropped,
    };
}

size_t gateway_client_ids(const struct gateway *g, uint32_t **ids)
{
    size_t count = clients_count(g->clients);

    *ids = xcalloc(count, sizeof(**ids));
    for (size_t i = 0; i < count; i++)
        (*ids)[i] = clients_at(g->clients, i)->id;
    return count;
}

bool gateway_client_row(
    const struct gateway *g, uint32_t id, struct gateway_client_row *out)
{
    const struct client *c = clients_find(g->clients, id);
    const struct client_id full = {
        g->address.local_ip, g->address.local_port, id};
    uint32_t now = heartbeat_ticks(g->loop);

    if (!c)
        return false;
    client_id_format(out->client_id, &full);
    addr_format(out->peer, &c->peer);
    out->uid = c->uid.name ? c->uid.name->text : "";
    out->groups = c->ngroups;
    out->queued = client_queued(c->conn);
    out->bytes_in = client_bytes_in(c->conn);
    out->bytes_out = client_bytes_out(c->conn);
    out->idle = (double)(now - c->seen) / CLIENTS_TICKS;
    out->connected = (double)(now - c->since) / CLIENTS_TICKS;
    return true;
}
