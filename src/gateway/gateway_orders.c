/* What the operator orders about clients: who is meant, closed, not let in
 * again; and that nobody new comes. Bans of addresses are the port's, bans of
 * uids the roster's; both end with this process, and the master gives them to
 * the next one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/gateway_impl.h"
#include "util/alloc.h"
#include "wire/client_id.h"

static bool is_member(const struct client *c, const char *group)
{
    for (uint16_t i = 0; i < c->ngroups; i++) {
        if (strcmp(c->groups[i].name->text, group) == 0)
            return true;
    }
    return false;
}

static bool has_id(
    const struct gateway *g, const struct client *c, const char *client_id)
{
    const struct client_id full = {
        g->address.local_ip, g->address.local_port, c->id};
    char text[CLIENT_ID_LEN + 1];

    client_id_format(text, &full);
    return strcmp(text, client_id) == 0;
}

/* net: of pick->ip. */
static bool is_meant(const struct gateway *g, const struct client *c,
    const struct gateway_pick *pick, const struct addr_net *net)
{
    union addr peer = c->peer;

    addr_unmap(&peer);
    return (!pick->client_id || has_id(g, c, pick->client_id)) &&
           (!pick->uid ||
               (c->uid.name && strcmp(c->uid.name->text, pick->uid) == 0)) &&
           (!pick->group || is_member(c, pick->group)) &&
           (!pick->ip || addr_net_has(net, &peer));
}

size_t gateway_client_ids(
    const struct gateway *g, const struct gateway_pick *pick, uint32_t **ids)
{
    size_t count = roster_count(g->roster), meant = 0;
    struct addr_net net;

    *ids = xcalloc(count, sizeof(**ids));
    if (pick->ip && addr_net_parse(&net, pick->ip) < 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const struct client *c = roster_at(g->roster, i);

        if (is_meant(g, c, pick, &net))
            (*ids)[meant++] = c->id;
    }
    return meant;
}

size_t gateway_expel(
    struct gateway *g, const struct gateway_pick *pick, const char *reason)
{
    uint32_t *ids;
    size_t count = gateway_client_ids(g, pick, &ids);

    for (size_t i = 0; i < count; i++) {
        struct client *c = roster_find(g->roster, ids[i]);

        if (c)
            commands_expel(&g->commands, c, reason);
    }
    free(ids);
    if (count > 0)
        log_notice("clients expelled by the operator count=%zu reason=%s",
            count, reason);
    return count;
}

ssize_t gateway_ban_uid(struct gateway *g, const char *uid, double seconds)
{
    int err = bans_set(roster_bans(g->roster), uid, strlen(uid), seconds);

    if (err < 0 || seconds <= 0)
        return err;
    return (ssize_t)gateway_expel(
        g, &(struct gateway_pick){.uid = uid}, "banned");
}

ssize_t gateway_ban_address(
    struct gateway *g, const char *address, double seconds)
{
    char host[ADDR_TEXT_SIZE], net[ADDR_TEXT_SIZE + 4];
    union addr a;
    int err = addr_parse_host(&a, address);

    if (err == 0)
        err = port_ban(g->port, &a, seconds);
    if (err < 0 || seconds <= 0)
        return err;
    addr_unmap(&a);
    if (a.sa.sa_family == AF_INET6) /* all of the household, as the ban */
        memset(a.in6.sin6_addr.s6_addr + 8, 0, 8);
    snprintf(net, sizeof(net), "%s/%d", addr_format_host(host, &a),
        a.sa.sa_family == AF_INET6 ? 64 : 32);
    return (ssize_t)gateway_expel(
        g, &(struct gateway_pick){.ip = net}, "banned");
}

void gateway_drain(struct gateway *g, bool drained)
{
    if (g->drained != drained)
        log_notice(drained ? "takes no new clients, by order of the operator"
                           : "takes new clients again");
    g->drained = drained;
}
