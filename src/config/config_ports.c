/* The ports that the entries of a configuration bind, and which of them are in
 * each other's way. */

#include "config/config_impl.h"

#include <stdio.h>
#include <string.h>

#include "net/addr.h"

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

void config_ports_check(
    struct config_load *l, const struct config_ports *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct config_ports *b = &ranges[i];

        for (size_t j = 0; j < i; j++) {
            const struct config_ports *a = &ranges[j];
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

void config_ports_add(struct config_ports *r, const char *where,
    const char *name, const union addr *host, unsigned count)
{
    snprintf(r->where, sizeof(r->where), "%s", where);
    r->name = name;
    r->host = *host;
    r->lan_ip = 0;
    r->first = addr_port(host);
    r->last = r->first + count - 1;
}
