/* Everything that has to be bound, opened or refused before a process starts
 * happens here, in one go: what fails here costs nobody a running system.
 * Until a plan is freed or its descriptors are handed on, they are its own. */
#include "role/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/listener.h"
#include "proc/daemon.h"
#include "proc/pages.h"
#include "proc/shared.h"
#include "role/slots.h"
#include "util/alloc.h"
#include "util/log.h"

static struct master_child_conf *add_child(
    struct plan *p, const char *role, unsigned slot)
{
    struct master_child_conf *child = &p->children[p->nchildren++];

    *child = (struct master_child_conf){
        .role = role, .slot = slot, .listen = "", .fds = {-1, -1, -1, -1}};
    return child;
}

/* What the keys are called in messages, and the address of an inner port. */
struct names {
    char listen[128], inner[128];
    char inner_address[ADDR_TEXT_SIZE];
};

static void name_ports(
    struct names *out, const struct config_gateway *g, unsigned index)
{
    snprintf(out->listen, sizeof(out->listen), "listen of gateway \"%.64s\"",
        g->conf.name);
    snprintf(out->inner, sizeof(out->inner),
        "%s, start_port of gateway \"%.64s\"",
        g->inner_listen == g->conf.lan_ip ? "lan_ip" : "inner_listen",
        g->conf.name);
    snprintf(out->inner_address, sizeof(out->inner_address), "%.40s:%u",
        g->inner_listen, g->conf.start_port + index);
}

/* The operators' port's path, where it is a unix socket; else NULL. */
static const char *admin_path(const struct config *c)
{
    size_t len = strlen(ADMIN_UNIX);

    return strncmp(c->admin.listen, ADMIN_UNIX, len) == 0
               ? c->admin.listen + len
               : NULL;
}

void plan_each_port(const struct config *c, plan_port_cb show, void *arg)
{
    if (c->admin.listen && !admin_path(c))
        show(c->admin.listen, "admin.listen", arg);
    if (c->has_register)
        show(c->register_conf.listen, "register.listen", arg);
    if (c->has_register && c->register_conf.cluster_listen)
        show(c->register_conf.cluster_listen, "register.cluster_listen", arg);
    for (size_t i = 0; i < c->ngateways; i++) {
        const struct config_gateway *g = &c->gateways[i];
        struct names names;

        for (unsigned k = 0; k < g->count; k++) {
            name_ports(&names, g, k);
            if (k == 0)
                show(g->address, names.listen, arg);
            show(names.inner_address, names.inner, arg);
        }
    }
}

/* What to do about it; "" when the reason says enough. */
static const char *advise(int result, const union addr *a)
{
    if (result == -EADDRNOTAVAIL)
        return "; no interface of this machine has that address: give one that "
               "\"ip addr\" lists, and behind NAT or in a container that one "
               "as inner_listen";
    if (result == -EACCES && addr_port(a) < 1024)
        return "; ports below 1024 need root or CAP_NET_BIND_SERVICE: start as "
               "root and name a user";
    return "";
}

pid_t plan_explain(char err[PLAN_ERR_SIZE], int result, const char *setting,
    const char *address)
{
    union addr a = {0};
    char owner[64] = "";

    if (addr_parse(&a, address) == 0 && result == -EADDRINUSE)
        daemon_port_owner(addr_port(&a), owner);
    snprintf(err, PLAN_ERR_SIZE, "cannot listen on %.80s (%.100s): %s%s%s%s",
        address, setting,
        result == -EADDRINUSE ? "the port is in use" : strerror(-result),
        owner[0] ? " by " : "", owner, advise(result, &a));
    return owner[0] ? (pid_t)strtol(owner + strlen("pid "), NULL, 10) : 0;
}

