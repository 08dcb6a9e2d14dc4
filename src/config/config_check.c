/* What a configuration means, after config_read.c has seen that its types are
 * right: addresses, names and limits that must fit each other, and files that
 * must be there. Every mistake is reported with the place in the file and what
 * to do; checking goes on behind one, so that all are said at once. */

#include "config/config_impl.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/addr.h"
#include "proc/daemon.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/frame.h"
#include "wire/httphead.h"

#define SECRET_KEY_MAX 255 /* bytes of a key file's first line */

#define KEY_ADVICE "set secret_key, or use an address that is not public"

/* Ports that one entry binds. */
struct port_range {
    char where[CONFIG_WHERE_SIZE];
    const char *name;     /* borrowed; of the entry, for people */
    union addr host;      /* its port is first */
    uint32_t lan_ip;      /* announced to workers; 0 for none */
    unsigned first, last; /* ports */
};

static char *where_of(char out[CONFIG_WHERE_SIZE], size_t i, const char *key)
{
    snprintf(out, CONFIG_WHERE_SIZE, "gateways[%zu].%s", i + 1, key);
    return out;
}

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

/* The text of a file, the same for all processes; NULL after a complaint. */
static const struct config_file *read_file(
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

static void check_secret_mode(
    struct config_load *l, const char *where, const char *full)
{
    struct stat st;

    if (!l->memory->kept && stat(full, &st) == 0 && (st.st_mode & 077) != 0)
        config_complain(l, where,
            "%s can be read by other users; run chmod 600 %s", full, full);
}

/* The first line of secret_key_file becomes the key. */
static void read_secret_key(struct config_load *l)
{
    static const char where[] = "secret_key_file";
    const struct config_file *file;
    size_t len;
    char *key;

    if (!l->secret_key_file)
        return;
    file = read_file(l, where, l->secret_key_file);
    if (!file)
        return;
    if (l->secret_key) {
        config_complain(
            l, where, "is given beside secret_key; give one of them");
        return;
    }
    check_secret_mode(l, where, file->name);
    len = strcspn(file->text, "\r\n");
    if (len == 0 || len > SECRET_KEY_MAX)
        config_complain(l, where,
            "%s has no key of 1 to %d bytes in its first line; write one",
            file->name, SECRET_KEY_MAX);
    key = config_alloc(l->memory, len + 1);
    memcpy(key, file->text, len);
    l->secret_key = key;
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

/* "websocket://0.0.0.0:8283" into protocol and address. GatewayWorker's users
 * write Websocket:// and Text:// as well. */
static void check_listen(struct config_load *l, size_t i, union addr *out)
{
    struct config_gateway *g = &l->c.gateways[i];
    const struct protocol_scheme *scheme = protocol_find(g->listen);
    struct port_conf *port = &g->conf.clients;
    char where[CONFIG_WHERE_SIZE];
    const char *address;

    where_of(where, i, "listen");
    if (!scheme) {
        config_complain(l, where,
            "\"%s\" has no known protocol; give websocket://, wss://, http://, "
            "https://, text://, frame:// or tcp:// and host:port",
            g->listen);
        return;
    }
    port->protocol = scheme->protocol;
    address = g->listen + strlen(scheme->prefix);
    if (config_parse_address(l, where, address, out))
        g->address = address;
    if (scheme->tls && !port->tls.cert_name && !port->tls.key_name)
        config_complain(l, where,
            "%s needs a certificate; add tls = { cert = \"file.pem\", "
            "key = \"file.pem\" }",
            scheme->prefix);
}

/* Keys that mean nothing on this port would be silently without effect. */
static void check_protocol_keys(struct config_load *l, size_t i)
{
    const struct port_conf *port = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];

    if (!port->protocol || port->protocol->upgrades)
        return;
    if (port->www && !port->protocol->begins_with_request)
        config_complain(l, where_of(where, i, "www"),
            "works on websocket and http ports only; remove it here");
    if (port->allowed_origins && !port->protocol->begins_with_request)
        config_complain(l, where_of(where, i, "allowed_origins"),
            "works on websocket and http ports only; remove it here");
    if (port->protocols)
        config_complain(l, where_of(where, i, "protocols"),
            "works on websocket ports only; remove it here");
    if (port->send_binary)
        config_complain(l, where_of(where, i, "send"),
            "works on websocket ports only; remove it here");
}

/* What a client can never offer, or is never reached. */
static void check_subprotocols(struct config_load *l, size_t i)
{
    const char *const *all = l->c.gateways[i].conf.clients.protocols;
    char where[CONFIG_WHERE_SIZE], quoted[LOG_QUOTE_SIZE];

    where_of(where, i, "protocols");
    for (size_t j = 0; all && all[j]; j++) {
        const char *name = all[j];
        size_t len = strlen(name);
        size_t first = 0;

        if (len > 0 && !httphead_is_token(name, len))
            config_complain(l, where,
                "%s is no subprotocol; give a token of RFC 9110: letters, "
                "digits and !#$%%&'*+-.^_`|~",
                log_quote(quoted, name, len));
        while (strcmp(all[first], name) != 0)
            first++;
        if (len > 0 && first < j)
            config_complain(l, where, "has \"%s\" twice; remove one", name);
    }
}

static void check_proxies(struct config_load *l, size_t i)
{
    const struct port_conf *port = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];
    struct addr_net net;

    where_of(where, i, "trusted_proxies");
    for (size_t j = 0; port->trusted_proxies && port->trusted_proxies[j]; j++) {
        const char *text = port->trusted_proxies[j];

        if (text[0] != '\0' && addr_net_parse(&net, text) < 0)
            config_complain(l, where,
                "\"%s\" is not a network; give a numeric address, or one with "
                "zeros behind its prefix, such as \"10.0.0.0/8\"",
                text);
    }
    if (port->trusted_proxies && !port->proxy_protocol && port->protocol &&
        !port->protocol->begins_with_request)
        config_complain(l, where,
            "works on websocket and http ports, or with proxy_protocol = "
            "true; add "
            "that, or remove it here");
    if (port->proxy_protocol && !port->trusted_proxies)
        config_complain(l, where_of(where, i, "proxy_protocol"),
            "would refuse everybody; name the proxies in trusted_proxies");
}

