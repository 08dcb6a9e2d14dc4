/* A world owns its loop, the configuration and every role; whoever runs it
 * says when roles begin and end. Roles meet over sockets, as in processes of
 * their own. */
#include "role/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "proc/shared.h"
#include "role/plan.h"
#include "util/alloc.h"
#include "util/log.h"

void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    clock_loop_init(&w->loop);
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
    uv_run(&w->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&w->loop) < 0)
        log_error("handles were left open");
    shared_close(w->shared);
    free(w->gateways);
    free(w->workers);
    config_free(&w->config);
}
