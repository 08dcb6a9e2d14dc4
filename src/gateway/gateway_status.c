/* What is to be seen of a gateway from outside: its numbers, and its clients
 * one by one. Nothing changes. */
#include "gateway/gateway_impl.h"

#include <string.h>

#include "wire/client_id.h"

void gateway_status(const struct gateway *g, struct gateway_status *out)
{
    const struct router_counters *routed = router_counters(g->router);
    const struct calls_counters *called = calls_counters(g->calls);
    const struct books_counts booked = books_counts(g->books);

    *out = (struct gateway_status){
        .name = g->conf->name,
        .index = g->index,
        .accepting = g->state == GATEWAY_SERVING && !g->drained,
        .clients = roster_count(g->roster),
        .workers = router_worker_count(g->router),
        .workers_local = router_local_count(g->router),
        .workers_stalled = router_stalled_count(g->router),
        .worker_stalls = routed->stalls,
        .workers_silent = router_silent_count(g->router),
        .groups = roster_group_count(g->roster),
        .uids = roster_uid_count(g->roster),
        .registers_missing = g->discovery ? discovery_missing(g->discovery) : 0,
        .clients_paused = router_paused_count(g->router),
        .clients_over_share = router_over_count(g->router),
        .over_share = routed->over,
        .port = *port_counters(g->port),
        .events_out = routed->events,
        .events_held = router_held_count(g->router),
        .held_bytes = router_held_bytes(g->router),
        .events_unbegun = router_unbegun_count(g->router),
        .events_again = routed->again,
        .events_cut_off = routed->cut_off,
        .events_unknown = routed->unknown,
        .sends_lost = routed->sends_lost,
        .events_dropped = routed->refused + routed->lost,
        .commands_in = g->commands.run,
        .commands_refused = g->commands.refused,
        .groups_refused = g->commands.groups_refused,
        .dropped = g->commands.dropped,
        .sessions_refused = g->commands.sessions_refused,
        .book_clients = booked.entries,
        .book_bytes = booked.bytes,
        .book_left_out = booked.left_out,
        .book_cut = booked.cut,
        .book_garbled = booked.garbled,
        .closes_inherited = booked.inherited,
        .closes_given = outbox_given(g->outbox),
        .requests_again = called->again,
        .requests_lost = called->lost + called->faulty,
        .names_left_out = g->names_left_out,
        .links_refused = g->inner ? inner_refused(g->inner) : 0,
    };
    arrivals_count(g->arrivals, &out->arrivals);
}

/* How much of a name is kept: whole characters. */
static size_t kept_len(const struct roster_name *name)
{
    size_t len = PAGES_TOP_SIZE - 1;

    if (name->len <= len)
        return name->len;
    while (len > 0 && ((uint8_t)name->text[len] & 0xC0) == 0x80)
        len--;
    return len;
}

/* Put name among those so far, which are in order. */
static void put_top(struct page_tops *out, const struct roster_name *name)
{
    size_t i = out->count;

    if (i == PAGES_TOPS) {
        if (out->rows[--i].members >= name->count)
            return;
    } else {
        out->count++;
    }
    for (; i > 0 && out->rows[i - 1].members < name->count; i--)
        out->rows[i] = out->rows[i - 1];
    out->rows[i] = (struct page_top){.members = name->count};
    memcpy(out->rows[i].name, name->text, kept_len(name));
}

void gateway_tops(const struct gateway *g, struct page_tops *out)
{
    const struct roster_name *name = roster_first_group(g->roster);

    *out = (struct page_tops){0};
    for (size_t i = 0; name && i < GATEWAY_TOPS_SEEN; i++) {
        put_top(out, name);
        name = roster_next_group(name);
    }
}

bool gateway_take_cells(struct gateway *g, struct page_cells *out)
{
    return arrivals_take_cells(g->arrivals, out);
}

void gateway_report(const struct gateway *g, reach_link_cb each, void *arg)
{
    if (g->inner)
        inner_report(g->inner, each, arg);
}

uint32_t gateway_newest_id(const struct gateway *g)
{
    return roster_newest_id(g->roster);
}

bool gateway_client_row(
    const struct gateway *g, uint32_t id, struct gateway_client_row *out)
{
    const struct client *c = roster_find(g->roster, id);
    const struct client_id full = {
        g->address.local_ip, g->address.local_port, id};
    uint32_t now = heartbeat_ticks(g->loop);

    if (!c)
        return false;
    client_id_format(out->client_id, &full);
    addr_format(out->peer, &c->peer);
    out->uid = c->uid.name ? c->uid.name->text : "";
    out->fd = client_conn_fd(c->conn);
    out->groups = c->ngroups;
    out->queued = client_conn_queued(c->conn);
    out->bytes_in = client_conn_bytes_in(c->conn);
    out->bytes_out = client_conn_bytes_out(c->conn);
    out->idle = (double)(now - c->seen) / ROSTER_TICKS;
    out->connected = (double)(now - c->since) / ROSTER_TICKS;
    return true;
}
