/* Paths in run_dir, and what is made, opened and checked there before a process
 * runs: folders, files of connection ids, the registers' last list. Names are
 * the same in every run, so that a new one finds what the last one left. */
#include "role/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/ids.h"
#include "net/addr.h"
#include "proc/daemon.h"
#include "util/alloc.h"
#include "util/log.h"

char *rundir_path(const struct config *c, const char *name)
{
    size_t n = strlen(c->root);
    const char *dir = c->run_dir;

    if (strncmp(dir, c->root, n) == 0 && dir[n] == '/')
        dir += n + 1;
    return xasprintf("%s/%s", dir, name);
}

/* The caller frees it. */
static char *absolute_path(const struct config *c)
{
    return *c->run_dir == '/' ? xstrdup(c->run_dir)
                              : xasprintf("%s/%s", c->root, c->run_dir);
}

void rundir_claims_prefix(const struct config *c, char out[CLAIMS_PREFIX_SIZE])
{
    char *path = absolute_path(c);

    claims_prefix(out, path);
    free(path);
}

/* FNV-1a: the same in every run. */
#define FNV_BEGIN UINT64_C(0xcbf29ce484222325)

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

char *rundir_books(const struct config *c)
{
    const char *const parts[] = {
        c->run_dir[0] == '/' ? "" : c->root, "/", c->run_dir};
    uint64_t hash = FNV_BEGIN;

    if (c->book_dir)
        return c->book_dir[0] ? xstrdup(c->book_dir) : NULL;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        hash = hash_text(hash, parts[i]);
    return xasprintf("/dev/shm/gwrun-%u-%016llx", (unsigned)geteuid(),
        (unsigned long long)hash);
}

static int make_folder(const char *path, char err[RUNDIR_ERR_SIZE])
{
    int result = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;

    if (result < 0)
        snprintf(err, RUNDIR_ERR_SIZE,
            "cannot make the folder %.200s (run_dir): %s", path,
            strerror(-result));
    return result;
}

int rundir_make(const struct config *c, char err[RUNDIR_ERR_SIZE])
{
    char *ids = rundir_path(c, "ids");
    char *links = rundir_path(c, "links");
    int result = make_folder(c->run_dir, err);

    if (result == 0)
        result = rundir_check(c, err);
    if (result == 0)
        result = make_folder(ids, err);
    if (result == 0)
        result = make_folder(links, err);
    free(links);
    free(ids);
    return result;
}

/* Whose processes use what lies there. */
static uid_t user_of(const struct config *c)
{
    char line[256];
    uid_t uid = geteuid();
    gid_t gid;

    if (c->user)
        daemon_find_ids(c->user, NULL, &uid, &gid, line);
    return uid;
}

int rundir_check(const struct config *c, char err[RUNDIR_ERR_SIZE])
{
    char line[256];
    int result = daemon_check_folder(c->run_dir, user_of(c), line);

    if (result < 0)
        snprintf(err, RUNDIR_ERR_SIZE, "run_dir: %s", line);
    return result;
}

int rundir_open_ids(int *fd, const struct config *c,
    const struct config_gateway *g, unsigned index, int flags,
    char err[RUNDIR_ERR_SIZE])
{
    char name[64];
    char *folder = rundir_path(c, "ids");
    int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int result;

    snprintf(name, sizeof(name), "%.40s-%u", g->conf.lan_ip,
        g->conf.start_port + index);
    *fd = at < 0 ? -errno : daemon_open_file(at, name, O_RDWR | flags);
    if (at >= 0)
        close(at);
    result = *fd < 0 ? *fd : ids_check(*fd);
    if (*fd < 0)
        snprintf(err, RUNDIR_ERR_SIZE, "cannot open %.150s/%s (run_dir): %s",
            folder, name, strerror(-*fd));
    else if (result < 0)
        snprintf(err, RUNDIR_ERR_SIZE,
            "%.150s/%s (run_dir) is damaged: it should hold a number, above "
            "the connection ids that were given; write a large one, or remove "
            "it when nobody remembers a client id",
            folder, name);
    if (*fd >= 0 && result < 0)
        close(*fd);
    if (result < 0)
        *fd = -1;
    free(folder);
    return result;
}

