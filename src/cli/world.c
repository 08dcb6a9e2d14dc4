#include "cli/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "proc/shared.h"
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
    w->gateways = xcalloc(w->config.ngateways + 1, sizeof(*w->gateways));
    w->workers = xcalloc(w->config.worker_count + 1, sizeof(*w->workers));
}

int world_open_register(struct world *w, int fd, char err[256])
{
    int result = register_new(&w->reg, &w->loop, &w->config.register_conf, fd);

    if (result < 0)
        snprintf(err, 256, "register on %s: %s", w->config.register_conf.listen,
            strerror(-result));
    return result;
}

int world_open_gateway(struct world *w, size_t i,
    const struct gateway_slot *slot, const struct gateway_events *events,
    void *arg, char err[256])
{
    const struct gateway_conf *conf = &w->config.gateways[i].conf;
    char message[256] = "";
    int result = gateway_new(
        &w->gateways[i], &w->loop, conf, slot, events, arg, message);

    if (result < 0)
        snprintf(err, 256, "gateway \"%s\": %.150s", conf->name, message);
    return result;
}

void world_open_worker(
    struct world *w, unsigned i, const struct worker_events *events, void *arg)
{
    w->workers[i] =
        worker_new(&w->loop, &w->config.worker_conf, i, events, arg);
}

void world_close_gateway(struct world *w, size_t i)
{
    if (w->gateways[i])
        gateway_free(w->gateways[i]);
    w->gateways[i] = NULL;
}

void world_close_worker(struct world *w, unsigned i)
{
    if (w->workers[i])
        worker_free(w->workers[i]);
    w->workers[i] = NULL;
}

void world_fini(struct world *w)
{
    for (size_t i = 0; i < w->config.ngateways; i++)
        world_close_gateway(w, i);
    for (unsigned i = 0; i < w->config.worker_count; i++)
        world_close_worker(w, i);
    if (w->reg)
        register_free(w->reg);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&w->loop) < 0)
        log_error("handles were left open");
    shared_close(w->config.worker_conf.shared);
    free(w->gateways);
    free(w->workers);
    config_free(&w->config);
}
