/* gwrun status --cluster: the cells of the cluster, as Redis has them. It asks
 * Redis itself, so it answers where nothing runs, too. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "engine/look.h"
#include "util/alloc.h"
#include "util/buf.h"

#define ASK_MS 5000 /* for each step */

static bool is_here(const struct config *c, const struct look_cell *cell)
{
    return strcmp(c->engine->cell, cell->name) == 0;
}

/* The addresses of all its gateways; the caller frees it. */
static char *list_addresses(const struct look_cell *cell)
{
    struct buf text = {0};

    for (size_t i = 0; i < cell->ngateways; i++)
        buf_printf(&text, "%s%s", i > 0 ? " " : "", cell->gateways[i].address);
    buf_append_byte(&text, '\0');
    return (char *)text.base;
}

/* Two units, as 3h04m. */
static void add_time(struct table *t, double seconds)
{
    long long s = seconds > 0 ? (long long)seconds : 0;

    if (s >= 86400)
        table_add(t, "%lldd%02lldh", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        table_add(t, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        table_add(t, "%lldm%02llds", s / 60, s % 60);
}

static void add_cell(struct table *t, const struct look *l,
    const struct look_cell *cell, bool here)
{
    char *addresses = list_addresses(cell);
    const char *state = look_state(l, cell);
    bool heard = strcmp(state, "silent") != 0 && cell->there;

    table_add(t, "%s%s", cell->name, here ? " *" : "");
    table_add(t, "%s", state);
    add_time(t, l->now - (heard ? cell->since : cell->heard));
    table_add(t, "%s", cell->version);
    table_add(t, "%zu", cell->ngateways);
    table_add(t, "%zu", cell->workers);
    table_add(t, "%llu", (unsigned long long)cell->clients);
    table_add(t, "%s", addresses);
    free(addresses);
}

static void print_table(const struct config *c, const struct look *l)
{
    static const char *const heads[] = {"cell", "state", "since", "version",
        "gateways", "workers", "clients", "addresses"};
    struct table *t = table_new("llrlrrrl");
    unsigned long long clients = 0;
    size_t up = 0;

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        table_add(t, "%s", heads[i]);
    for (size_t i = 0; i < l->ncells; i++) {
        add_cell(t, l, &l->cells[i], is_here(c, &l->cells[i]));
        clients += l->cells[i].clients;
        up += strcmp(look_state(l, &l->cells[i]), "up") == 0;
    }
    printf("cluster %s\n\n", c->engine->name);
    table_print(t, stdout);
    table_free(t);
    printf("\n%zu cells, %zu up; %llu clients\n", l->ncells, up, clients);
}

static json_t *make_cell(
    const struct look *l, const struct look_cell *cell, bool here)
{
    json_t *gateways = json_array();

    for (size_t i = 0; i < cell->ngateways; i++)
        json_array_append_new(gateways,
            json_pack("{s:s,s:I}", "address", cell->gateways[i].address,
                "clients", (json_int_t)cell->gateways[i].clients));
    return json_pack("{s:s,s:s,s:b,s:s,s:s,s:I,s:I,s:I,s:I,s:o}", "cell",
        cell->name, "state", look_state(l, cell), "here", here, "run",
        cell->run, "version", cell->version, "since", (json_int_t)cell->since,
        "heard", (json_int_t)cell->heard, "clients", (json_int_t)cell->clients,
        "workers", (json_int_t)cell->workers, "gateways", gateways);
}

static void print_json(const struct config *c, const struct look *l)
{
    json_t *cells = json_array();
    json_t *all = json_pack("{s:s,s:I,s:o}", "cluster", c->engine->name, "now",
        (json_int_t)l->now, "cells", cells);

    for (size_t i = 0; i < l->ncells; i++)
        json_array_append_new(
            cells, make_cell(l, &l->cells[i], is_here(c, &l->cells[i])));
    cli_print_json(all, JSON_INDENT(2));
    json_decref(all);
}

static int show(const struct config *c, const struct cli_options *o)
{
    struct look l;
    int err;

    if (!c->engine) {
        cli_error("%s has no cluster", o->config);
        return CLI_WRONG;
    }
    err = look_run(&l, c->engine, ASK_MS);
    if (err < 0)
        cli_error("the cluster cannot be asked: %s", l.error);
    else if (o->json)
        print_json(c, &l);
    else
        print_table(c, &l);
    if (err == 0 && l.warning[0])
        cli_error("warning: %s", l.warning);
    look_fini(&l);
    return err < 0 ? CLI_FAILED : CLI_DONE;
}

int cmd_cluster(const struct cli_options *o)
{
    struct config c;
    int status = cli_load(&c, o->config);

    if (status != CLI_DONE)
        return status;
    status = show(&c, o);
    config_free(&c);
    return status;
}
