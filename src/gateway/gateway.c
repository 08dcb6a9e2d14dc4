/* The gateway as a role: it owns the port, the roster, the router, the
 * workers' links and the heartbeat, and joins them by their callbacks. The
 * order of its beginning and its end stands here and nowhere else. */
#include "gateway/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/exchange.h"
#include "gateway/gateway_impl.h"
#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "wire/frame.h"

#define STOP_TICK_MS   100
#define STOP_BATCH_MIN 200  /* clients told goodbye per tick, at least */
#define LEAVE_LAST_MS  5000 /* for the last ones' answers to Close frames */
#define STOP_SPREAD    0.5  /* of the drain time, for the goodbyes */

/* ---- start ---- */

static void run_ready(struct turn_task *task)
{
    struct gateway *g = LIST_ENTRY(task, struct gateway, ready);
    int err;

    if (g->state != GATEWAY_STARTING || outbox_is_first(g->outbox))
        return;
    err = port_listen(g->port);
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

/* As much as accept_before_ready and the first worker do. */
static void on_settled(void *arg)
{
    struct gateway *g = arg;

    if (g->conf->accept_before_ready || router_worker_count(g->router) > 0)
        on_worker(g);
}

static void on_decision(const struct frame *f, uint32_t serial, void *arg)
{
    admissions_answer(((struct gateway *)arg)->admissions, f, serial);
}

static void on_worker_gone(uint32_t serial, void *arg)
{
    admissions_worker_gone(((struct gateway *)arg)->admissions, serial);
}

static void on_answer(void *asker, const struct answer *said, unsigned status)
{
    exchange_reply(asker, said, status);
}

static void on_begun(void *asker)
{
    exchange_begun(asker);
}

static void on_reply(const struct frame *f, uint32_t serial, void *arg)
{
    calls_answer(((struct gateway *)arg)->calls, f, serial);
}

static void on_request_begun(const struct frame *f, uint32_t serial, void *arg)
{
    calls_begun(((struct gateway *)arg)->calls, serial, f->body, f->body_len);
}

static void on_worker_settled(const struct router_worker *w, void *arg)
{
    calls_worker_settled(((struct gateway *)arg)->calls, w);
}

static void announce(struct gateway *g)
{
    char address[ADDR_TEXT_SIZE];

    snprintf(address, sizeof(address), "%s:%u", g->conf->lan_ip,
        g->address.local_port);
    g->discovery = discovery_announce(
        g->turn, &g->conf->discovery, g->conf->secret_key, address);
}

static size_t session_max(const struct gateway_conf *conf)
{
    return conf->session_max > 0 ? conf->session_max : GATEWAY_SESSION_MAX;
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
        frame_max(conf->packet_max) - session_max(conf) - FRAME_HEAD_LEN) {
        snprintf(err, 256, "message_max: more than %zu bytes",
            frame_max(conf->packet_max) - session_max(conf) - FRAME_HEAD_LEN);
        return -EINVAL;
    }
    return 0;
}

static size_t high_water(const struct gateway_conf *conf)
{
    return conf->worker_high_water > 0 ? conf->worker_high_water
                                       : GATEWAY_WORKER_HIGH_WATER;
}

static uint32_t begin_window(const struct gateway_conf *conf)
{
    return conf->begin_window > 0 ? conf->begin_window : GATEWAY_BEGIN_WINDOW;
}

static size_t client_share(const struct gateway_conf *conf)
{
    return conf->client_share > 0 ? conf->client_share : GATEWAY_CLIENT_SHARE;
}

static unsigned groups_max(const struct gateway_conf *conf)
{
    return conf->groups_max > 0 ? conf->groups_max : GATEWAY_GROUPS_MAX;
}

/* What is wrong with it was found where the configuration was read, or has
 * become so: the cell goes on by itself. */
static void join_cluster(struct gateway *g)
{
    struct arrivals_conf conf = {.turn = g->turn,
        .engine = g->conf->engine,
        .commands = &g->commands,
        .ip = g->address.local_ip,
        .port = g->address.local_port,
        .limits = {groups_max(g->conf), (uint32_t)session_max(g->conf)}};
    char err[ENGINE_ERROR_SIZE];

    if (!g->conf->engine)
        return;
    g->arrivals = arrivals_open(&conf, err);
    if (!g->arrivals)
        log_error("no cluster: %s", err);
}

