#include "cli/config_impl.h"

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

#define PEM_MAX        (1024 * 1024) /* bytes of a certificate file read */
#define SECRET_KEY_MAX 255           /* bytes of a key file's first line */

#define KEY_ADVICE "set secret_key, or use an address that is not public"

/* Ports that one entry binds. */
struct port_range {
    char where[CONFIG_WHERE_SIZE];
    const char *name;     /* borrowed; of the entry, for people */
    union addr host;      /* its port is first */
    uint32_t lan_ip;      /* announced to workers; 0 for none */
    unsigned first, last; /* ports */
};

static const struct {
    const char *prefix;
    enum client_io_protocol protocol;
    bool tls;
} schemes[] = {
    {"websocket://", CLIENT_IO_WEBSOCKET, false},
    {"ws://", CLIENT_IO_WEBSOCKET, false},
    {"wss://", CLIENT_IO_WEBSOCKET, true},
    {"text://", CLIENT_IO_TEXT, false},
    {"frame://", CLIENT_IO_FRAME, false},
    {"tcp://", CLIENT_IO_TCP, false},
};

static char *where_of(char out[CONFIG_WHERE_SIZE], size_t i, const char *key)
{
    snprintf(out, CONFIG_WHERE_SIZE, "gateways[%zu].%s", i + 1, key);
    return out;
}

/* path as seen from the root folder; the caller frees it. */
static char *resolve(const struct config_load *l, const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    return xasprintf("%s/%s", l->c.root, path);
}

