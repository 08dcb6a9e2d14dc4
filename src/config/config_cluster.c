/* What joins this cell to others: where the engine is, what the cluster and
 * this cell are called, and that this is a cell: one machine that is complete.
 */
#include "config/config_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/addr.h"
#include "util/alloc.h"
#include "util/hash.h"

/* Names stand in keys and lines. */
static void check_name(
    struct config_load *l, const char *where, const char *name)
{
    for (const char *p = name; *p; p++) {
        if (*p > ' ' && *p < 0x7f)
            continue;
        config_complain(l, where,
            "\"%.64s\" has a blank, or a character that is not ASCII; give "
            "letters, digits and signs",
            name);
        return;
    }
}

/* The host's name and run_dir, cut from the left: the ends differ. */
static const char *default_cell(struct config_load *l)
{
    char host[ENGINE_NAME_MAX / 2 + 1] = "", folder[4096];
    char *name, *path = config_path(&l->c, l->c.run_dir);
    size_t len;

    gethostname(host, sizeof(host) - 1);
    snprintf(folder, sizeof(folder), "%s", path);
    free(path);
    for (char *p = folder; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            *p = '_';
    len = strlen(folder);
    name = config_alloc(l->memory, ENGINE_NAME_MAX + 1);
    snprintf(name, ENGINE_NAME_MAX + 1, "%s:%s", host,
        folder + (len > ENGINE_NAME_MAX / 2 - 1
                         ? len - (ENGINE_NAME_MAX / 2 - 1)
                         : 0));
    return name;
}

static bool is_here(const char *address)
{
    union addr a;

    return addr_parse(&a, address) == 0
               ? addr_is_loopback(&a)
               : strncmp(address, "localhost:", strlen("localhost:")) == 0;
}

/* Workers of another machine would get what is sent to this cell twice: by
 * their links, and by the engine. */
static void check_registers(
    struct config_load *l, const char *where, const struct discovery_conf *d)
{
    for (size_t i = 0; d->registers && d->registers[i]; i++) {
        if (is_here(d->registers[i]))
            continue;
        config_complain(l, where,
            "asks the register %s, and with cluster all of a cell is on one "
            "machine; give register_address = \"127.0.0.1:…\"",
            d->registers[i]);
        return;
    }
}

static const char *full_path(struct config_load *l, const char *path)
{
    char *full = config_path(&l->c, path);
    const char *kept = config_strdup(l->memory, full);

    free(full);
    return kept;
}

/* The same at each start, without asking anybody: clients' ids hold while Redis
 * is away. That two of a cluster's cells get the same is not likely (with a
 * thousand cells, one in five hundred), and found by their claims. */
static uint32_t number_of(const struct engine_conf *e)
{
    static const uint8_t key[16] = "gwrun cell";
    char *text = xasprintf("%s %s", e->name, e->cell);
    uint64_t hash = hash_siphash(text, strlen(text), key);

    free(text);
    return 0xf0000000u | (uint32_t)(hash % 0x0ffffffeu + 1);
}

void config_number_cell(struct config_load *l)
{
    struct engine_conf *e = &l->c.cluster;

    if (!e->url || !e->name)
        return;
    if (!e->cell)
        e->cell = default_cell(l);
    e->number = number_of(e);
    l->c.program_conf.loopback_ip = e->number;
    for (size_t i = 0; i < l->c.nprograms; i++)
        l->c.programs[i].conf.loopback_ip = e->number;
}

static void join_gateway(struct config_load *l, struct gateway_conf *g)
{
    union addr lan = {.in = {.sin_family = AF_INET}};
    uint32_t ip = 0;

    g->engine = l->c.engine;
    addr_parse_ipv4(&ip, g->lan_ip);
    lan.in.sin_addr.s_addr = htonl(ip);
    if (addr_is_loopback(&lan))
        g->id_ip = l->c.engine->number;
}

void config_check_cluster(struct config_load *l)
{
    struct engine_conf *e = &l->c.cluster;
    char err[ENGINE_ERROR_SIZE], where[CONFIG_WHERE_SIZE];

    if (!e->url || !e->name)
        return;
    if (engine_check(e->url, err))
        config_complain(l, "cluster.engine", "%s", err);
    config_number_cell(l);
    check_name(l, "cluster.name", e->name);
    check_name(l, "cluster.cell", e->cell);
    if (e->ca_file)
        e->ca_file = full_path(l, e->ca_file);
    l->c.engine = config_alloc(l->memory, sizeof(*e));
    *l->c.engine = *e;
    l->c.admin.has_cluster = true;
    l->c.register_conf.engine = l->c.engine;
    if (l->listed)
        config_complain(l, "cluster",
            "stands beside discovery.gateways; a cell has a register");
    for (size_t i = 0; i < l->c.ngateways; i++) {
        snprintf(where, sizeof(where), "gateways[%zu]", i + 1);
        check_registers(l, where, &l->c.gateways[i].conf.discovery);
        join_gateway(l, &l->c.gateways[i].conf);
    }
    for (size_t i = 0; i < l->c.nworkers; i++) {
        check_registers(
            l, l->c.workers[i].where, &l->c.workers[i].conf.discovery);
        l->c.workers[i].conf.engine = l->c.engine;
        l->c.workers[i].conf.loopback_ip = l->c.engine->number;
    }
}
