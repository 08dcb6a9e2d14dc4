/* The order of all processes is plan_make()'s, so that a child, its page and
 * the operators' port mean the same one. */
#include "role/slots.h"

#include <stdlib.h>
#include <string.h>

#include "role/counters.h"
#include "util/alloc.h"

const struct config_gateway *slots_gateway(
    const struct config *c, unsigned slot, unsigned *index)
{
    for (size_t i = 0; i < c->ngateways; i++) {
        if (slot < c->gateways[i].count) {
            *index = slot;
            return &c->gateways[i];
        }
        slot -= c->gateways[i].count;
    }
    return NULL;
}

struct config_workers *slots_workers(
    const struct config *c, unsigned slot, unsigned *index)
{
    for (size_t i = 0; i < c->nworkers; i++) {
        if (slot < c->workers[i].count) {
            *index = slot;
            return &c->workers[i];
        }
        slot -= c->workers[i].count;
    }
    return NULL;
}

static void list_process(struct admin_process *out, size_t *n, const char *role,
    unsigned slot, const char *name, const char *listen,
    const struct counter *table)
{
    out[(*n)++] = (struct admin_process){.role = role,
        .slot = slot,
        .name = name,
        .listen = listen ? listen : "",
        .tables = {counters_process, table}};
}

static const char *worker_name(const struct config *c, unsigned slot)
{
    unsigned index = 0;
    const struct config_workers *w = slots_workers(c, slot, &index);

    return w ? w->conf.name : "";
}

/* In the order of plan_make(). */
size_t slots_list(const struct config *c, struct admin_process **out)
{
    unsigned workers = config_worker_count(c), index;
    const struct config_gateway *g;
    struct admin_process *list;
    size_t n = 2 + workers + c->nprograms;

    for (size_t i = 0; i < c->ngateways; i++)
        n += c->gateways[i].count;
    *out = list = xcalloc(n, sizeof(*list));
    n = 0;
    if (c->admin.listen)
        list_process(list, &n, "admin", 0, SLOTS_ADMIN, c->admin.listen, NULL);
    if (c->has_register)
        list_process(list, &n, "register", 0, SLOTS_REGISTER,
            c->register_conf.listen, counters_register);
    for (unsigned i = 0; i < workers; i++)
        list_process(
            list, &n, "worker", i, worker_name(c, i), NULL, counters_worker);
    for (unsigned i = 0; i < c->nprograms; i++)
        list_process(list, &n, "program", i, c->programs[i].conf.name, NULL,
            counters_program);
    for (unsigned i = 0; (g = slots_gateway(c, i, &index)); i++)
        list_process(
            list, &n, "gateway", i, g->conf.name, g->listen, counters_gateway);
    return n;
}

struct page *slots_page(const struct config *c, const struct pages *pages,
    const char *role, unsigned slot)
{
    struct admin_process *list;
    size_t n = slots_list(c, &list);
    struct page *page = NULL;

    for (size_t i = 0; i < n && i < pages_count(pages); i++)
        if (strcmp(list[i].role, role) == 0 && list[i].slot == slot)
            page = pages_at(pages, i);
    free(list);
    return page;
}
