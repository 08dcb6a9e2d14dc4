/* What a configuration means, after config_read.c has seen that its types are
 * right: the key, the register and the whole here, entries of gateways in
 * config_gateway.c, ports that overlap in config_ports.c. Every mistake is
 * reported with the place in the file and what to do; checking goes on behind
 * one, so that all are said at once. */

#include "config/config_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/addr.h"
#include "proc/daemon.h"
#include "util/alloc.h"

#define SECRET_KEY_MAX 255 /* bytes of a key file's first line */

#define KEY_ADVICE "set secret_key, or use an address that is not public"

bool config_check_path(
    struct config_load *l, const char *where, const char *path, mode_t type)
{
    char *full = config_path(&l->c, path);
    const char *kind = type == S_IFDIR ? "folder" : "file";
    struct stat st;
    bool good = false;

    if (l->memory->kept) {
        free(full);
        return true; /* it was checked then */
    }
    if (stat(full, &st) < 0)
        config_complain(l, where, "%s: %s; give a %s that exists", full,
            strerror(errno), kind);
    else if ((st.st_mode & S_IFMT) != type)
        config_complain(
            l, where, "%s is not a %s; give a %s", full, kind, kind);
    else if (access(full, type == S_IFDIR ? R_OK | X_OK : R_OK) < 0)
        config_complain(l, where, "%s: %s; make it readable for this user",
            full, strerror(errno));
    else
        good = true;
    free(full);
    return good;
}

bool config_parse_address(
    struct config_load *l, const char *where, const char *text, union addr *out)
{
    if (addr_parse(out, text) < 0) {
        config_complain(l, where,
            "\"%s\" is not an address; give host:port with a numeric host, "
            "such as \"127.0.0.1:1237\"",
            text);
        return false;
    }
    if (addr_port(out) == 0) {
        config_complain(
            l, where, "\"%s\" has port 0; give a port from 1 to 65535", text);
        return false;
    }
    return true;
}

void config_check_public(struct config_load *l, const char *where,
    const char *text, const union addr *a, const char *key)
{
    if (key[0] == '\0' && !addr_is_private(a))
        config_complain(l, where,
            "%s can be reached from outside, and there is no secret_key; " KEY_ADVICE,
            text);
}

const struct config_file *config_check_file(
    struct config_load *l, const char *where, const char *path)
{
    char *full = config_path(&l->c, path);
    const struct config_file *kept = config_file_find(l->memory->files, full);
    char *text;
    size_t len;
    int err;

    if (!kept && config_check_path(l, where, path, S_IFREG)) {
        err = config_file_read(full, &text, &len);
        if (err == 0) {
            kept = config_file_add(&l->memory->files, full, text, len);
            explicit_bzero(text, len);
            free(text);
        } else {
            config_complain(
                l, where, "%s: %s; give another file", full, strerror(-err));
        }
    }
    free(full);
    return kept;
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* systemd hands over credentials to the service alone; where it does that by an
 * access control list, the group's bits are the mask of that list. */
void config_check_secret_mode(
    struct config_load *l, const char *where, const char *full)
{
    const char *handed = getenv("CREDENTIALS_DIRECTORY");
    mode_t others = handed && is_below(full, handed) ? 007 : 077;
    struct stat st;

    if (!l->memory->kept && stat(full, &st) == 0 && (st.st_mode & others) != 0)
        config_complain(l, where,
            "%s can be read by other users; run chmod 600 %s", full, full);
}

/* The first line of a text becomes a key, which is of 1 to SECRET_KEY_MAX
 * bytes, or NULL. *rest is what stands behind it. */
static const char *read_line(
    struct config_load *l, const char *text, const char **rest)
{
    size_t len = strcspn(text, "\r\n");
    char *key;

