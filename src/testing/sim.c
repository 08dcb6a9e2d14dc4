/* The roles of the configuration, on one loop with a simloop's clock, and the
 * clients that tests make. A settle is over when no socket, no task of a turn
 * and no thread has anything left to do; only then the clock may be moved. */
#include "testing/sim.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/listener.h"
#include "proc/shared.h"
#include "role/programs.h"
#include "role/slots.h"
#include "role/world.h"
#include "testing/simloop.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/list.h"

#define SILENCE     100  /* ms for bytes on their way in the kernel */
#define THREAD_TIME 5000 /* ms for what a thread computes */

struct sim_port {
    int fd; /* owned; bound; -1 while a role has it */
    uint16_t number;
};

struct sim_gateway {
    struct sim_port clients, inner;
    uint16_t shown; /* instead of clients.number; 0: that one */
    uint32_t known; /* id of the last client that sim_newcomer() looked at */
};

struct sim {
    struct world world;
    struct simloop *loop; /* owned; the world's; NULL until it starts */
    struct sim_port reg;
    struct sim_gateway *gateways; /* owned */
    size_t ngateways;
    struct programs *programs; /* owned; NULL until they begin */
    bool started;              /* the world has its workers */
    bool reloads_all;          /* programs, too */
    char *error;               /* owned; of a script that failed */
    void *arg;                 /* borrowed */
    size_t connected;          /* clients, so far */
    struct buf numbers; /* owned; size_t: of the client at each descriptor */
    bool apart;   /* they are not together, and it does not help to wait */
    int64_t lost; /* of the bytes in flight: what nobody will read */
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

void sim_show_port(struct sim *s, size_t gateway, uint16_t port)
{
    s->gateways[gateway].shown = port;
}

uint16_t sim_inner_port(const struct sim *s, size_t gateway)
{
    return s->gateways[gateway].inner.number;
}

/* ---- time ---- */

uint64_t sim_step(struct sim *s, uint64_t max_ms)
{
    return simloop_step(s->loop, max_ms);
}

double sim_wall(const struct sim *s)
{
    return clock_wall(&s->world.loop);
}

/* ---- rest ---- */

/* Is there a worker in slot i, and in which state? */
static bool is_in(const struct sim *s, size_t i, enum role_state state)
{
    const struct role *worker = s->world.workers[i];

    return worker && role_state(worker) == state;
}

static bool is_running(const struct sim *s, size_t i)
{
    return is_in(s, i, ROLE_READY) || is_in(s, i, ROLE_PREPARING) ||
           is_in(s, i, ROLE_PREPARED);
}

static size_t count_gateways(const struct sim *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->ngateways; i++)
        n += s->world.gateways[i] != NULL;
    return n;
}

/* How many workers of its kind gateway i has to have. */
static size_t count_workers(const struct sim *s, size_t i)
{
    const char *name = s->world.config.gateways[i].conf.workers;
    size_t n = 0;
    unsigned index;

    for (size_t k = 0; k < sim_workers(s); k++) {
        if (is_running(s, k) &&
            (!name || strcmp(name, sim_worker_conf(s, k, &index)->name) == 0))
            n++;
    }
    return n;
}

