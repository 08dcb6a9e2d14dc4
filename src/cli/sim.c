#include "cli/sim.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/simclock.h"
#include "cli/world.h"
#include "net/listener.h"
#include "proc/shared.h"
#include "util/alloc.h"
#include "util/list.h"

#define SILENCE     100  /* ms for bytes on their way in the kernel */
#define THREAD_TIME 5000 /* ms for what a thread computes */

enum worker_state {
    WORKER_NONE,
    WORKER_LOADING,
    WORKER_READY,
    WORKER_PREPARING,
    WORKER_PREPARED,
    WORKER_FAILED, /* its script could not be loaded */
    WORKER_ENDING,
    WORKER_ENDED,
};

struct sim_worker {
    struct sim *sim; /* borrowed */
    enum worker_state state;
};

struct sim_port {
    int fd; /* owned; bound; -1 while a role has it */
    uint16_t number;
};

struct sim_gateway {
    struct sim_port clients, inner;
    char newest[SIM_ID_SIZE]; /* of the client_ids given out */
};

struct sim {
    struct world world;
    struct clock clock;
    struct sim_port reg;
    struct sim_gateway *gateways; /* owned */
    size_t ngateways;
    struct sim_worker *workers; /* owned */
    char *error;                /* owned; of a script that failed */
    void *arg;                  /* borrowed */
    bool apart; /* they are not together, and it does not help to wait */
};

struct sim *sim_of(const uv_loop_t *loop)
{
    return LIST_ENTRY(loop, struct sim, world.loop);
}

void *sim_arg(const struct sim *s)
{
    return s->arg;
}

/* ---- ports ---- */