static void leave_cluster(struct gateway *g)
{
    arrivals_close(g->arrivals);
    g->arrivals = NULL;
}

static size_t response_max(const struct gateway_conf *conf)
{
    return conf->response_max > 0 ? conf->response_max : GATEWAY_RESPONSE_MAX;
}

static void find_address(struct gateway *g, const struct gateway_slot *slot)
{
    union addr bound = {0};
    socklen_t len = sizeof(bound);

    addr_parse_ipv4(&g->address.local_ip, g->conf->lan_ip);
    if (g->conf->id_ip != 0)
        g->address.local_ip = g->conf->id_ip;
    g->address.local_port = (uint16_t)(g->conf->start_port + slot->index);
    g->address.claims = g->conf->claims;
    if (slot->shown_port > 0)
        g->address.gateway_port = slot->shown_port;
    else if (getsockname(slot->client_fd, &bound.sa, &len) == 0)
        g->address.gateway_port = addr_port(&bound);
    g->address.mode = g->conf->router;
    g->address.choose = g->conf->choose;
    g->address.choose_arg = g->conf->choose_arg;
    g->address.high_water = high_water(g->conf);
    g->address.client_share = client_share(g->conf);
    g->address.begin_window = begin_window(g->conf);
    g->address.session_max = session_max(g->conf);
    g->address.session_cache = g->conf->session_cache;
}