/* Every message that max_message allows must have room. */
/* An event, with the session, must fit into one packet. A request comes to
 * less than REQUEST_COPIES times its head: URL, headers, query and cookies are
 * told in more than one way. */
#define REQUEST_COPIES 8
#define EVENT_REST     (64 * 1024) /* head and names */

static void check_fits(
    struct config_load *l, size_t i, const char *key, size_t size, size_t room)
{
    char where[CONFIG_WHERE_SIZE];

    if (size > room)
        config_complain(l, where_of(where, i, key),
            "is %zu, and does not fit into max_packet; give no more than %zu, "
            "or raise max_packet",
            size, room);
}

static void check_packet(struct config_load *l, size_t i)
{
    const struct gateway_conf *conf = &l->c.gateways[i].conf;
    size_t request = conf->clients.head_max * REQUEST_COPIES;
    size_t message = conf->clients.message_max;
    size_t packet = frame_max(conf->packet_max);
    size_t rest = conf->session_max + EVENT_REST;
    char where[CONFIG_WHERE_SIZE];

    if (message > packet - rest)
        config_complain(l, where_of(where, i, "max_message"),
            "is %zu, and does not fit into max_packet (%zu) with a session of "
            "max_session (%zu); give no more than %zu, or raise max_packet",
            message, packet, conf->session_max, packet - rest);
    check_fits(l, i, "max_body", conf->clients.body_max, packet - rest);
    check_fits(l, i, "max_response", conf->response_max, packet - rest);
    if (request > packet - rest)
        config_complain(l, where_of(where, i, "max_request_head"),
            "is %zu, and does not fit into max_packet (%zu) in the ways that a "
            "script gets it; give no more than %zu, or raise max_packet",
            conf->clients.head_max, packet, (packet - rest) / REQUEST_COPIES);
}

static void check_limits(struct config_load *l, size_t i)
{
    const struct port_conf *port = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];

    if (port->unfinished_total_max > 0 &&
        port->unfinished_total_max / 2 < port->message_max)
        config_complain(l, where_of(where, i, "max_unfinished_total"),
            "is %zu, and one message may take twice max_message (%zu); give "
            "more, or 0 for any",
            port->unfinished_total_max, port->message_max);
    check_packet(l, i);
}

/* The texts of certificate and key, and whether they serve. */
static void check_tls(struct config_load *l, size_t i)
{
    struct certificates_pem *tls = &l->c.gateways[i].conf.clients.tls;
    const struct config_file *cert = NULL, *key = NULL;
    char where[CONFIG_WHERE_SIZE], err[256];
    int result;

    if (tls->cert_name)
        cert = read_file(l, where_of(where, i, "tls.cert"), tls->cert_name);
    if (tls->key_name)
        key = read_file(l, where_of(where, i, "tls.key"), tls->key_name);
    if (!cert || !key)
        return;
    tls->cert = cert->text;
    tls->key = key->text;
    if (l->memory->kept)
        return;
    result = certificates_check(tls, err);
    if (result == -EKEYEXPIRED)
        config_warn(l, &l->expired, where_of(where, i, "tls"), "%s", err);
    else if (result < 0)
        config_complain(l, where_of(where, i, "tls"), "%s", err);
}

static void check_files(struct config_load *l, size_t i)
{
    const struct port_conf *port = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];

    check_tls(l, i);
    if (port->www)
        config_check_path(l, where_of(where, i, "www"), port->www, S_IFDIR);
}

