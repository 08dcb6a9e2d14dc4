/* Where gateways and workers find each other: by registers, or by a list of all
 * gateways that stands in the configuration in their place. */
#include <stdio.h>
#include <string.h>

#include "config/config_impl.h"
#include "net/addr.h"

/* "host:port" of somebody to connect to, who may have a name: then out is
 * untouched and *name true. */
static bool parse_target(struct config_load *l, const char *where,
    const char *text, union addr *out, bool *name)
{
    char host[ADDR_NAME_SIZE];
    uint16_t port;

    *name = addr_parse_name(host, &port, text) == 0;
    if (!*name && addr_parse(out, text) == 0)
        return config_parse_address(l, where, text, out);
    if (*name && port > 0)
        return true;
    config_complain(l, where,
        "\"%s\" is not an address; give host:port, such as "
        "\"127.0.0.1:1237\" or \"register.internal:1237\"",
        text);
    return false;
}

/* Addresses to call; where names the key that they stand in. */
static void check_registers(
    struct config_load *l, const char *where, const char *const *addresses)
{
    for (size_t i = 0; addresses && addresses[i]; i++) {
        union addr a;
        bool name;

        if (addresses[i][0] == '\0' ||
            !parse_target(l, where, addresses[i], &a, &name) || name)
            continue;
        if (addr_is_wildcard(&a))
            config_complain(l, where,
                "%s is nobody's address; give the address of the machine "
                "that the register runs on",
                addresses[i]);
        else
            config_check_public(l, where, addresses[i], &a, l->secret_key);
    }
}

/* What the list has is in client ids, so it must be numeric. */
static void check_entry(struct config_load *l, const char *text)
{
    static const char where[] = "discovery.gateways";
    union addr a;

    if (!config_parse_address(l, where, text, &a))
        return;
    if (a.sa.sa_family != AF_INET || addr_is_wildcard(&a))
        config_complain(l, where,
            "%s cannot be a gateway's; give its lan_ip, an IPv4 address, and "
            "its start_port, one more for each further process",
            text);
    else
        config_check_public(l, where, text, &a, l->secret_key);
}

static bool is_listed(const struct config_load *l, const char *text, size_t end)
{
    for (size_t i = 0; i < end && l->listed[i]; i++)
        if (strcmp(l->listed[i], text) == 0)
            return true;
    return false;
}

void config_check_discovery(struct config_load *l)
{
    check_registers(l, "register_address", l->register_addresses);
    for (size_t i = 0; l->listed && l->listed[i]; i++) {
        check_entry(l, l->listed[i]);
        if (is_listed(l, l->listed[i], i))
            config_complain(l, "discovery.gateways",
                "%s is in it twice; remove one", l->listed[i]);
    }
    if (l->listed && l->register_addresses)
        config_complain(l, "register_address",
            "stands beside discovery.gateways; keep the one or the other");
    if (l->listed && l->c.has_register)
        config_complain(l, "register",
            "would be asked by nobody where discovery.gateways lists the "
            "gateways; keep the one or the other");
}

void config_choose_discovery(
    struct config_load *l, const char *where, struct discovery_conf *d)
{
    const char **one;

    d->gateways = l->listed;
    if (d->registers && l->listed)
        config_complain(l, where,
            "stands beside discovery.gateways; keep the one or the other");
    if (d->registers) {
        check_registers(l, where, d->registers);
    } else if (l->register_addresses) {
        d->registers = l->register_addresses;
    } else if (l->c.has_register) {
        one = config_alloc(l->memory, 2 * sizeof(*one));
        one[0] = l->c.register_conf.listen;
        d->registers = one;
    } else if (!l->listed) {
        config_complain(l, where,
            "is missing; give the register's \"host:port\", or a list of them");
    }
}

void config_check_listed(struct config_load *l)
{
    char where[CONFIG_WHERE_SIZE], address[ADDR_TEXT_SIZE];

    for (size_t i = 0; l->listed && i < l->c.ngateways; i++) {
        const struct config_gateway *g = &l->c.gateways[i];

        snprintf(where, sizeof(where), "gateways[%zu]", i + 1);
        for (unsigned j = 0; j < g->count; j++) {
            snprintf(address, sizeof(address), "%s:%u", g->conf.lan_ip,
                g->conf.start_port + j);
            if (!is_listed(l, address, SIZE_MAX))
                config_complain(l, where,
                    "no worker finds %s; add it to discovery.gateways",
                    address);
        }
    }
}

const char *config_far_register(
    const struct config_load *l, const struct config_gateway *g)
{
    const char *const *addresses = g->conf.discovery.registers;
    const char *listen = l->c.register_conf.listen;
    union addr a;

    if (l->c.has_register && listen && addr_parse(&a, listen) == 0 &&
        !addr_is_loopback(&a))
        return listen;
    for (; addresses && *addresses; addresses++) {
        if (addr_parse(&a, *addresses) == 0
                ? !addr_is_loopback(&a)
                : strncmp(*addresses, "localhost:", strlen("localhost:")) != 0)
            return *addresses;
    }
    return NULL;
}