static int bind_port(struct sim_port *p)
{
    union addr a = {.in = {.sin_family = AF_INET,
                        .sin_port = htons(p->number),
                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);

    p->fd = listener_bind(&a, false);
    if (p->fd < 0)
        return p->fd;
    if (getsockname(p->fd, &a.sa, &len) < 0)
        return -errno;
    p->number = addr_port(&a);
    return 0;
}

static void close_port(struct sim_port *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

struct sim *sim_new(size_t gateways, char err[SIM_ERR_SIZE])
{
    struct sim *s = xcalloc(1, sizeof(*s));
    int result;

    world_init(&s->world);
    s->gateways = xcalloc(gateways + 1, sizeof(*s->gateways));
    s->ngateways = gateways;
    for (size_t i = 0; i < gateways; i++)
        s->gateways[i].clients.fd = s->gateways[i].inner.fd = -1;
    result = bind_port(&s->reg);
    for (size_t i = 0; result == 0 && i < gateways; i++) {
        result = bind_port(&s->gateways[i].clients);
        if (result == 0)
            result = bind_port(&s->gateways[i].inner);
    }
    if (result == 0)
        return s;
    snprintf(err, SIM_ERR_SIZE, "no port on 127.0.0.1: %s", strerror(-result));
    sim_free(s);
    return NULL;
}

uint16_t sim_register_port(const struct sim *s)
{
    return s->reg.number;
}

uint16_t sim_client_port(const struct sim *s, size_t gateway)
{
    return s->gateways[gateway].clients.number;
}

uint16_t sim_inner_port(const struct sim *s, size_t gateway)
{
    return s->gateways[gateway].inner.number;
}

/* ---- time ---- */

uint64_t sim_step(struct sim *s, uint64_t max_ms)
{
    return simclock_step(&s->world.loop, max_ms);
}

double sim_wall(const struct sim *s)
{
    return clock_wall(&s->world.loop);
}

/* ---- rest ---- */

static bool is_running(const struct sim_worker *w)
{
    return w->state == WORKER_READY || w->state == WORKER_PREPARING ||
           w->state == WORKER_PREPARED;
}

static size_t count_gateways(const struct sim *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->ngateways; i++)
        n += s->world.gateways[i] != NULL;
    return n;
}

bool sim_is_together(const struct sim *s)
{
    size_t gateways = count_gateways(s), workers = 0;
    struct gateway_status g;
    struct worker_status w;

    for (size_t i = 0; i < sim_workers(s); i++) {
        if (s->workers[i].state == WORKER_ENDING)
            return true; /* it leaves when it likes */
        if (!is_running(&s->workers[i]))
            continue;
        workers++;
        worker_status(s->world.workers[i], &w);
        if (w.gateways != gateways)
            return false;
    }
    for (size_t i = 0; i < s->ngateways; i++) {
        if (!s->world.gateways[i])
            continue;
        gateway_status(s->world.gateways[i], &g);
        if (g.workers != workers)
            return false;
    }
    return true;
}

/* Does the kernel have something for us, within so many milliseconds? */
static bool has_events(struct sim *s, int ms)
{
    struct pollfd p = {.fd = uv_backend_fd(&s->world.loop), .events = POLLIN};

    return poll(&p, 1, ms) > 0;
}

/* Does a thread work for us (on a password), or is a write not over? */
static bool has_requests(const struct sim *s)
{
    return s->world.loop.active_reqs.count > 0;
}

bool sim_turn(struct sim *s)
{
    simclock_park(&s->world.loop);
    uv_run(&s->world.loop, UV_RUN_NOWAIT);
    simclock_park(&s->world.loop);
    return uv_backend_timeout(&s->world.loop) == 0 || has_events(s, 0);
}

/* The kernel may bring what was written, or the end of a connection, only a
 * moment later. What a role that died had not read never comes; and after some
 * deaths the roles find each other again only when time passes. */
static bool is_at_rest(struct sim *s)
{
    bool together = sim_is_together(s);

    if (together)
        s->apart = false;
    if (s->clock.unread == 0 && !has_requests(s) && (together || s->apart))
        return true;
    if (has_events(s, has_requests(s) ? THREAD_TIME : SILENCE))
        return false;
    s->clock.unread = 0;
    s->apart = !together;
    return true;
}

int sim_settle(struct sim *s)
{
    uint64_t deadline = uv_hrtime() + SIM_PATIENCE * 1000000ULL;

    while (sim_turn(s) || !is_at_rest(s)) {
        if (uv_hrtime() > deadline)
            return -ETIMEDOUT;
    }
    return 0;
}

/* ---- gateways ---- */

size_t sim_gateways(const struct sim *s)
{
    return s->ngateways;
}

bool sim_has_gateway(const struct sim *s, size_t i)
{
    return s->world.gateways[i] != NULL;
}

void sim_kill_gateway(struct sim *s, size_t i)
{
    s->apart = false;
    world_close_gateway(&s->world, i);
}

int sim_open_gateway(struct sim *s, size_t i, char err[SIM_ERR_SIZE])
{
    static const struct gateway_events events;
    struct sim_gateway *g = &s->gateways[i];
    struct gateway_slot slot = {.ids_fd = -1};
    char message[256];
    int result = 0;

    if (g->clients.fd < 0)
        result = bind_port(&g->clients);
    if (result == 0 && g->inner.fd < 0)
        result = bind_port(&g->inner);
    if (result < 0) {
        snprintf(
            err, SIM_ERR_SIZE, "the gateway's port: %s", strerror(-result));
        return result;
    }
    slot.client_fd = g->clients.fd;
    slot.inner_fd = g->inner.fd;
    result = world_open_gateway(&s->world, i, &slot, &events, s, message);
    if (result < 0) {
        snprintf(err, SIM_ERR_SIZE, "%s", message);
        return result;
    }
    g->clients.fd = g->inner.fd = -1;
    g->newest[0] = '\0';
    return 0;
}

int sim_connect(struct sim *s, size_t i, const union addr *peer)
{
    int small = SIM_SEND_BUF;
    int fds[2], result = -EAGAIN;

    if (socketpair(
            AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    if (s->world.gateways[i])
        result = gateway_adopt(s->world.gateways[i], fds[1], peer);
    if (result == 0)
        return fds[0];
    close(fds[0]);
    close(fds[1]);
    return result;
}

/* Is it the client at ":port"? One behind a proxy has port 0: then it is a
 * newer one than those that were asked for before. */
static bool is_meant(
    const struct gateway_client_row *row, const char *port, const char *newest)
{
    const char *colon = strrchr(row->peer, ':');

    return strcmp(colon, port) == 0 ||
           (strcmp(colon, ":0") == 0 && strcmp(row->client_id, newest) > 0);
}

const char *sim_client_id(
    struct sim *s, size_t i, uint16_t port, char out[SIM_ID_SIZE])
{
    const struct gateway *gateway = s->world.gateways[i];
    char *newest = s->gateways[i].newest;
    struct gateway_client_row row;
    uint32_t *ids = NULL;
    size_t count = gateway ? gateway_client_ids(gateway, &ids) : 0;
    char text[16]; /* ":40001" */
    bool found = false;

    snprintf(text, sizeof(text), ":%u", port);
    for (size_t k = 0; k < count; k++) {
        if (!gateway_client_row(gateway, ids[k], &row) ||
            !is_meant(&row, text, newest))
            continue;
        found = true;
        snprintf(out, SIM_ID_SIZE, "%s", row.client_id);
    }
    free(ids);
    if (found && strcmp(out, newest) > 0)
        snprintf(newest, SIM_ID_SIZE, "%s", out);
    return found ? out : NULL;
}

/* ---- workers ---- */

static void on_ready(void *arg)
{
    ((struct sim_worker *)arg)->state = WORKER_READY;
}

static void fail(struct sim *s, const char *message)
{
    if (!s->error)
        s->error = xstrdup(message);
}

static void on_failed(const char *message, void *arg)
{
    struct sim_worker *w = arg;

    w->state = WORKER_FAILED;
    fail(w->sim, message);
}

static void on_stopped(void *arg)
{
    ((struct sim_worker *)arg)->state = WORKER_ENDED;
}

static void on_prepared(const char *message, void *arg)
{
    struct sim_worker *w = arg;

    w->state = message ? WORKER_READY : WORKER_PREPARED;
    if (message)
        fail(w->sim, message);
}

size_t sim_workers(const struct sim *s)
{
    return s->workers ? s->world.config.worker_count : 0;
}

bool sim_has_worker(const struct sim *s, size_t i)
{
    return is_running(&s->workers[i]);
}

void sim_kill_worker(struct sim *s, size_t i)
{
    s->apart = false;
    s->workers[i].state = WORKER_NONE;
    world_close_worker(&s->world, (unsigned)i);
}

void sim_open_worker(struct sim *s, size_t i)
{
    static const struct worker_events events = {
        .on_ready = on_ready, .on_failed = on_failed, .on_stopped = on_stopped};

    sim_kill_worker(s, i); /* one that failed is still there */
    free(s->error);
    s->error = NULL;
    s->workers[i].state = WORKER_LOADING;
    world_open_worker(&s->world, (unsigned)i, &events, &s->workers[i]);
}

void sim_stop_workers(struct sim *s)
{
    for (size_t i = 0; i < sim_workers(s); i++) {
        if (!is_running(&s->workers[i]))
            continue;
        s->workers[i].state = WORKER_ENDING;
        worker_stop(
            s->world.workers[i], s->world.config.worker_conf.drain_time);
    }
}

bool sim_is_busy(const struct sim *s)
{
    for (size_t i = 0; i < sim_workers(s); i++) {
        enum worker_state state = s->workers[i].state;

        if (state == WORKER_LOADING || state == WORKER_PREPARING ||
            state == WORKER_ENDING)
            return true;
    }
    return false;
}

const char *sim_failure(const struct sim *s)
{
    return s->error;
}

void sim_set_script(struct sim *s, const char *text)
{
    s->world.config.worker_conf.script_text = text;
}

void sim_prepare(struct sim *s)
{
    free(s->error);
    s->error = NULL;
    for (size_t i = 0; i < sim_workers(s); i++) {
        struct sim_worker *w = &s->workers[i];

        if (w->state != WORKER_READY)
            continue;
        if (worker_prepare(s->world.workers[i], on_prepared, w) == 0)
            w->state = WORKER_PREPARING;
        else
            fail(s, "the last reload is not over yet");
    }
}

const char *sim_verdict(struct sim *s)
{
    for (size_t i = 0; i < sim_workers(s); i++) {
        struct sim_worker *w = &s->workers[i];

        if (w->state != WORKER_PREPARED)
            continue;
        w->state = WORKER_READY;
        (s->error ? worker_abort : worker_commit)(s->world.workers[i]);
    }
    return s->error;
}

/* ---- all of it ---- */

int sim_start(struct sim *s, struct config *c, double wall, void *arg,
    char err[SIM_ERR_SIZE])
{
    char message[256] = "";
    int result;

    s->arg = arg;
    simclock_start(&s->clock, &s->world.loop, wall);
    world_configure(&s->world, c);
    s->world.config.worker_conf.shared = shared_open(-1);
    if (s->world.config.worker_conf.shared)
        shared_use_clock(s->world.config.worker_conf.shared, &s->clock.now);
    s->workers = xcalloc(s->world.config.worker_count, sizeof(*s->workers));
    result = world_open_register(&s->world, s->reg.fd, message);
    if (result < 0) {
        snprintf(err, SIM_ERR_SIZE, "%s", message);
        return result;
    }
    s->reg.fd = -1;
    for (size_t i = 0; result == 0 && i < s->ngateways; i++)
        result = sim_open_gateway(s, i, err);
    for (unsigned i = 0; result == 0 && i < sim_workers(s); i++) {
        s->workers[i].sim = s;
        sim_open_worker(s, i);
    }
    return result;
}

void sim_free(struct sim *s)
{
    simclock_stop(&s->world.loop);
    world_fini(&s->world);
    close_port(&s->reg);
    for (size_t i = 0; i < s->ngateways; i++) {
        close_port(&s->gateways[i].clients);
        close_port(&s->gateways[i].inner);
    }
    free(s->gateways);
    free(s->workers);
    free(s->error);
    free(s);
}
