#include "cli/cli.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "cli/plan.h"
#include "cli/watch.h"
#include "cli/world.h"
#include "proc/shared.h"
#include "util/alloc.h"
#include "util/log.h"

#define POLL_INTERVAL 500 /* ms between two looks at the script */
#define STOP_TIME     1.0 /* seconds clients and handlers get at Ctrl-C */

static const char help[] =
    "usage: gwrun dev [-c FILE]\n"
    "\n"
    "Runs everything in this one process, one gateway per entry and one worker,\n"
    "with the log on the terminal. Every change of a .lua file beside or below\n"
    "the script reloads it; a broken one is reported and the old one goes on.\n"
    "Ctrl-C ends it.\n";

enum dev_worker { DEV_LOADING, DEV_SERVING, DEV_PREPARING, DEV_FAILED };

struct dev {
    struct world world;
    struct plan plan;
    enum dev_worker worker_state;
    uv_signal_t signals[2];
    uv_timer_t poll;
    char *folder;      /* owned; of the script */
    uint64_t loaded;   /* fingerprint of what was loaded last */
    uint64_t seen;     /* … of the last look */
    bool changed;      /* the script waits to be loaded */
    unsigned signaled; /* Ctrl-C so far; the second one does not wait */
    size_t gateways_stopped;
    bool worker_stopped;
};

static void on_gateway_stopped(void *arg)
{
    ((struct dev *)arg)->gateways_stopped++;
}

static void on_worker_ready(void *arg)
{
    ((struct dev *)arg)->worker_state = DEV_SERVING;
    log_notice("script loaded");
}

static void on_worker_failed(const char *message, void *arg)
{
    ((struct dev *)arg)->worker_state = DEV_FAILED;
    log_error("script failed, waiting for a better one");
    log_block(LOG_ERROR, message);
}

static void on_worker_stopped(void *arg)
{
    ((struct dev *)arg)->worker_stopped = true;
}

static void on_prepared(const char *message, void *arg)
{
    struct dev *d = arg;

    d->worker_state = DEV_SERVING;
    if (message) {
        log_error("script not reloaded, the old one goes on");
        log_block(LOG_ERROR, message);
        return;
    }
    worker_commit(d->world.workers[0]);
    log_notice("script reloaded");
}

/* A change counts once it has lasted for one interval: editors write in
 * steps. */
static void on_poll(uv_timer_t *timer)
{
    struct dev *d = timer->data;
    uint64_t now = watch_fingerprint(d->folder);

    if (now == d->seen && now != d->loaded) {
        d->loaded = now;
        d->changed = true;
    }
    d->seen = now;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    ((struct dev *)handle->data)->signaled++;
}

static void open_worker(struct dev *d)
{
    static const struct worker_events events = {.on_ready = on_worker_ready,
        .on_failed = on_worker_failed,
        .on_stopped = on_worker_stopped};

    d->worker_state = DEV_LOADING;
    world_open_worker(&d->world, 0, &events, d);
}

/* The world has taken the sockets of child. */
static void forget_fds(struct master_child_conf *child)
{
    for (int i = 0; i < 3; i++)
        child->fds[i] = -1;
}

static int open_role(
    struct dev *d, struct master_child_conf *child, char err[256])
{
    static const struct gateway_events events = {
        .on_stopped = on_gateway_stopped};
    struct config *c = &d->world.config;
    struct gateway_slot slot = {.client_fd = child->fds[0],
        .inner_fd = child->fds[1],
        .ids_fd = child->fds[2]};
    int result = 0;

    if (strcmp(child->role, "register") == 0) {
        result = world_open_register(&d->world, child->fds[0], err);
    } else if (strcmp(child->role, "gateway") == 0) {
        result =
            world_open_gateway(&d->world, child->slot, &slot, &events, d, err);
        if (result == 0)
            printf("%s serves %s\n", c->gateways[child->slot].conf.name,
                c->gateways[child->slot].listen);
    } else {
        c->worker_conf.shared = shared_open(child->fds[0]);
        return 0;
    }
    if (result == 0)
        forget_fds(child);
    return result;
}