int rundir_check_ids(const struct config *c, char err[RUNDIR_ERR_SIZE])
{
    for (size_t i = 0; i < c->ngateways; i++) {
        for (unsigned k = 0; k < c->gateways[i].count; k++) {
            int fd;
            int result = rundir_open_ids(&fd, c, &c->gateways[i], k, 0, err);

            if (result == 0)
                close(fd);
            else if (result != -ENOENT) /* else it is made */
                return result;
        }
    }
    return 0;
}

char *rundir_link(
    const struct config *c, const struct config_gateway *g, unsigned index)
{
    char name[80];

    snprintf(name, sizeof(name), "links/%.40s-%u", g->conf.lan_ip,
        g->conf.start_port + index);
    return rundir_path(c, name);
}

struct worker_neighbour *rundir_neighbours(const struct config *c)
{
    size_t count = 0;
    struct worker_neighbour *list;

    for (size_t i = 0; i < c->ngateways; i++)
        count += c->gateways[i].count;
    list = xcalloc(count + 1, sizeof(*list));
    count = 0;
    for (size_t i = 0; i < c->ngateways; i++) {
        const struct config_gateway *g = &c->gateways[i];

        for (unsigned k = 0; k < g->count; k++) {
            struct worker_neighbour *n = &list[count];
            char *path = rundir_link(c, g, k);

            if (addr_parse_ipv4(&n->ip, g->conf.lan_ip) == 0 &&
                strlen(path) < sizeof(n->path)) {
                if (g->conf.id_ip != 0)
                    n->ip = g->conf.id_ip;
                memcpy(n->path, path, strlen(path) + 1);
                n->port = (uint16_t)(g->conf.start_port + k);
                count++;
            }
            free(path);
        }
    }
    return list;
}

static bool has_registers(const struct discovery_conf *d)
{
    return !d->gateways && d->registers && d->registers[0];
}

#define KEPT_SIZE 32 /* bytes of its name, with the NUL */

static void name_kept(char name[KEPT_SIZE], const struct discovery_conf *d)
{
    uint64_t hash = FNV_BEGIN;

    for (size_t i = 0; d->registers[i]; i++)
        hash = hash_text(hash_text(hash, d->registers[i]), "\n");
    snprintf(name, KEPT_SIZE, "gateways-%08x", (unsigned)(hash >> 32));
}

int rundir_find_kept(const struct config *c, const struct discovery_conf *d)
{
    char name[KEPT_SIZE], err[256];
    char *folder, *path;
    int fd = -ENOENT;

    if (!has_registers(d))
        return 0;
    name_kept(name, d);
    folder = absolute_path(c);
    path = xasprintf("%s/%s", folder, name);
    if (daemon_check_folder(folder, user_of(c), err) == 0)
        fd = daemon_open_file(AT_FDCWD, path, O_RDONLY);
    free(path);
    free(folder);
    return fd < 0 ? 0 : fd;
}

int rundir_open_kept(const struct config *c, const struct discovery_conf *d)
{
    char name[KEPT_SIZE];
    char *path;
    int fd;

    if (!has_registers(d))
        return daemon_open_file(AT_FDCWD, "/dev/null", O_RDWR);
    name_kept(name, d);
    path = rundir_path(c, name);
    fd = daemon_open_file(AT_FDCWD, path, O_RDWR | O_CREAT);
    if (fd < 0)
        log_warn("the registers' last list is not kept path=%s err=%s", path,
            strerror(-fd));
    free(path);
    return fd < 0 ? daemon_open_file(AT_FDCWD, "/dev/null", O_RDWR) : fd;
}