/* The IPv4 address that a name has now, looked up once for all processes; NULL
 * after a complaint. */
static const char *look_up(
    struct config_load *l, const char *where, const char *name)
{
    const struct addrinfo hints = {
        .ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    const struct config_file *known = config_file_find(l->memory->files, name);
    char text[ADDR_TEXT_SIZE];
    struct addrinfo *list = NULL;
    union addr a = {0};
    int err;

    if (known)
        return known->text;
    err = getaddrinfo(name, NULL, &hints, &list);
    if (err != 0) {
        config_complain(l, where,
            "\"%s\" cannot be looked up: %s; give the IPv4 address that "
            "workers reach this machine at, or make the name known",
            name, err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err));
        return NULL;
    }
    memcpy(&a.in, list->ai_addr, sizeof(a.in));
    freeaddrinfo(list);
    addr_format_host(text, &a);
    return config_file_add(&l->memory->files, name, text, strlen(text))->text;
}

/* lan_ip left as it is while others are to find this gateway. */
static void warn_of_loopback(
    struct config_load *l, const char *where, const struct config_gateway *g)
{
    const char *far = config_far_register(l, g);

    if (far)
        config_warn(l, &l->warnings, where,
            "is %s, which workers on other machines cannot reach, but the "
            "register %s is not for this machine only; give the address that "
            "they reach this machine at",
            g->conf.lan_ip, far);
}

/* lan_ip and inner_listen into the address of the first inner port. */
static void check_inner(struct config_load *l, size_t i, union addr *out)
{
    struct config_gateway *g = &l->c.gateways[i];
    char where[CONFIG_WHERE_SIZE];
    union addr lan = {.in = {.sin_family = AF_INET}};
    uint32_t ip = 0;

    where_of(where, i, "lan_ip");
    if (addr_is_name(g->conf.lan_ip)) {
        const char *found = look_up(l, where, g->conf.lan_ip);

        if (!found)
            return;
        g->conf.lan_ip = found;
    }
    if (addr_parse_ipv4(&ip, g->conf.lan_ip) < 0 || ip == 0) {
        config_complain(l, where,
            "\"%s\" cannot be announced to workers; give the IPv4 address "
            "that workers reach this machine at",
            g->conf.lan_ip);
        return;
    }
    lan.in.sin_addr.s_addr = htonl(ip);
    lan.in.sin_port = htons(g->conf.start_port);
    config_check_public(l, where, g->conf.lan_ip, &lan, g->conf.secret_key);
    if (addr_is_loopback(&lan))
        warn_of_loopback(l, where, g);
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
        config_check_public(l, where, g->inner_listen, out, g->conf.secret_key);
}

/* "[::]" takes IPv4 clients as well. */
static bool takes_all_of(const union addr *wildcard, const union addr *other)
{
    return addr_is_wildcard(wildcard) && (wildcard->sa.sa_family == AF_INET6 ||
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
    config_check_name(l, where_of(where, i, "name"), g->conf.name);
    for (size_t j = 0; j < i; j++) {
        if (l->c.gateways[j].conf.name &&
            strcmp(l->c.gateways[j].conf.name, g->conf.name) == 0)
            config_complain(l, where,
                "\"%s\" is the name of gateways[%zu] too; give each its own",
                g->conf.name, j + 1);
    }
    if (g->conf.ping_data && g->conf.ping_data[0] == '\0')
        g->conf.ping_data = NULL; /* GatewayWorker's way to say none */
    if (g->conf.client_pong && !g->conf.client_ping)
        config_complain(l, where_of(where, i, "client_pong"),
            "answers client_ping; say which message that is, too");
    g->conf.secret_key = l->secret_key;
    g->conf.packet_max = l->c.program_conf.packet_max;
    config_choose_discovery(
        l, where_of(where, i, "register_address"), &g->conf.discovery);
    check_listen(l, i, &public);
    check_protocol_keys(l, i);
    check_subprotocols(l, i);
    check_proxies(l, i);
    check_limits(l, i);
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
    if (!config_parse_address(l, "register.listen", r->listen, &a))
        return;
    config_check_public(l, "register.listen", r->listen, &a, r->secret_key);
    add_range(&ranges[(*nranges)++], "register.listen", "the register", &a, 1);
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
    struct port_range *ranges =
        xcalloc(1 + 2 * l->c.ngateways, sizeof(*ranges));
    size_t nranges = 0;

    read_secret_key(l);
    if (!l->secret_key)
        l->secret_key = "";
    check_register(l, ranges, &nranges);
    config_check_discovery(l);
    if (l->program) {
        config_check_program(l);
        free(ranges);
        return;
    }
    for (size_t i = 0; i < l->c.ngateways; i++)
        nranges += check_gateway(l, i, ranges + nranges);
    config_check_listed(l);
    config_check_workers(l);
    check_overlaps(l, ranges, nranges);
    check_process(l);
    free(ranges);
}