static void close_slot(struct gateway_slot *slot)
{
    int fds[] = {slot->client_fd, slot->inner_fd, slot->ids_fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (slot->local_fd > 0)
        close(slot->local_fd);
}

static int copy_fd(int fd)
{
    return fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

static struct inner_conf inner_conf_of(struct gateway *g)
{
    uint32_t lan_ip = 0;

    addr_parse_ipv4(&lan_ip, g->conf->lan_ip);
    return (struct inner_conf){
        .turn = g->turn,
        .router = g->router,
        .commands = &g->commands,
        .name = g->conf->name,
        .workers = g->conf->workers,
        .secret_key = g->conf->secret_key,
        .secret_key_also = g->conf->secret_key_also,
        .machine = g->conf->machine,
        .local_ip = lan_ip,
        .high_water = g->address.high_water,
        .packet_max = g->conf->packet_max,
        .session_max = session_max(g->conf),
        .groups_max = groups_max(g->conf),
        .ping_workers = strcmp(g->conf->lan_ip, "127.0.0.1") != 0,
        .on_worker = on_worker,
        .on_decision = on_decision,
        .on_worker_gone = on_worker_gone,
        .on_reply = on_reply,
        .on_request_begun = on_request_begun,
        .on_worker_settled = on_worker_settled,
        .arg = g,
    };
}

/* The parts that can fail; each takes its descriptor when it succeeds. */
static int open_parts(
    struct gateway *g, struct gateway_slot *slot, char err[256])
{
    const struct inner_conf inner = inner_conf_of(g);
    int code = roster_new(&g->roster, slot->ids_fd);

    if (code < 0) {
        snprintf(err, 256, "file of connection ids: %s", strerror(-code));
        goto fail;
    }
    slot->ids_fd = -1;
    code = port_new(&g->port, g->turn, slot->client_fd, &g->conf->clients,
        &gateway_client_ops, g, err);
    if (code < 0)
        goto fail_clients;
    slot->client_fd = -1;
    roster_limit_sessions(g->roster, session_max(g->conf));
    roster_limit_groups(g->roster, groups_max(g->conf));
    g->commands.roster = g->roster;
    g->commands.router = g->router;
    g->commands.delivery.port = g->port;
    g->commands.packet_max = g->conf->packet_max;
    code = inner_open(&g->inner, slot->inner_fd, slot->local_fd, &inner);
    if (code < 0) {
        snprintf(err, 256, "inner port %u: %s", g->address.local_port,
            strerror(-code));
        goto fail_port;
    }
    slot->inner_fd = -1;
    slot->local_fd = 0;
    return 0;

fail_port:
    port_free(g->port);
fail_clients:
    roster_free(g->roster);
fail:
    return code;
}

/* Gateways of one system whose clients may have the same workers. */
static uint64_t family_of(const struct gateway_conf *conf)
{
    static const uint8_t key[16];
    char *text = xasprintf("%s %s", conf->claims ? conf->claims : "",
        conf->workers ? conf->workers : "");
    uint64_t family = hash_siphash(text, strlen(text), key) | 1;

    free(text);
    return conf->claims ? family : 0;
}

/* In the files' names as in that of connection ids. */
static void open_books(struct gateway *g)
{
    char slot[BOOK_NAME_MAX];

    snprintf(
        slot, sizeof(slot), "%s-%u", g->conf->lan_ip, g->address.local_port);
    for (char *p = slot; (p = strchr(p, '.'));)
        *p = '_';
    g->books = books_new(&(struct books_conf){.folder = g->conf->book_folder,
        .slot = slot,
        .session_max = g->conf->book_session,
        .family = family_of(g->conf),
        .gateway_port = g->address.gateway_port});
    g->address.books = g->books;
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
    copy = (struct gateway_slot){.index = slot->index,
        .client_fd = copy_fd(slot->client_fd),
        .inner_fd = copy_fd(slot->inner_fd),
        .ids_fd = copy_fd(slot->ids_fd),
        .local_fd = slot->local_fd > 0 ? copy_fd(slot->local_fd) : 0};
    g = xcalloc(1, sizeof(*g));
    g->loop = loop;
    g->conf = conf;
    g->events = events;
    g->arg = arg;
    g->index = slot->index;
    find_address(g, slot);
    g->turn = g->address.turn = turn_new(loop);
    open_books(g);
    g->router = router_new(&g->address);
    g->admissions = admissions_new(g->router,
        &(struct admissions_limits){session_max(conf), groups_max(conf)});
    g->calls = calls_new(&(struct calls_conf){
        g->router, response_max(conf), on_answer, on_begun});
    list_init(&g->ready.node);
    g->ready.run = run_ready;
    code = open_parts(g, &copy, err);
    close_slot(code < 0 ? &copy : &given);
    if (code < 0) {
        calls_free(g->calls);
        admissions_free(g->admissions);
        router_free(g->router);
        books_free(g->books);
        turn_close(g->turn);
        free(g);
        return code;
    }
    books_watch(g->books, g->roster);
    g->outbox = outbox_open(&(struct outbox_conf){
        g->turn, g->router, g->roster, g->books, on_settled, g});
    g->heartbeat = heartbeat_open(loop, conf, g->roster);
    announce(g);
    join_cluster(g);
    if (conf->accept_before_ready)
        turn_schedule(g->turn, &g->ready);
    *out = g;
    return 0;
}

void gateway_reopen_log(struct gateway *g)
{
    port_reopen_log(g->port);
}

/* ---- stop ---- */

/* Every client is gone, and every event has begun, or is at least in the kernel
 * where its worker does not say what it begins. */
static bool is_drained(const struct gateway *g)
{
    return g->sockets == 0 && calls_count(g->calls) == 0 &&
           router_held_count(g->router) == 0 &&
           router_unbegun_count(g->router) == 0 &&
           router_queued(g->router) == 0 && outbox_pending(g->outbox) == 0;
}

/* Tell the next clients goodbye. Those told lie in front of the others in the
 * roster, except that a client who leaves lets the last one move up; so begin
 * again from the front once the end is reached. */
static void say_goodbye(struct gateway *g, size_t batch)
{
    size_t count = roster_count(g->roster);
    bool leaves = g->state == GATEWAY_LEAVING;

    if (g->told >= count)
        g->told = 0;
    for (size_t n = 0; n < batch && g->told < count; n++)
        client_conn_close(roster_at(g->roster, g->told++)->conn,
            CLIENT_CONN_RESTART, leaves ? 1012 : 1001,
            leaves ? "service restart" : "going away");
}

/* Of the clients that there were, so many as this moment's share; in the end
 * all that are still there. */
static void say_goodbye_slowly(struct gateway *g, uint64_t now)
{
    uint64_t left = now < g->deadline ? g->deadline - now : 0;
    double over = 1 - (double)left / (double)g->leave_ms;
    size_t due = (size_t)((double)g->to_tell * over) + 1;

    if (left == 0) {
        g->told = 0;
        say_goodbye(g, SIZE_MAX);
    } else if (due > g->farewells) {
        say_goodbye(g, due - g->farewells);
        g->farewells = due;
    }
}

static void destroy_all(struct gateway *g)
{
    for (size_t i = 0; i < roster_count(g->roster); i++)
        client_conn_destroy(roster_at(g->roster, i)->conn, CLIENT_CONN_RESTART);
}

static void finish_stop(struct gateway *g)
{
    g->state = GATEWAY_STOPPED;
    uv_timer_stop(g->stop_timer);
    leave_cluster(g);
    inner_close_flushed(g->inner);
    g->inner = NULL;
    if (g->discovery)
        discovery_close(g->discovery);
    g->discovery = NULL;
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
    if (g->state == GATEWAY_LEAVING && g->leave_ms == 0)
        return;
    if (g->state == GATEWAY_LEAVING && now < g->deadline + LEAVE_LAST_MS)
        say_goodbye_slowly(g, now);
    else if (now < g->deadline)
        say_goodbye(g, g->batch);
    else if (now < g->deadline + g->last_ms + STOP_TICK_MS * 2)
        destroy_all(g); /* their ON_CLOSE goes out before the next tick */
    else
        finish_stop(g);
}

static void begin_stop(struct gateway *g, enum gateway_state state)
{
    port_stop_listening(g->port);
    outbox_stop_adopting(g->outbox);
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
    size_t share = (size_t)((double)roster_count(g->roster) / ticks) + 1;

    if (g->state == GATEWAY_DRAINING || g->state == GATEWAY_STOPPED)
        return;
    g->last_ms = 0;
    g->batch = share > STOP_BATCH_MIN ? share : STOP_BATCH_MIN;
    g->deadline = clock_now(g->loop) + (uint64_t)(fmax(0, drain_time) * 1000);
    log_notice(
        "stopping clients=%zu drain_s=%g", roster_count(g->roster), drain_time);
    begin_stop(g, GATEWAY_DRAINING);
}

void gateway_stop_when_empty(struct gateway *g)
{
    if (g->state >= GATEWAY_LEAVING)
        return;
    log_notice("stopping when the last client has left clients=%zu",
        roster_count(g->roster));
    begin_stop(g, GATEWAY_LEAVING);
}

void gateway_leave(struct gateway *g, double drain_time)
{
    if (g->state >= GATEWAY_LEAVING)
        return;
    log_notice("leaving the cluster clients=%zu drain_s=%g",
        roster_count(g->roster), drain_time);
    g->leave_ms = (uint64_t)(fmax(0, drain_time) * 1000) + 1;
    g->last_ms = LEAVE_LAST_MS;
    g->to_tell = roster_count(g->roster);
    g->deadline = clock_now(g->loop) + g->leave_ms;
    arrivals_leave(g->arrivals);
    begin_stop(g, GATEWAY_LEAVING);
}

void gateway_free(struct gateway *g)
{
    g->state = GATEWAY_STOPPED;
    leave_cluster(g);
    port_free(g->port);
    if (g->inner)
        inner_close(g->inner);
    if (g->discovery)
        discovery_close(g->discovery);
    heartbeat_close(g->heartbeat);
    if (g->stop_timer)
        handle_close(g->stop_timer, g->stop_timer);
    outbox_close(g->outbox);
    calls_free(g->calls);
    admissions_free(g->admissions);
    router_free(g->router);
    roster_free(g->roster);
    books_free(g->books);
    commands_fini(&g->commands);
    buf_fini(&g->scratch);
    turn_close(g->turn);
    free(g);
}

int gateway_adopt(struct gateway *g, int fd, const union addr *peer)
{
    if (g->state != GATEWAY_SERVING)
        return -EAGAIN;
    port_adopt(g->port, fd, peer);
    return 0;
}

int gateway_prepare_tls(
    struct gateway *g, const char *cert, const char *key, char err[256])
{
    return port_prepare_tls(g->port, cert, key, err);
}

void gateway_settle_tls(struct gateway *g, bool take)
{
    port_settle_tls(g->port, take);
}

int gateway_prepare_keys(struct gateway *g, const char *keys, char err[256])
{
    return port_prepare_keys(g->port, keys, err);
}

void gateway_settle_keys(struct gateway *g, bool take)
{
    port_settle_keys(g->port, take);
}

void gateway_set_ticket_key(
    struct gateway *g, const uint8_t key[CERTIFICATES_TICKET_KEY_LEN])
{
    port_set_ticket_key(g->port, key);
}
