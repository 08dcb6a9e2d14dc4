#include "cli/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/listener.h"
#include "proc/daemon.h"
#include "proc/shared.h"
#include "util/alloc.h"

const struct config_gateway *plan_gateway(
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

char *plan_run_path(const struct config *c, const char *name)
{
    size_t n = strlen(c->root);
    const char *dir = c->run_dir;

    if (strncmp(dir, c->root, n) == 0 && dir[n] == '/')
        dir += n + 1;
    return xasprintf("%s/%s", dir, name);
}

static struct master_child_conf *add_child(
    struct plan *p, const char *role, unsigned slot)
{
    struct master_child_conf *child = &p->children[p->nchildren++];

    *child = (struct master_child_conf){
        .role = role, .slot = slot, .listen = "", .fds = {-1, -1, -1}};
    return child;
}

/* Say why a port cannot be had; setting is the key of the configuration. */
static int explain(char err[PLAN_ERR_SIZE], int result, const char *setting,
    const char *address)
{
    union addr a;
    char owner[64] = "";

    if (result == -EADDRINUSE && addr_parse(&a, address) == 0)
        daemon_port_owner(addr_port(&a), owner);
    snprintf(err, PLAN_ERR_SIZE, "cannot listen on %.80s (%.100s): %s%s%s",
        address, setting,
        result == -EADDRINUSE ? "the port is in use" : strerror(-result),
        owner[0] ? " by " : "", owner);
    return result;
}

/* A bound socket into *fd. Sockets that share a port would also share it with
 * another program's of the same user: first see whether it is free. */
static int bind_port(int *fd, const char *address, bool share,
    const char *setting, char err[PLAN_ERR_SIZE])
{
    union addr a;
    int result = addr_parse(&a, address);

    if (result == 0)
        result = listener_bind(&a, false);
    if (result >= 0 && share) {
        close(result);
        result = listener_bind(&a, true);
    }
    if (result < 0)
        return explain(err, result, setting, address);
    *fd = result;
    return 0;
}

/* One of several sockets of a port that bind_port() found free. */
static int bind_next(
    int *fd, const char *address, const char *setting, char err[PLAN_ERR_SIZE])
{
    union addr a;
    int result = addr_parse(&a, address);

    if (result == 0)
        result = listener_bind(&a, true);
    if (result < 0)
        return explain(err, result, setting, address);
    *fd = result;
    return 0;
}

static int open_ids(int *fd, const struct config *c, const char *lan_ip,
    unsigned port, char err[PLAN_ERR_SIZE])
{
    char name[64];
    char *path;
    int result = 0;

    snprintf(name, sizeof(name), "ids/%.40s-%u", lan_ip, port);
    path = plan_run_path(c, name);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (*fd < 0) {
        result = -errno;
        snprintf(err, PLAN_ERR_SIZE, "cannot open %.200s (run_dir): %s", path,
            strerror(errno));
    }
    free(path);
    return result;
}

static int add_gateway(struct plan *p, const struct config *c, unsigned slot,
    char err[PLAN_ERR_SIZE])
{
    unsigned index;
    const struct config_gateway *g = plan_gateway(c, slot, &index);
    struct master_child_conf *child = add_child(p, "gateway", slot);
    unsigned port = g->conf.start_port + index;
    char inner[ADDR_TEXT_SIZE], setting[128];
    int result;

    child->name = g->conf.name;
    child->listen = g->listen;
    snprintf(
        setting, sizeof(setting), "listen of gateway \"%.64s\"", g->conf.name);
    if (index == 0)
        result =
            bind_port(&child->fds[0], g->address, g->count > 1, setting, err);
    else
        result = bind_next(&child->fds[0], g->address, setting, err);
    if (result < 0)
        return result;
    snprintf(setting, sizeof(setting), "start_port of gateway \"%.64s\"",
        g->conf.name);
    snprintf(inner, sizeof(inner), "%.40s:%u", g->inner_listen, port);
    result = bind_port(&child->fds[1], inner, false, setting, err);
    if (result < 0)
        return result;
    return open_ids(&child->fds[2], c, g->conf.lan_ip, port, err);
}

static int make_folder(const char *path, char err[PLAN_ERR_SIZE])
{
    int result = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;

    if (result < 0)
        snprintf(err, PLAN_ERR_SIZE,
            "cannot make the folder %.200s (run_dir): %s", path,
            strerror(-result));
    return result;
}

int plan_make_folders(const struct config *c, char err[PLAN_ERR_SIZE])
{
    char *ids = plan_run_path(c, "ids");
    int result = make_folder(c->run_dir, err);

    if (result == 0)
        result = make_folder(ids, err);
    free(ids);
    return result;
}

/* The workers, each with a descriptor of the table that they share. */
static int add_workers(
    struct plan *out, const struct config *c, char err[PLAN_ERR_SIZE])
{
    int first = -1;

    for (unsigned i = 0; i < c->worker_count; i++) {
        struct master_child_conf *child = add_child(out, "worker", i);

        child->name = c->worker_conf.name;
        child->fds[0] =
            i == 0 ? shared_create() : fcntl(first, F_DUPFD_CLOEXEC, 0);
        if (i == 0)
            first = child->fds[0];
        if (child->fds[0] < 0) {
            snprintf(err, PLAN_ERR_SIZE, "no memory for workers to share: %s",
                strerror(i == 0 ? -first : errno));
            return i == 0 ? first : -errno;
        }
        child->fds[1] = memfd_create("gwrun sources", MFD_CLOEXEC);
        if (child->fds[1] < 0) {
            snprintf(err, PLAN_ERR_SIZE, "no memory to keep scripts in: %s",
                strerror(errno));
            return -errno;
        }
    }
    return 0;
}

int plan_make(struct plan *out, const struct config *c, char err[PLAN_ERR_SIZE])
{
    unsigned gateways = 0;
    int result = plan_make_folders(c, err);

    *out = (struct plan){0};
    for (size_t i = 0; i < c->ngateways; i++)
        gateways += c->gateways[i].count;
    out->children =
        xcalloc(1 + gateways + c->worker_count + 1, sizeof(*out->children));
    if (result == 0 && c->has_register) {
        struct master_child_conf *child = add_child(out, "register", 0);

        child->name = "Register";
        child->listen = c->register_conf.listen;
        result = bind_port(
            &child->fds[0], child->listen, false, "register.listen", err);
    }
    if (result == 0 && c->has_workers)
        result = add_workers(out, c, err);
    for (unsigned i = 0; result == 0 && i < gateways; i++)
        result = add_gateway(out, c, i, err);
    if (result < 0)
        plan_free(out);
    return result;
}

void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->nchildren; i++) {
        for (int k = 0; k < 3; k++) {
            if (p->children[i].fds[k] >= 0)
                close(p->children[i].fds[k]);
        }
    }
    free(p->children);
    *p = (struct plan){0};
}