    *rest = text + len + strspn(text + len, "\r\n");
    if (len == 0 || len > SECRET_KEY_MAX)
        return NULL;
    key = config_alloc(l->memory, len + 1);
    memcpy(key, text, len);
    return key;
}

/* The first line of secret_key_file becomes the key, the second one, if there
 * is one, what is accepted beside it. */
static void read_secret_key(struct config_load *l)
{
    static const char where[] = "secret_key_file";
    const struct config_file *file;
    const char *rest;

    if (!l->secret_key_file)
        return;
    file = config_check_file(l, where, l->secret_key_file);
    if (!file)
        return;
    if (l->secret_key || l->secret_key_also) {
        config_complain(l, where, "is given beside %s; give one of them",
            l->secret_key ? "secret_key" : "secret_key_also");
        return;
    }
    config_check_secret_mode(l, where, file->name);
    l->secret_key = read_line(l, file->text, &rest);
    if (!l->secret_key) {
        config_complain(l, where,
            "%s has no key of 1 to %d bytes in its first line; write one",
            file->name, SECRET_KEY_MAX);
        l->secret_key = "?"; /* which is no mistake of its own */
    }
    if (*rest && !(l->secret_key_also = read_line(l, rest, &rest)))
        config_complain(l, where,
            "%s has no key of 1 to %d bytes in its second line; write one, "
            "or none",
            file->name, SECRET_KEY_MAX);
}

void config_check_name(
    struct config_load *l, const char *where, const char *name)
{
    for (const char *p = name; p && *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("._-", *p))
            continue;
        config_complain(l, where,
            "has characters that a name cannot have; use letters, digits, "
            "\".\", \"_\" and \"-\"");
        return;
    }
}

static void check_register(
    struct config_load *l, struct config_ports *ranges, size_t *nranges)
{
    struct register_conf *r = &l->c.register_conf;
    union addr a;

    if (!l->c.has_register || !r->listen)
        return;
    if (!r->secret_key) {
        r->secret_key = l->secret_key;
        r->secret_key_also = l->secret_key_also;
    }
    if (!config_parse_address(l, "register.listen", r->listen, &a))
        return;
    config_check_public(l, "register.listen", r->listen, &a, r->secret_key);
    config_ports_add(
        &ranges[(*nranges)++], "register.listen", "the register", &a, 1);
    if (!r->cluster_listen ||
        !config_parse_address(
            l, "register.cluster_listen", r->cluster_listen, &a))
        return;
    if (!l->c.cluster.url)
        config_complain(l, "register.cluster_listen",
            "tells of the cells of a cluster, and there is no cluster");
    config_check_public(
        l, "register.cluster_listen", r->cluster_listen, &a, r->secret_key);
    config_ports_add(&ranges[(*nranges)++], "register.cluster_listen",
        "the register of all cells", &a, 1);
}

static void check_process(struct config_load *l)
{
    char err[256];
    uid_t uid;
    gid_t gid;

    if (daemon_find_ids(l->c.user, l->c.group, &uid, &gid, err) < 0)
        config_complain(l, "", "%s; create it or name another", err);
    if (l->c.drain_time > l->c.stop_timeout)
        config_complain(l, "drain_time",
            "is %.14g, longer than stop_timeout (%.14g), when processes are "
            "killed; give at most that",
            l->c.drain_time, l->c.stop_timeout);
    if (!config_runs(&l->c) && !l->register_addresses && !l->listed &&
        l->ncomplaints == 0)
        config_complain(l, "",
            "nothing to run; give register, gateways or workers, or a "
            "register_address for programs (gwrun exec)");
}

void config_check(struct config_load *l)
{
    struct config_ports *ranges =
        xcalloc(3 + 2 * l->c.ngateways, sizeof(*ranges));
    size_t nranges = 0;

    read_secret_key(l);
    if (!l->secret_key)
        l->secret_key = "";
    if (l->secret_key_also && !*l->secret_key && !l->secret_key_file)
        config_complain(l, "secret_key_also",
            "is accepted beside secret_key; give that, too");
    check_register(l, ranges, &nranges);
    config_check_discovery(l);
    if (l->program) {
        config_check_program(l);
        config_number_cell(l);
        free(ranges);
        return;
    }
    for (size_t i = 0; i < l->c.ngateways; i++)
        nranges += config_check_gateway(l, i, ranges + nranges);
    nranges += config_check_admin(l, ranges + nranges);
    config_check_listed(l);
    config_check_workers(l);
    config_check_cluster(l);
    config_ports_check(l, ranges, nranges);
    check_process(l);
    free(ranges);
}
