/* gwrun dev: all roles in one process, for whoever writes a script. It watches
 * the script's files, loads them anew when they change, and shows what a
 * running system only logs. It owns a world (world.h) and the role objects in
 * it; each role believes that it has a process of its own. */

#include "cli/cli.h"

#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "cli/origins.h"
#include "cli/prove.h"
#include "cli/watch.h"
#include "proc/shared.h"
#include "role/plan.h"
#include "role/programs.h"
#include "role/slots.h"
#include "role/world.h"
#include "util/alloc.h"
#include "util/log.h"

#define POLL_INTERVAL 500 /* ms between two looks at the script */
#define STOP_TIME     1.0 /* seconds clients and handlers get at Ctrl-C */

static const char help[] =
    "usage: gwrun dev [-c FILE]\n"
    "\n"
    "Runs everything in this one process, one gateway per entry, one worker of\n"
    "each kind, and programs, with the log on the terminal. Every change of a .lua\n"
    "file beside or below a script reloads all; a broken one is reported and the\n"
    "old one goes on. Ctrl-C ends it.\n"
    "\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

/* The worker of one kind. */
struct dev_worker {
    struct dev *dev;  /* borrowed, owns us */
    const char *name; /* borrowed; of the kind */
    unsigned slot;
    bool changed; /* its script waits to be loaded */
};

struct dev {
    struct world world;
    struct plan plan;
    struct origins origins;     /* of messages that are not UTF-8 */
    struct dev_worker *workers; /* owned; by slot */
    struct programs *programs;  /* owned */
    bool programs_changed;
    uv_signal_t signals[2];
    uv_timer_t poll;
    char **folders; /* owned, and what they point to; of scripts, each once */
    size_t nfolders;
    uint64_t loaded;   /* fingerprint of what was loaded last */
    uint64_t seen;     /* … of the last look */
    unsigned signaled; /* Ctrl-C so far; the second one does not wait */
};

/* The gateway has just said what is wrong. */
static void on_repair(const void *data, size_t len, void *arg)
{
    const char *traceback =
        origins_find(&((struct dev *)arg)->origins, data, len);

    if (traceback)
        log_block(LOG_WARN, traceback);
}

static void on_bytes(
    const void *data, size_t len, const char *traceback, void *arg)
{
    origins_note(&((struct dev *)arg)->origins, data, len, traceback);
}

static void on_worker_ready(void *arg)
{
    struct dev_worker *w = arg;

    log_notice("script loaded name=%s", w->name);
}

static void on_worker_failed(const char *message, void *arg)
{
    struct dev_worker *w = arg;

    log_error("script failed, waiting for a better one name=%s", w->name);
    log_block(LOG_ERROR, message);
}

static struct role *role_of(const struct dev_worker *w)
{
    return w->dev->world.workers[w->slot];
}

static void on_worker_worn(const char *message, void *arg)
{
    struct dev_worker *w = arg;

    log_error("the script is started afresh: %s", message);
    role_stop(role_of(w), false, STOP_TIME);
}

static void on_prepared(const char *message, void *arg)
{
    struct dev_worker *w = arg;

    if (message) {
        log_error("script not reloaded, the old one goes on name=%s", w->name);
        log_block(LOG_ERROR, message);
        return;
    }
    role_commit(role_of(w));
    log_notice("script reloaded name=%s", w->name);
}

static uint64_t look(const struct dev *d)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < d->nfolders; i++)
        sum += watch_fingerprint(d->folders[i]);
    return sum;
}

/* A change counts once it has lasted for one interval: editors write in
 * steps. */
static void on_poll(uv_timer_t *timer)
{
    struct dev *d = timer->data;
    uint64_t now = look(d);

    if (now == d->seen && now != d->loaded) {
        d->loaded = now;
        for (unsigned i = 0; i < d->world.nworkers; i++)
            d->workers[i].changed = true;
        d->programs_changed = true;
    }
    d->seen = now;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    ((struct dev *)handle->data)->signaled++;
}

static void open_worker(struct dev_worker *w)
{
    static const struct role_events events = {.on_ready = on_worker_ready,
        .on_failed = on_worker_failed,
        .on_worn = on_worker_worn,
        .on_prepared = on_prepared};

    world_open_worker(&w->dev->world, w->slot, &events, w);
}

/* The world has taken the sockets of child. */
static void forget_fds(struct master_child_conf *child)
{
    for (int i = 0; i < MASTER_CHILD_FDS; i++)
        child->fds[i] = -1;
}

/* Workers of its kind may run elsewhere: until one joins nobody can connect. */
static void tell_gateway(const struct config *c, const struct config_gateway *g)
{
    printf("%s serves %s%s\n", g->conf.name, g->listen,
        config_works_for(c, g) ? "" : " once its workers join");
}

static int open_role(
    struct dev *d, struct master_child_conf *child, char err[256])
{
    static const struct role_events events = {.on_repair = on_repair};
    struct config *c = &d->world.config;
    const struct role_slot slot = {.kind = child->role,
        .number = child->slot,
        .fds = {child->fds[0], child->fds[1], child->fds[2], child->fds[3]}};
    int result = 0;

    if (strcmp(child->role, "register") == 0) {
        result = world_open_register(&d->world, child->fds[0], err);
    } else if (strcmp(child->role, "gateway") == 0) {
        result = world_open_gateway(&d->world, &slot, &events, d, err);
        if (result == 0)
            tell_gateway(c, &c->gateways[child->slot]);
    } else if (strcmp(child->role, "admin") == 0) {
        result =
            world_open_admin(&d->world, child->fds[0], d->plan.pages_fd, err);
        if (result == 0)
            printf("the operators' port is %s\n", child->listen);
    } else {
        if (!d->world.shared)
            world_share(&d->world, shared_open(child->fds[0]));
        return 0;
    }
    if (result == 0)
        forget_fds(child);
    return result;
}