bool sim_is_together(const struct sim *s)
{
    size_t gateways = count_gateways(s);
    struct gateway_status g;
    struct worker_status w;

    for (size_t i = 0; i < sim_workers(s); i++) {
        if (is_in(s, i, ROLE_STOPPING))
            return true; /* it leaves when it likes */
        if (!is_running(s, i))
            continue;
        worker_status(role_worker(s->world.workers[i]), &w);
        if (w.gateways != gateways)
            return false;
    }
    for (size_t i = 0; i < s->ngateways; i++) {
        if (!s->world.gateways[i])
            continue;
        gateway_status(role_gateway(s->world.gateways[i]), &g);
        if (g.workers != count_workers(s, i))
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

bool sim_turn(struct sim *s)
{
    uv_run(&s->world.loop, UV_RUN_NOWAIT);
    return uv_backend_timeout(&s->world.loop) == 0 || has_events(s, 0);
}

/* The kernel may bring what was written, or the end of a connection, only a
 * moment later. What a role that died had not read never comes; and after some
 * deaths the roles find each other again only when time passes. */
static bool is_at_rest(struct sim *s)
{
    bool together = sim_is_together(s);
    bool computing = simloop_is_computing(s->loop);
    int64_t in_flight = simloop_in_flight(s->loop);

    if (together)
        s->apart = false;
    if ((in_flight == 0 || in_flight == s->lost) && !computing &&
        (together || s->apart))
        return true;
    if (has_events(s, computing ? THREAD_TIME : SILENCE))
        return false;
    s->lost = in_flight;
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
    world_close(&s->world.gateways[i]);
}

int sim_open_gateway(struct sim *s, size_t i, char err[SIM_ERR_SIZE])
{
    static const struct role_events events;
    struct sim_gateway *g = &s->gateways[i];
    struct role_slot slot;
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
    slot = (struct role_slot){.kind = "gateway",
        .number = (unsigned)i,
        .fds = {g->clients.fd, g->inner.fd, -1, -1},
        .shown_port = g->shown};
    result = world_open_gateway(&s->world, &slot, &events, s, message);
    if (result < 0) {
        snprintf(err, SIM_ERR_SIZE, "%s", message);
        return result;
    }
    g->clients.fd = g->inner.fd = -1;
    g->known = 0;
    return 0;
}

static void count_client(struct sim *s, size_t fd)
{
    size_t end = (fd + 1) * sizeof(s->connected);

    if (s->numbers.len < end)
        memset(buf_extend(&s->numbers, end - s->numbers.len), 0,
            end - s->numbers.len);
    s->connected++;
    memcpy(s->numbers.data + fd * sizeof(s->connected), &s->connected,
        sizeof(s->connected));
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
        result =
            gateway_adopt(role_gateway(s->world.gateways[i]), fds[1], peer);
    if (result == 0) {
        count_client(s, (size_t)fds[1]);
        return fds[0];
    }
    close(fds[0]);
    close(fds[1]);
    return result;
}

bool sim_newcomer(struct sim *s, size_t i, char id[SIM_ID_SIZE], size_t *number)
{
    const struct role *role = s->world.gateways[i];
    const struct gateway *gateway = role ? role_gateway(role) : NULL;
    uint32_t *known = &s->gateways[i].known;
    struct gateway_client_row row;

    while (gateway && *known < gateway_newest_id(gateway)) {
        if (!gateway_client_row(gateway, ++*known, &row) || row.fd < 0)
            continue; /* it has left again */
        snprintf(id, SIM_ID_SIZE, "%s", row.client_id);
        memcpy(number, s->numbers.data + (size_t)row.fd * sizeof(*number),
            sizeof(*number));
        return true;
    }
    return false;
}

/* ---- workers ---- */

static void fail(struct sim *s, const char *message)
{
    if (!s->error)
        s->error = xstrdup(message);
}

static void on_failed(const char *message, void *arg)
{
    fail(arg, message);
}

static void on_prepared(const char *message, void *arg)
{
    if (message)
        fail(arg, message);
}

size_t sim_workers(const struct sim *s)
{
    return s->started ? s->world.nworkers : 0;
}

size_t sim_kinds(const struct sim *s)
{
    return s->world.config.nworkers;
}

const struct worker_conf *sim_worker_conf(
    const struct sim *s, size_t i, unsigned *index)
{
    return &slots_workers(&s->world.config, (unsigned)i, index)->conf;
}

bool sim_has_worker(const struct sim *s, size_t i)
{
    return is_running(s, i);
}

void sim_kill_worker(struct sim *s, size_t i)
{
    s->apart = false;
    world_close(&s->world.workers[i]);
}

void sim_open_worker(struct sim *s, size_t i)
{
    static const struct role_events events = {
        .on_failed = on_failed, .on_prepared = on_prepared};

    sim_kill_worker(s, i); /* one that failed is still there */
    free(s->error);
    s->error = NULL;
    world_open_worker(&s->world, (unsigned)i, &events, s);
}

void sim_open_programs(struct sim *s)
{
    s->programs = programs_open(&s->world.loop, &s->world.config);
}

static void close_programs(struct sim *s)
{
    if (s->programs)
        programs_close(s->programs);
    s->programs = NULL;
}

void sim_stop_workers(struct sim *s)
{
    unsigned index;

    close_programs(s);
    for (size_t i = 0; i < sim_workers(s); i++) {
        if (is_running(s, i))
            role_stop(s->world.workers[i], false,
                sim_worker_conf(s, i, &index)->drain_time);
    }
}

bool sim_is_busy(const struct sim *s)
{
    for (size_t i = 0; i < sim_workers(s); i++) {
        if (is_in(s, i, ROLE_STARTING) || is_in(s, i, ROLE_PREPARING) ||
            is_in(s, i, ROLE_STOPPING))
            return true;
    }
    return false;
}

const char *sim_failure(const struct sim *s)
{
    return s->error;
}

void sim_set_script(struct sim *s, size_t kind, const char *text)
{
    s->world.config.workers[kind].conf.script_text = text;
}

void sim_prepare(struct sim *s, size_t kind)
{
    unsigned index;
    char err[256];

    s->reloads_all = kind == SIM_ALL_KINDS;
    free(s->error);
    s->error = NULL;
    for (size_t i = 0; i < sim_workers(s); i++) {
        if (!is_in(s, i, ROLE_READY) ||
            (kind != SIM_ALL_KINDS &&
                slots_workers(&s->world.config, (unsigned)i, &index) !=
                    &s->world.config.workers[kind]))
            continue;
        if (role_prepare(s->world.workers[i], NULL, err) < 0)
            fail(s, "the last reload is not over yet");
    }
}

const char *sim_verdict(struct sim *s)
{
    for (size_t i = 0; i < sim_workers(s); i++) {
        if (is_in(s, i, ROLE_PREPARED))
            (s->error ? role_abort : role_commit)(s->world.workers[i]);
    }
    if (s->reloads_all && !s->error && s->programs)
        programs_reload(s->programs);
    return s->error;
}

/* ---- all of it ---- */

int sim_start(struct sim *s, struct config *c, double wall, void *arg,
    char err[SIM_ERR_SIZE])
{
    char message[256] = "";
    struct shared *shared;
    int result;

    s->arg = arg;
    s->loop = simloop_open(&s->world.loop, wall);
    world_configure(&s->world, c);
    shared = shared_new(config_shared_keys(&s->world.config));
    if (shared)
        shared_use_clock(shared, &simloop_clock(s->loop)->now);
    world_share(&s->world, shared);
    s->started = true;
    result = world_open_register(&s->world, s->reg.fd, message);
    if (result < 0) {
        snprintf(err, SIM_ERR_SIZE, "%s", message);
        return result;
    }
    s->reg.fd = -1;
    for (size_t i = 0; result == 0 && i < s->ngateways; i++)
        result = sim_open_gateway(s, i, err);
    for (size_t i = 0; result == 0 && i < sim_workers(s); i++)
        sim_open_worker(s, i);
    return result;
}

void sim_free(struct sim *s)
{
    simloop_close(s->loop);
    close_programs(s);
    world_fini(&s->world);
    close_port(&s->reg);
    for (size_t i = 0; i < s->ngateways; i++) {
        close_port(&s->gateways[i].clients);
        close_port(&s->gateways[i].inner);
    }
    buf_fini(&s->numbers);
    free(s->gateways);
    free(s->error);
    free(s);
}