static int explain(char err[PLAN_ERR_SIZE], int result, const char *setting,
    const char *address)
{
    plan_explain(err, result, setting, address);
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

/* In its place may be anything that the process has opened itself; but no
 * socket that is bound to a path. */
int plan_local_fd(void)
{
    struct sockaddr_un un = {0};
    socklen_t len = sizeof(un);

    getsockname(PLAN_FD_LOCAL, (struct sockaddr *)&un, &len);
    return un.sun_family == AF_UNIX && un.sun_path[0] ? PLAN_FD_LOCAL : 0;
}

/* A unix socket that the user whom processes run as may connect to, and he
 * alone. The descriptor, or -errno. */
static int bind_unix(const struct config *c, const char *path)
{
    char line[256];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int fd = listener_bind_unix(path);

    if (fd >= 0 && c->user &&
        (daemon_find_ids(c->user, c->group, &uid, &gid, line) < 0 ||
            lchown(path, uid, gid) < 0)) {
        int err = errno;

        close(fd);
        fd = -err;
    }
    return fd;
}

int plan_kept_fd(void)
{
    struct stat st;

    return fstat(PLAN_FD_KEPT, &st) == 0 && S_ISREG(st.st_mode) ? PLAN_FD_KEPT
                                                                : 0;
}

static int add_kept(struct master_child_conf *child, const struct config *c,
    const struct discovery_conf *d, char err[PLAN_ERR_SIZE])
{
    child->fds[2] = rundir_open_kept(c, d);
    if (child->fds[2] < 0)
        snprintf(err, PLAN_ERR_SIZE, "cannot open /dev/null: %s",
            strerror(-child->fds[2]));
    return child->fds[2] < 0 ? child->fds[2] : 0;
}

/* The unix socket of a gateway whose inner port is bound: nobody else serves
 * at that path. -1 with a line in the log: its workers come by TCP. */
static int bind_local(
    const struct config *c, const struct config_gateway *g, unsigned index)
{
    char *path = rundir_link(c, g, index);
    int fd;

    unlink(path);
    fd = bind_unix(c, path);
    if (fd < 0)
        log_warn("no unix socket for workers beside a gateway, they come by "
                 "TCP path=%s err=%s",
            path, strerror(-fd));
    free(path);
    return fd < 0 ? -1 : fd;
}

/* In front of all others: it is stopped last, and tells of the stop. */
static int add_admin(
    struct plan *p, const struct config *c, char err[PLAN_ERR_SIZE])
{
    struct master_child_conf *child = add_child(p, "admin", 0);
    const char *path = admin_path(c);

    child->name = SLOTS_ADMIN;
    child->asks = true;
    child->listen = c->admin.listen;
    if (!path)
        return bind_port(
            &child->fds[0], c->admin.listen, false, "admin.listen", err);
    child->fds[0] = bind_unix(c, path);
    if (child->fds[0] >= 0)
        return 0;
    snprintf(err, PLAN_ERR_SIZE, "cannot listen on %.200s (admin.listen): %s",
        c->admin.listen, strerror(-child->fds[0]));
    return child->fds[0];
}

static int add_gateway(struct plan *p, const struct config *c, unsigned slot,
    char err[PLAN_ERR_SIZE])
{
    unsigned index;
    const struct config_gateway *g = slots_gateway(c, slot, &index);
    struct master_child_conf *child = add_child(p, "gateway", slot);
    struct names names;
    int result;

    child->name = g->conf.name;
    child->listen = g->listen;
    name_ports(&names, g, index);
    if (index == 0)
        result = bind_port(
            &child->fds[0], g->address, g->count > 1, names.listen, err);
    else
        result = bind_next(&child->fds[0], g->address, names.listen, err);
    if (result == 0)
        result = bind_port(
            &child->fds[1], names.inner_address, false, names.inner, err);
    if (result < 0)
        return result;
    child->fds[3] = bind_local(c, g, index);
    return rundir_open_ids(&child->fds[2], c, g, index, O_CREAT, err);
}

/* Memory that keeps a worker's script, at first the one that was proven. */
static int make_sources(int proven)
{
    int fd = memfd_create("gwrun sources", MFD_CLOEXEC);
    struct stat st;
    off_t from = 0;

    if (fd < 0 || proven <= 0 || fstat(proven, &st) < 0)
        return fd;
    while (from < st.st_size &&
           sendfile(fd, proven, &from, (size_t)(st.st_size - from)) > 0)
        ; /* a part of it is none: sources_replay() */
    return fd;
}

/* A descriptor of the table that all workers and programs share: the first
 * child makes it (*shared is -1). */
static int share_table(struct master_child_conf *child, const struct config *c,
    int *shared, char err[PLAN_ERR_SIZE])
{
    int result = *shared < 0 ? shared_create(config_shared_keys(c))
                             : fcntl(*shared, F_DUPFD_CLOEXEC, 0);

    if (result < 0 && *shared >= 0)
        result = -errno;
    child->fds[0] = result;
    if (*shared < 0)
        *shared = result;
    if (result < 0)
        snprintf(err, PLAN_ERR_SIZE, "no memory for workers to share: %s",
            strerror(-result));
    return result < 0 ? result : 0;
}

/* The worker of that slot, with memory for its script. */
static int add_worker(struct plan *out, const struct config *c, unsigned slot,
    int *shared, char err[PLAN_ERR_SIZE])
{
    unsigned index;
    const struct config_workers *w = slots_workers(c, slot, &index);
    struct master_child_conf *child = add_child(out, "worker", slot);
    int result;

    child->name = w->conf.name;
    child->fds[1] = make_sources(w->conf.sources_fd);
    if (child->fds[1] < 0) {
        snprintf(err, PLAN_ERR_SIZE, "no memory to keep scripts in: %s",
            strerror(errno));
        return -errno;
    }
    result = add_kept(child, c, &w->conf.discovery, err);
    return result < 0 ? result : share_table(child, c, shared, err);
}

static int add_program(struct plan *out, const struct config *c, unsigned slot,
    int *shared, char err[PLAN_ERR_SIZE])
{
    struct master_child_conf *child = add_child(out, "program", slot);
    int result = add_kept(child, c, &c->programs[slot].conf.discovery, err);

    child->name = c->programs[slot].conf.name;
    child->restart = c->programs[slot].restart;
    return result < 0 ? result : share_table(child, c, shared, err);
}

static int make_pages(struct plan *out, char err[PLAN_ERR_SIZE])
{
    int fd = pages_create(out->nchildren);

    if (fd < 0)
        snprintf(err, PLAN_ERR_SIZE, "no memory for numbers to share: %s",
            strerror(-fd));
    out->pages_fd = fd;
    return fd < 0 ? fd : 0;
}

static int add_register(
    struct plan *p, const struct config *c, char err[PLAN_ERR_SIZE])
{
    const struct register_conf *conf = &c->register_conf;
    struct master_child_conf *child = add_child(p, "register", 0);
    int result;

    child->name = SLOTS_REGISTER;
    child->listen = conf->listen;
    result =
        bind_port(&child->fds[0], conf->listen, false, "register.listen", err);
    if (result == 0 && conf->cluster_listen)
        result = bind_port(&child->fds[1], conf->cluster_listen, false,
            "register.cluster_listen", err);
    return result;
}

int plan_make(struct plan *out, const struct config *c, char err[PLAN_ERR_SIZE])
{
    unsigned gateways = 0, workers = config_worker_count(c);
    int result = rundir_make(c, err);
    int shared = -1;

    *out = (struct plan){.pages_fd = -1};
    for (size_t i = 0; i < c->ngateways; i++)
        gateways += c->gateways[i].count;
    out->children =
        xcalloc(3 + gateways + workers + c->nprograms, sizeof(*out->children));
    if (result == 0 && c->admin.listen)
        result = add_admin(out, c, err);
    if (result == 0 && c->has_register)
        result = add_register(out, c, err);
    for (unsigned i = 0; result == 0 && i < workers; i++)
        result = add_worker(out, c, i, &shared, err);
    /* in front of gateways: while clients are waited for, they go on */
    for (unsigned i = 0; result == 0 && i < c->nprograms; i++)
        result = add_program(out, c, i, &shared, err);
    for (unsigned i = 0; result == 0 && i < gateways; i++)
        result = add_gateway(out, c, i, err);
    if (result == 0 && c->admin.listen)
        result = make_pages(out, err);
    if (result < 0)
        plan_free(out);
    return result;
}

void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->nchildren; i++) {
        for (int k = 0; k < MASTER_CHILD_FDS; k++) {
            if (p->children[i].fds[k] >= 0)
                close(p->children[i].fds[k]);
        }
    }
    if (p->pages_fd >= 0)
        close(p->pages_fd);
    free(p->children);
    *p = (struct plan){.pages_fd = -1};
}
