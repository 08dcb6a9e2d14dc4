/* A world owns its loop, the configuration and every role; whoever runs it
 * says when roles begin and end. Roles meet over sockets, as in processes of
 * their own. */
#include "role/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "proc/shared.h"
#include "role/slots.h"
#include "util/alloc.h"
#include "util/log.h"

void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    clock_loop_init(&w->loop);
    w->began = clock_now(&w->loop);
}

void world_configure(struct world *w, struct config *c)
{
    w->config = *c;
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < w->config.ngateways; i++)
        w->config.gateways[i].count = 1;
    w->nworkers = config_worker_count(&w->config);
    w->gateways = xcalloc(w->config.ngateways + 1, sizeof(*w->gateways));
    w->workers = xcalloc((size_t)w->nworkers + 1, sizeof(*w->workers));
}

void world_share(struct world *w, struct shared *shared)
{
    w->shared = shared;
    for (size_t i = 0; i < w->config.nworkers; i++)
        w->config.workers[i].conf.shared = shared;
    for (size_t i = 0; i < w->config.nprograms; i++)
        w->config.programs[i].conf.shared = shared;
}

int world_open_register(struct world *w, int fd, char err[256])
{
    const struct role_slot slot = {.kind = "register", .fds = {fd, -1, -1, -1}};

    return role_new(&w->reg, &w->loop, &slot, &w->config,
        &(struct role_events){0}, NULL, err);
}

int world_open_gateway(struct world *w, const struct role_slot *slot,
    const struct role_events *events, void *arg, char err[256])
{
    char message[256] = "";
    int result = role_new(&w->gateways[slot->number], &w->loop, slot,
        &w->config, events, arg, message);

    if (result < 0)
        snprintf(err, 256, "gateway \"%s\": %.150s",
            w->config.gateways[slot->number].conf.name, message);
    return result;
}

void world_open_worker(
    struct world *w, unsigned i, const struct role_events *events, void *arg)
{
    const struct role_slot slot = {.kind = "worker", .number = i};
    char err[256];

    role_new(&w->workers[i], &w->loop, &slot, &w->config, events, arg, err);
}

/* In place of a master, which would know of a process of its own. */
static void tell(
    struct world *w, const char *kind, unsigned slot, struct role *r)
{
    static const char *const states[] = {[ROLE_STARTING] = "starting",
        [ROLE_READY] = "ready",
        [ROLE_PREPARING] = "ready",
        [ROLE_PREPARED] = "ready",
        [ROLE_FAILED] = "failed",
        [ROLE_STOPPING] = "stopping",
        [ROLE_STOPPED] = "ended"};
    struct page *page = slots_page(&w->config, w->pages, kind, slot);
    struct page_child child = {.state = "down", .began = w->began};

    if (!page)
        return;
    if (r && role_state(r) != ROLE_STOPPED && role_state(r) != ROLE_FAILED) {
        child.runs = child.answers = true;
        child.pid = (int32_t)getpid();
        role_share(r, page);
    }
    if (r)
        snprintf(child.state, sizeof(child.state), "%s", states[role_state(r)]);
    page_write_child(page, &child);
}

static void on_look(void *arg)
{
    struct world *w = arg;
    const struct pages_system system = {
        .pid = (int32_t)getpid(), .generation = 1, .began = w->began};

    tell(w, "admin", 0, w->admin);
    tell(w, "register", 0, w->reg);
    for (unsigned i = 0; i < w->config.ngateways; i++)
        tell(w, "gateway", i, w->gateways[i]);
    for (unsigned i = 0; i < w->nworkers; i++)
        tell(w, "worker", i, w->workers[i]);
    for (unsigned i = 0; w->programs && i < w->config.nprograms; i++)
        tell(w, "program", i, programs_role(w->programs, i));
    pages_write_system(w->pages, &system);
}

static struct page *page_of(
    const struct world *w, const char *kind, unsigned slot)
{
    return slots_page(&w->config, w->pages, kind, slot);
}

/* Those that begin from now on. */
static void share_pages(struct world *w)
{
    for (unsigned i = 0; i < w->nworkers; i++) {
        unsigned index;
        struct config_workers *of = slots_workers(&w->config, i, &index);

        of->conf.measures = true;
        of->conf.series = page_series(page_of(w, "worker", i));
        of->conf.faults = page_faults(page_of(w, "worker", i));
        of->conf.timings = page_timings(page_of(w, "worker", i));
        of->conf.tallies = page_tallies(page_of(w, "worker", i));
    }
    for (unsigned i = 0; i < w->config.nprograms; i++) {
        struct page *page = page_of(w, "program", i);

        w->config.programs[i].conf.series = page_series(page);
        w->config.programs[i].conf.tallies = page_tallies(page);
    }
}

int world_open_admin(struct world *w, int fd, int pages_fd, char err[256])
{
    static const struct role_events events = {.on_look = on_look};
    const struct role_slot slot = {.kind = "admin", .fds = {fd, -1, -1, -1}};

    w->pages = w->config.pages = pages_open(pages_fd);
    if (w->pages)
        share_pages(w);
    return role_new(&w->admin, &w->loop, &slot, &w->config, &events, w, err);
}

void world_close(struct role **role)
{
    if (*role)
        role_free(*role);
    *role = NULL;
}

void world_fini(struct world *w)
{
    for (size_t i = 0; i < w->config.ngateways; i++)
        world_close(&w->gateways[i]);
    for (unsigned i = 0; i < w->nworkers; i++)
        world_close(&w->workers[i]);
    world_close(&w->reg);
    world_close(&w->admin);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&w->loop) < 0)
        log_error("handles were left open");
    shared_close(w->shared);
    pages_close(w->pages);
    free(w->gateways);
    free(w->workers);
    config_free(&w->config);
}