static void open_watch(struct dev *d)
{
    char *script = xstrdup(d->world.config.worker_conf.script);

    d->folder = xstrdup(dirname(script));
    free(script);
    d->loaded = d->seen = watch_fingerprint(d->folder);
    uv_timer_start(&d->poll, on_poll, POLL_INTERVAL, POLL_INTERVAL);
    printf("%s is loaded again on every change; Ctrl-C ends\n",
        d->world.config.worker_conf.script);
}

/* All roles, each as in a process of its own. */
static int open_roles(struct dev *d)
{
    struct config *c = &d->world.config;
    char message[PLAN_ERR_SIZE];
    int err;

    for (size_t i = 0; i < c->ngateways; i++)
        c->gateways[i].count = 1;
    c->worker_count = 1;
    err = plan_make(&d->plan, c, message);
    for (size_t i = 0; err == 0 && i < d->plan.nchildren; i++)
        err = open_role(d, &d->plan.children[i], message);
    if (err < 0)
        cli_error("%s", message);
    if (err == 0 && c->has_workers) {
        open_watch(d);
        open_worker(d);
    }
    fflush(stdout);
    return err;
}

/* A script that is still starting is given up for the one that was saved. */
static void reload(struct dev *d)
{
    d->changed = false;
    if (d->worker_state == DEV_FAILED || d->worker_state == DEV_LOADING) {
        world_close_worker(&d->world, 0);
        open_worker(d);
        return;
    }
    if (d->worker_state == DEV_PREPARING)
        worker_abort(d->world.workers[0]);
    d->worker_state = DEV_PREPARING;
    if (worker_prepare(d->world.workers[0], on_prepared, d) < 0) {
        d->worker_state = DEV_SERVING;
        d->changed = true; /* the last reload is not over yet */
    }
}

/* Until Ctrl-C. Roles are freed here, outside of their callbacks. */
static void serve(struct dev *d)
{
    while (d->signaled == 0) {
        uv_run(&d->world.loop, UV_RUN_ONCE);
        if (d->changed)
            reload(d);
    }
}

/* Clients first, so that the script sees them go. */
static void stop(struct dev *d)
{
    struct world *w = &d->world;

    for (size_t i = 0; i < w->config.ngateways; i++)
        gateway_stop(w->gateways[i], STOP_TIME);
    while (d->gateways_stopped < w->config.ngateways && d->signaled < 2)
        uv_run(&w->loop, UV_RUN_ONCE);
    if (!w->workers[0] || d->worker_state == DEV_FAILED)
        return;
    worker_stop(w->workers[0], STOP_TIME);
    while (!d->worker_stopped && d->signaled < 2)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static int run(struct dev *d)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    int err;

    signal(SIGPIPE, SIG_IGN);
    uv_timer_init(&d->world.loop, &d->poll);
    d->poll.data = d;
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&d->world.loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, numbers[i]);
    }
    err = open_roles(d);
    if (err == 0) {
        serve(d);
        stop(d);
    }
    uv_close((uv_handle_t *)&d->poll, NULL);
    for (size_t i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&d->signals[i], NULL);
    plan_free(&d->plan);
    world_fini(&d->world);
    free(d->folder);
    return err < 0 ? CLI_FAILED : CLI_DONE;
}

int cmd_dev(int argc, char **argv)
{
    struct dev d = {0};
    struct config c;
    struct cli_options options;
    struct traceback_style style;
    int status = cli_parse(&options, argc, argv, "c", 0, help);

    if (status >= 0)
        return status;
    status = cli_load(&c, options.config);
    if (status != CLI_DONE)
        return status;
    log_set_name("dev");
    log_set_level((enum log_level)c.log_level);
    style = cli_style(&c, stderr);
    log_set_color(style.color);
    cli_show_errors(&style);
    world_init(&d.world);
    world_configure(&d.world, &c);
    return run(&d);
}