/* Is path there, of this type (S_IFREG, S_IFDIR), and may we read it? */
static bool check_path(
    struct config_load *l, const char *where, const char *path, mode_t type)
{
    char *full = resolve(l, path);
    const char *kind = type == S_IFDIR ? "folder" : "file";
    struct stat st;
    bool good = false;

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

/* Does the file look like PEM with this in a BEGIN line? */
static void check_pem(struct config_load *l, const char *where,
    const char *path, const char *label)
{
    char *full, *text;
    size_t len = 0;
    FILE *file;

    if (!path || !check_path(l, where, path, S_IFREG))
        return;
    full = resolve(l, path);
    text = xcalloc(1, PEM_MAX + 1);
    file = fopen(full, "re");
    if (file) {
        len = fread(text, 1, PEM_MAX, file);
        fclose(file);
    }
    text[len] = '\0';
    if (!strstr(text, "-----BEGIN ") || !strstr(text, label))
        config_complain(
            l, where, "%s has no %s in it; give a PEM file", full, label);
    free(text);
    free(full);
}

static bool is_wildcard(const union addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* "host:port" with a port that can be bound or called. */
static bool parse_address(
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

/* Inner ports that strangers can reach need a key. */
static void check_public(struct config_load *l, const char *where,
    const char *text, const union addr *a, const char *key)
{
    if (key[0] == '\0' && !addr_is_private(a))
        config_complain(l, where,
            "%s can be reached from outside, and there is no secret_key; " KEY_ADVICE,
            text);
}

/* The first line of secret_key_file becomes the key. */
static void read_secret_key(struct config_load *l)
{
    static const char where[] = "secret_key_file";
    char line[SECRET_KEY_MAX + 2] = "";
    struct stat st;
    char *full;
    FILE *file;

    if (!l->secret_key_file ||
        !check_path(l, where, l->secret_key_file, S_IFREG))
        return;
    if (l->secret_key) {
        config_complain(
            l, where, "is given beside secret_key; give one of them");
        return;
    }
    full = resolve(l, l->secret_key_file);
    file = fopen(full, "re");
    if (file && fstat(fileno(file), &st) == 0 && (st.st_mode & 077) != 0)
        config_complain(l, where,
            "%s can be read by other users; run chmod 600 %s", full, full);
    if (file && !fgets(line, sizeof(line), file))
        line[0] = '\0';
    if (file)
        fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0' || strlen(line) > SECRET_KEY_MAX)
        config_complain(l, where,
            "%s has no key of 1 to %d bytes in its first line; write one", full,
            SECRET_KEY_MAX);
    l->secret_key = config_strdup(l->memory, line);
    explicit_bzero(line, sizeof(line));
    free(full);
}

static void check_names(
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

/* Addresses to call; where names the key that they stand in. */
static void check_registers(
    struct config_load *l, const char *where, const char *const *addresses)
{
    for (size_t i = 0; addresses && addresses[i]; i++) {
        union addr a;

        if (addresses[i][0] == '\0' ||
            !parse_address(l, where, addresses[i], &a))
            continue;
        if (is_wildcard(&a))
            config_complain(l, where,
                "%s is nobody's address; give the address of the machine "
                "that the register runs on",
                addresses[i]);
        else
            check_public(l, where, addresses[i], &a, l->secret_key);
    }
}

/* Gateways and workers need registers: their own, the top level's, or the one
 * in this file. */
static const char *const *choose_registers(
    struct config_load *l, const char *where, const char *const *own)
{
    const char **one;

    if (own) {
        check_registers(l, where, own);
        return own;
    }
    if (l->register_addresses)
        return l->register_addresses;
    if (l->c.has_register) {
        one = config_alloc(l->memory, 2 * sizeof(*one));
        one[0] = l->c.register_conf.listen;
        return one;
    }
    config_complain(l, where,
        "is missing; give the register's \"host:port\", or a list of them");
    return NULL;
}

/* "websocket://0.0.0.0:8283" into protocol and address. */
static void check_listen(struct config_load *l, size_t i, union addr *out)
{
    struct config_gateway *g = &l->c.gateways[i];
    struct client_io_conf *io = &g->conf.clients;
    char where[CONFIG_WHERE_SIZE];

    where_of(where, i, "listen");
    for (size_t s = 0; s < sizeof(schemes) / sizeof(schemes[0]); s++) {
        size_t n = strlen(schemes[s].prefix);

        if (strncmp(g->listen, schemes[s].prefix, n) != 0)
            continue;
        io->protocol = schemes[s].protocol;
        if (parse_address(l, where, g->listen + n, out))
            g->address = g->listen + n;
        if (schemes[s].tls && !io->tls_cert && !io->tls_key)
            config_complain(l, where,
                "wss:// needs a certificate; add tls = { cert = \"file.pem\", "
                "key = \"file.pem\" }");
        return;
    }
    config_complain(l, where,
        "\"%s\" has no known protocol; give websocket://, wss://, text://, "
        "frame:// or tcp:// and host:port",
        g->listen);
}

/* Keys that mean nothing on this port would be silently without effect. */
static void check_protocol_keys(struct config_load *l, size_t i)
{
    const struct client_io_conf *io = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];

    if (io->protocol == CLIENT_IO_WEBSOCKET)
        return;
    if (io->www)
        config_complain(l, where_of(where, i, "www"),
            "works on websocket ports only; remove it here");
    if (io->allowed_origins)
        config_complain(l, where_of(where, i, "allowed_origins"),
            "works on websocket ports only; remove it here");
    if (io->send_binary)
        config_complain(l, where_of(where, i, "send"),
            "works on websocket ports only; remove it here");
}

static void check_proxies(struct config_load *l, size_t i)
{
    const struct client_io_conf *io = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];
    struct addr_net net;

    where_of(where, i, "trusted_proxies");
    for (size_t j = 0; io->trusted_proxies && io->trusted_proxies[j]; j++) {
        const char *text = io->trusted_proxies[j];

        if (text[0] != '\0' && addr_net_parse(&net, text) < 0)
            config_complain(l, where,
                "\"%s\" is not a network; give a numeric address, or one with "
                "zeros behind its prefix, such as \"10.0.0.0/8\"",
                text);
    }
    if (io->trusted_proxies && !io->proxy_protocol &&
        io->protocol != CLIENT_IO_WEBSOCKET)
        config_complain(l, where,
            "works on websocket ports, or with proxy_protocol = true; add "
            "that, or remove it here");
    if (io->proxy_protocol && !io->trusted_proxies)
        config_complain(l, where_of(where, i, "proxy_protocol"),
            "would refuse everybody; name the proxies in trusted_proxies");
}

static void check_files(struct config_load *l, size_t i)
{
    const struct client_io_conf *io = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];

    check_pem(l, where_of(where, i, "tls.cert"), io->tls_cert, "CERTIFICATE");
    check_pem(l, where_of(where, i, "tls.key"), io->tls_key, "PRIVATE KEY");
    if (io->www)
        check_path(l, where_of(where, i, "www"), io->www, S_IFDIR);
}

/* lan_ip and inner_listen into the address of the first inner port. */
static void check_inner(struct config_load *l, size_t i, union addr *out)
{
    struct config_gateway *g = &l->c.gateways[i];
    char where[CONFIG_WHERE_SIZE];
    union addr lan = {.in = {.sin_family = AF_INET}};
    uint32_t ip = 0;

    where_of(where, i, "lan_ip");
    if (addr_parse_ipv4(&ip, g->conf.lan_ip) < 0 || ip == 0) {
        config_complain(l, where,
            "\"%s\" cannot be announced to workers; give the IPv4 address "
            "that workers reach this machine at",
            g->conf.lan_ip);
        return;
    }
    lan.in.sin_addr.s_addr = htonl(ip);
    lan.in.sin_port = htons(g->conf.start_port);
    check_public(l, where, g->conf.lan_ip, &lan, g->conf.secret_key);
    *out = lan;
    if (!g->inner_listen) {
        g->inner_listen = g->conf.lan_ip;
        return;
    }
    where_of(where, i, "inner_listen");
    if (addr_parse_ipv4(&ip, g->inner_listen) < 0) {
        config_complain(l, where,
            "\"%s\" is not an address; give the IPv4 address to listen for "
            "workers on",
            g->inner_listen);
        return;
    }
    out->in.sin_addr.s_addr = htonl(ip);
    if (addr_is_private(&lan))
        check_public(l, where, g->inner_listen, out, g->conf.secret_key);
}

/* "[::]" takes IPv4 clients as well. */
static bool takes_all_of(const union addr *wildcard, const union addr *other)
{
    return is_wildcard(wildcard) && (wildcard->sa.sa_family == AF_INET6 ||
                                        other->sa.sa_family == AF_INET);
}

static bool hosts_overlap(const union addr *a, const union addr *b)
{
    char text_a[ADDR_TEXT_SIZE], text_b[ADDR_TEXT_SIZE];

    if (takes_all_of(a, b) || takes_all_of(b, a))
        return true;
    return strcmp(addr_format_host(text_a, a), addr_format_host(text_b, b)) ==
           0;
}

static void check_overlaps(
    struct config_load *l, const struct port_range *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct port_range *b = &ranges[i];

        for (size_t j = 0; j < i; j++) {
            const struct port_range *a = &ranges[j];
            unsigned port = a->first > b->first ? a->first : b->first;

            if (a->first > b->last || b->first > a->last)
                continue;
            if (!hosts_overlap(&a->host, &b->host) &&
                (a->lan_ip == 0 || a->lan_ip != b->lan_ip))
                continue;
            config_complain(l, b->where,
                "port %u of %s is taken by %s (%s); choose another", port,
                b->name, a->name, a->where);
        }
    }
}

