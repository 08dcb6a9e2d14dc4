/* The operators' port: where it listens, for which hosts, and the file of its
 * key, which is read once for the process that serves it. */
#include "config/config_impl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "net/addr.h"
#include "util/alloc.h"

static void check_hosts(struct config_load *l, const char *const *hosts)
{
    for (; hosts && *hosts; hosts++) {
        const char *p = *hosts;

        while (isalnum((unsigned char)*p) || (*p && strchr(".-_:", *p)))
            p++;
        if (*p || p == *hosts)
            config_complain(l, "admin.hosts",
                "\"%.100s\" is not a host; give a name or an address without "
                "port, such as \"gwrun.example.com\"",
                *hosts);
    }
}

static void check_proxies(struct config_load *l, const char *const *proxies)
{
    struct addr_net net;

    for (; proxies && *proxies; proxies++)
        if (addr_net_parse(&net, *proxies) < 0)
            config_complain(l, "admin.trusted_proxies",
                "\"%.100s\" is not a network; give an address or a prefix, "
                "such as \"127.0.0.1\" or \"10.0.0.0/8\"",
                *proxies);
}

/* The first line of the file. */
static void read_key(struct config_load *l, struct admin_conf *admin)
{
    static const char where[] = "admin.key_file";
    const struct config_file *file;
    size_t len;
    char *key;

    if (!admin->key_name)
        return;
    file = config_check_file(l, where, admin->key_name);
    if (!file)
        return;
    config_check_secret_mode(l, where, file->name);
    len = strcspn(file->text, "\r\n");
    if (len < ADMIN_KEY_MIN || len > ADMIN_KEY_MAX)
        config_complain(l, where,
            "%s has no key of %d to %d characters in its first line; write "
            "one (openssl rand -hex 32)",
            file->name, ADMIN_KEY_MIN, ADMIN_KEY_MAX);
    key = config_alloc(l->memory, len + 1);
    memcpy(key, file->text, len);
    admin->key = key;
}

/* Where the page is. */
static const char *find_files(struct config_load *l)
{
    char *path = xasprintf("%s/admin", l->c.program_conf.lua_dir);
    const char *kept = config_strdup(l->memory, path);

    free(path);
    return kept;
}

size_t config_check_admin(struct config_load *l, struct config_ports *ranges)
{
    struct admin_conf *admin = &l->c.admin;
    size_t len = strlen(ADMIN_UNIX);
    union addr a;

    if (!admin->listen)
        return 0;
    admin_port(&admin->port, admin, find_files(l));
    check_hosts(l, admin->hosts);
    check_proxies(l, admin->trusted_proxies);
    read_key(l, admin);
    if (strncmp(admin->listen, ADMIN_UNIX, len) == 0) {
        if (!admin->listen[len])
            config_complain(l, "admin.listen",
                "has no path; give one, such as \"unix:run/admin.sock\"");
        return 0;
    }
    if (!config_parse_address(l, "admin.listen", admin->listen, &a))
        return 0;
    if (!addr_is_private(&a) && !admin->key)
        config_complain(l, "admin.listen",
            "%s can be reached from outside, and there is no key_file; give "
            "one, or an address that is not public",
            admin->listen);
    config_ports_add(ranges, "admin.listen", "the operators' port", &a, 1);
    return 1;
}

void config_forget_admin_key(struct config *c)
{
    struct config_memory *m = c->memory;
    const struct config_file *file;
    char *full;

    if (!c->admin.key)
        return;
    full = config_path(c, c->admin.key_name);
    file = config_file_find(m->files, full);
    if (file)
        explicit_bzero(file->text, file->len);
    explicit_bzero((char *)c->admin.key, strlen(c->admin.key));
    c->admin.key = NULL;
    free(full);
}