static void add_folder(struct dev *d, const char *script)
{
    char *copy = xstrdup(script);
    char *folder = xstrdup(dirname(copy));

    free(copy);
    for (size_t i = 0; i < d->nfolders; i++) {
        if (strcmp(d->folders[i], folder) == 0) {
            free(folder);
            return;
        }
    }
    d->folders[d->nfolders++] = folder;
}

static void open_watch(struct dev *d)
{
    const struct config *c = &d->world.config;

    d->folders = xcalloc(c->nworkers + c->nprograms + 1, sizeof(*d->folders));
    for (size_t i = 0; i < c->nworkers; i++) {
        if (c->workers[i].count == 0)
            continue;
        add_folder(d, c->workers[i].conf.script);
        printf("%s is loaded again on every change; Ctrl-C ends\n",
            c->workers[i].conf.script);
    }
    for (size_t i = 0; i < c->nprograms; i++)
        add_folder(d, c->programs[i].conf.script);
    d->loaded = d->seen = look(d);
    uv_timer_start(&d->poll, on_poll, POLL_INTERVAL, POLL_INTERVAL);
}

static void open_workers(struct dev *d)
{
    const struct world *w = &d->world;
    unsigned index;

    d->workers = xcalloc(w->nworkers, sizeof(*d->workers));
    for (unsigned i = 0; i < w->nworkers; i++) {
        d->workers[i] = (struct dev_worker){.dev = d,
            .name = slots_workers(&w->config, i, &index)->conf.name,
            .slot = i};
        open_worker(&d->workers[i]);
    }
}

/* All roles, each as in a process of its own. */
static int open_roles(struct dev *d)
{
    struct config *c = &d->world.config;
    char message[PLAN_ERR_SIZE];
    int err;

    err = plan_make(&d->plan, c, message);
    for (size_t i = 0; err == 0 && i < d->plan.nchildren; i++)
        err = open_role(d, &d->plan.children[i], message);
    if (err < 0)
        cli_error("%s", message);
    if (err == 0) {
        open_watch(d);
        open_workers(d);
        d->programs = programs_open(&d->world.loop, c);
        d->world.programs = d->programs;
    }
    fflush(stdout);
    return err;
}

static void reopen_worker(struct dev_worker *w)
{
    world_close(&w->dev->world.workers[w->slot]);
    open_worker(w);
}

/* A script that is still starting is given up for the one that was saved. */
static void reload(struct dev_worker *w)
{
    enum role_state state = role_state(role_of(w));
    char err[256];

    w->changed = false;
    if (state == ROLE_FAILED || state == ROLE_STARTING) {
        reopen_worker(w);
        return;
    }
    if (state == ROLE_PREPARING)
        role_abort(role_of(w));
    if (role_prepare(role_of(w), NULL, err) < 0)
        w->changed = true; /* the last reload is not over yet */
}

/* Until Ctrl-C. Roles are freed here, outside of their callbacks. */
static void serve(struct dev *d)
{
    while (d->signaled == 0) {
        uv_run(&d->world.loop, UV_RUN_ONCE);
        for (unsigned i = 0; i < d->world.nworkers; i++) {
            if (role_state(d->world.workers[i]) == ROLE_STOPPED)
                reopen_worker(&d->workers[i]);
            if (d->workers[i].changed)
                reload(&d->workers[i]);
        }
        if (d->programs_changed)
            programs_reload(d->programs);
        d->programs_changed = false;
    }
}

static bool have_stopped(struct role *const *roles, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum role_state state = role_state(roles[i]);

        if (state != ROLE_STOPPED && state != ROLE_FAILED)
            return false;
    }
    return true;
}

/* Those that can, and wait for it; a second Ctrl-C does not. */
static void stop_roles(struct dev *d, struct role *const *roles, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (role_state(roles[i]) != ROLE_FAILED)
            role_stop(roles[i], false, STOP_TIME);
    }
    while (!have_stopped(roles, count) && d->signaled < 2)
        uv_run(&d->world.loop, UV_RUN_ONCE);
}

/* Clients first, so that the script sees them go. */
static void stop(struct dev *d)
{
    stop_roles(d, d->world.gateways, d->world.config.ngateways);
    d->world.programs = NULL;
    programs_close(d->programs);
    stop_roles(d, d->world.workers, d->world.nworkers);
}

/* One worker of each kind (of gateways the world sees to it). */
static void settle_config(struct dev *d, struct config *c)
{
    for (size_t i = 0; i < c->nworkers; i++) {
        if (c->workers[i].count > 1)
            c->workers[i].count = 1;
        c->workers[i].conf.on_bytes = on_bytes;
        c->workers[i].conf.on_bytes_arg = d;
    }
    for (size_t i = 0; i < c->nprograms; i++) {
        c->programs[i].conf.on_bytes = on_bytes;
        c->programs[i].conf.on_bytes_arg = d;
    }
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
    origins_fini(&d->origins);
    for (size_t i = 0; i < d->nfolders; i++)
        free(d->folders[i]);
    free(d->folders);
    free(d->workers);
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
    status = cli_load_to_run(&c, options.config);
    if (status != CLI_DONE)
        return status;
    prove_config(&c, false);
    log_set_name("dev");
    log_set_level((enum log_level)c.log_level);
    style = cli_style(&c, stderr);
    log_set_color(style.color);
    cli_show_errors(&style);
    world_init(&d.world);
    settle_config(&d, &c);
    world_configure(&d.world, &c);
    return run(&d);
}