static void add_range(struct port_range *r, const char *where, const char *name,
    const union addr *host, unsigned count)
{
    snprintf(r->where, sizeof(r->where), "%s", where);
    r->name = name;
    r->host = *host;
    r->lan_ip = 0;
    r->first = addr_port(host);
    r->last = r->first + count - 1;
}

/* One entry of gateways; its ports are added to ranges. */
static size_t check_gateway(
    struct config_load *l, size_t i, struct port_range *ranges)
{
    struct config_gateway *g = &l->c.gateways[i];
    union addr public = {0}, inner = {0};
    char where[CONFIG_WHERE_SIZE];
    size_t n = 0;

    if (!g->conf.name || !g->listen || g->conf.start_port == 0)
        return 0; /* complained about already */
    check_names(l, where_of(where, i, "name"), g->conf.name);
    for (size_t j = 0; j < i; j++) {
        if (l->c.gateways[j].conf.name &&
            strcmp(l->c.gateways[j].conf.name, g->conf.name) == 0)
            config_complain(l, where,
                "\"%s\" is the name of gateways[%zu] too; give each its own",
                g->conf.name, j + 1);
    }
    if (g->conf.ping_data && g->conf.ping_data[0] == '\0')
        g->conf.ping_data = NULL; /* GatewayWorker's way to say none */
    g->conf.secret_key = l->secret_key;
    g->conf.register_addresses = choose_registers(
        l, where_of(where, i, "register_address"), g->conf.register_addresses);
    check_listen(l, i, &public);
    check_protocol_keys(l, i);
    check_proxies(l, i);
    check_files(l, i);
    check_inner(l, i, &inner);
    if (g->address)
        add_range(&ranges[n++], where_of(where, i, "listen"), g->conf.name,
            &public, 1);
    where_of(where, i, "start_port");
    if (g->conf.start_port + g->count - 1 > UINT16_MAX)
        config_complain(l, where,
            "%u and %u more for count = %u go beyond 65535; choose a lower one",
            g->conf.start_port, g->count - 1, g->count);
    else if (inner.sa.sa_family != 0) {
        add_range(&ranges[n], where, g->conf.name, &inner, g->count);
        addr_parse_ipv4(&ranges[n++].lan_ip, g->conf.lan_ip);
    }
    return n;
}

