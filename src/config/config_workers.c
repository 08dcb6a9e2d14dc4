/* Kinds of workers, and programs. Each kind has a name of its own, and a
 * gateway may name the kind that gets its clients' events. Such a kind may also
 * run elsewhere, or be PHP's: a wrong name can only be told where nobody else
 * can join. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config_impl.h"
#include "util/alloc.h"

#define NAMES_SIZE 400 /* bytes of the names in a message */

static const char *where_of(char out[CONFIG_WHERE_SIZE],
    const struct config_workers *w, const char *key)
{
    snprintf(out, CONFIG_WHERE_SIZE, "%s.%s", w->where, key);
    return out;
}

static void check_kind(struct config_load *l, size_t i)
{
    struct config_workers *w = &l->c.workers[i];
    char where[CONFIG_WHERE_SIZE];

    w->conf.secret_key = l->secret_key;
    w->conf.packet_max = l->c.program_conf.packet_max;
    if (!w->conf.name)
        return; /* complained about already */
    where_of(where, w, "name");
    if (w->count > 0) /* else they may be PHP's, which may have any name */
        config_check_name(l, where, w->conf.name);
    for (size_t j = 0; j < i; j++) {
        const struct config_workers *other = &l->c.workers[j];

        if (other->conf.name && strcmp(other->conf.name, w->conf.name) == 0)
            config_complain(l, where,
                "\"%s\" is the name of %s too; give each its own", w->conf.name,
                other->where);
    }
    if (w->count == 0)
        return; /* they run elsewhere */
    if (w->conf.script)
        config_check_path(
            l, where_of(where, w, "script"), w->conf.script, S_IFREG);
    config_choose_discovery(
        l, where_of(where, w, "register_address"), &w->conf.discovery);
}

/* All names, as they may be given: `"Chat" or "Billing"`. */
static const char *list_names(char out[NAMES_SIZE], const struct config *c)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < c->nworkers && n < NAMES_SIZE; i++)
        n += (size_t)snprintf(out + n, NAMES_SIZE - n, "%s\"%s\"",
            i == 0                ? ""
            : i + 1 < c->nworkers ? ", "
                                  : " or ",
            c->workers[i].conf.name ? c->workers[i].conf.name : "…");
    return out;
}

static bool is_kind(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->nworkers; i++) {
        const char *kind = c->workers[i].conf.name;

        if (kind && strcmp(kind, name) == 0)
            return true;
    }
    return false;
}

/* Whose are the clients of gateway i? */
static void check_reference(struct config_load *l, size_t i)
{
    const struct config_gateway *g = &l->c.gateways[i];
    const char *name = g->conf.workers;
    char where[CONFIG_WHERE_SIZE], names[NAMES_SIZE];

    snprintf(where, sizeof(where), "gateways[%zu].workers", i + 1);
    list_names(names, &l->c);
    if (!name && l->c.workers_are_list)
        config_complain(l, where,
            "is missing, and workers is a list; say which of them get this "
            "gateway's clients: %s",
            names);
    if (!name || l->c.nworkers == 0 || is_kind(&l->c, name))
        return;
    if (!l->c.has_register || config_far_register(l, g))
        config_warn(l, &l->warnings, where,
            "no workers here are named \"%s\", only %s; its clients wait for "
            "workers of another machine, or PHP's",
            name, names);
    else
        config_complain(l, where,
            "no workers are named \"%s\"; give %s, or, where workers of "
            "another file or PHP's have that name, add { name = \"%s\", "
            "count = 0 } to the list workers",
            name, names, name);
}

/* A name means one thing to gwrun reload. */
static void check_program_name(struct config_load *l, size_t i)
{
    const char *name = l->c.programs[i].conf.name;
    char where[CONFIG_WHERE_SIZE];

    snprintf(where, sizeof(where), "programs[%zu].name", i + 1);
    config_check_name(l, where, name);
    if (is_kind(&l->c, name))
        config_complain(l, where,
            "\"%s\" is the name of workers, too; give each its own", name);
    for (size_t j = 0; j < i; j++) {
        const char *other = l->c.programs[j].conf.name;

        if (other && strcmp(other, name) == 0)
            config_complain(l, where,
                "\"%s\" is the name of programs[%zu] too; give each its own",
                name, j + 1);
    }
}

static void check_programs(struct config_load *l)
{
    char where[CONFIG_WHERE_SIZE];

    if (l->c.nprograms > 0)
        config_check_program(l);
    for (size_t i = 0; i < l->c.nprograms; i++) {
        struct worker_conf *conf = &l->c.programs[i].conf;

        conf->secret_key = l->secret_key;
        conf->packet_max = l->c.program_conf.packet_max;
        conf->discovery = l->c.program_conf.discovery;
        if (conf->name)
            check_program_name(l, i);
        snprintf(where, sizeof(where), "programs[%zu].file", i + 1);
        if (conf->script)
            config_check_path(l, where, conf->script, S_IFREG);
    }
}

void config_check_workers(struct config_load *l)
{
    for (size_t i = 0; i < l->c.nworkers; i++)
        check_kind(l, i);
    for (size_t i = 0; i < l->c.ngateways; i++)
        check_reference(l, i);
    check_programs(l);
}

/* Those of its workers, or else of gateways, or else what the top level says.
 */
void config_check_program(struct config_load *l)
{
    struct worker_conf *p = &l->c.program_conf;

    p->secret_key = l->secret_key;
    for (size_t i = 0; i < l->c.nworkers && !p->discovery.registers; i++)
        p->discovery.registers = l->c.workers[i].conf.discovery.registers;
    for (size_t i = 0; i < l->c.ngateways && !p->discovery.registers; i++) {
        if (!l->register_addresses)
            p->discovery.registers = l->c.gateways[i].conf.discovery.registers;
    }
    config_choose_discovery(l, "register_address", &p->discovery);
}
