/* What one entry of gateways means: protocol and addresses, keys that say
 * nothing on this port, limits that must fit each other, certificates and files
 * that must be there. Completes the entry's structs. */

#include "config/config_impl.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "net/addr.h"
#include "util/log.h"
#include "wire/answer.h"
#include "wire/frame.h"
#include "wire/httphead.h"

static char *where_of(char out[CONFIG_WHERE_SIZE], size_t i, const char *key)
{
    snprintf(out, CONFIG_WHERE_SIZE, "gateways[%zu].%s", i + 1, key);
    return out;
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
    if (port->files && !port->protocol->begins_with_request)
        config_complain(l, where_of(where, i, "files"),
            "works on websocket and http ports only; remove it here");
    if (port->access.file && !port->protocol->begins_with_request)
        config_complain(l, where_of(where, i, "access_log"),
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
        cert = config_check_file(
            l, where_of(where, i, "tls.cert"), tls->cert_name);
    if (tls->key_name)
        key =
            config_check_file(l, where_of(where, i, "tls.key"), tls->key_name);
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

/* The file need not be there; what it cannot be is a folder. */
static void check_access_log(struct config_load *l, size_t i)
{
    struct access_conf *access = &l->c.gateways[i].conf.clients.access;
    char where[CONFIG_WHERE_SIZE];
    char *path;
    struct stat st;

    if (!access->file)
        return;
    access->name = l->c.gateways[i].conf.name;
    path = config_path(&l->c, access->file);
    if (!l->memory->kept && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        config_complain(l, where_of(where, i, "access_log.file"),
            "%s is a folder; give the path of a file", access->file);
    free(path);
}

static void check_files(struct config_load *l, size_t i)
{
    const struct port_conf *port = &l->c.gateways[i].conf.clients;
    char where[CONFIG_WHERE_SIZE];

    check_tls(l, i);
    check_access_log(l, i);
    if (!answer_is_value(port->cache_control, strlen(port->cache_control)))
        config_complain(l, where_of(where, i, "cache_control"),
            "has control characters; give the value of a Cache-Control header, "
            "such as \"public, max-age=3600\"");
    if (port->www)
        config_check_path(l, where_of(where, i, "www"), port->www, S_IFDIR);
    if (port->files)
        config_check_path(l, where_of(where, i, "files"), port->files, S_IFDIR);
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

size_t config_check_gateway(
    struct config_load *l, size_t i, struct config_ports *ranges)
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
    g->conf.secret_key_also = l->secret_key_also;
    g->conf.packet_max = l->c.program_conf.packet_max;
    config_choose_discovery(
        l, where_of(where, i, "register_address"), &g->conf.discovery);
    check_listen(l, i, &public);
    check_protocol_keys(l, i);
    check_subprotocols(l, i);
    check_proxies(l, i);
    check_limits(l, i);
    check_files(l, i);
    config_check_api(l, i);
    check_inner(l, i, &inner);
    if (g->address)
        config_ports_add(&ranges[n++], where_of(where, i, "listen"),
            g->conf.name, &public, 1);
    where_of(where, i, "start_port");
    if (g->conf.start_port + g->count - 1 > UINT16_MAX)
        config_complain(l, where,
            "%u and %u more for count = %u go beyond 65535; choose a lower one",
            g->conf.start_port, g->count - 1, g->count);
    else if (inner.sa.sa_family != 0) {
        config_ports_add(&ranges[n], where, g->conf.name, &inner, g->count);
        addr_parse_ipv4(&ranges[n++].lan_ip, g->conf.lan_ip);
    }
    return n;
}