static void check_register(
    struct config_load *l, struct port_range *ranges, size_t *nranges)
{
    struct register_conf *r = &l->c.register_conf;
    union addr a;

    if (!l->c.has_register || !r->listen)
        return;
    if (!r->secret_key)
        r->secret_key = l->secret_key;
    if (!parse_address(l, "register.listen", r->listen, &a))
        return;
    check_public(l, "register.listen", r->listen, &a, r->secret_key);
    add_range(&ranges[(*nranges)++], "register.listen", "the register", &a, 1);
}

static void check_workers(struct config_load *l)
{
    struct worker_conf *w = &l->c.worker_conf;

    w->secret_key = l->secret_key;
    if (!l->c.has_workers) { /* programs (gwrun exec) join all the same */
        if (l->c.ngateways > 0)
            w->register_addresses = l->c.gateways[0].conf.register_addresses;
        return;
    }
    check_names(l, "workers.name", w->name);
    if (w->script)
        check_path(l, "workers.script", w->script, S_IFREG);
    w->register_addresses =
        choose_registers(l, "workers.register_address", w->register_addresses);
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
    if (!l->c.has_register && l->c.ngateways == 0 && !l->c.has_workers &&
        l->ncomplaints == 0)
        config_complain(
            l, "", "nothing to run; give register, gateways or workers");
}

void config_check(struct config_load *l)
{
    struct port_range *ranges =
        xcalloc(1 + 2 * l->c.ngateways, sizeof(*ranges));
    size_t nranges = 0;

    read_secret_key(l);
    if (!l->secret_key)
        l->secret_key = "";
    check_register(l, ranges, &nranges);
    check_registers(l, "register_address", l->register_addresses);
    for (size_t i = 0; i < l->c.ngateways; i++)
        nranges += check_gateway(l, i, ranges + nranges);
    check_workers(l);
    check_overlaps(l, ranges, nranges);
    check_process(l);
    free(ranges);
}
