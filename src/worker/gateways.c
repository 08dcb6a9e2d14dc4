/* Which gateways there are, and the two links to each: how they begin and end.
 * What comes on them is peer.c's. A peer owns its dialers and links; the links
 * of one gateway live and end together, for neither is of use without the
 * other. */
#include "worker/gateways.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/handle.h"
#include "util/log.h"
#include "util/secret.h"
#include "worker/gateways_impl.h"

#define REFUSED_MS 500 /* a link cut so early was not wanted */

/* ---- what is known of them ---- */

struct gateways_sessions *gateways_sessions(
    const struct gateways *g, uint32_t ip, uint16_t port)
{
    struct peer *p = gateways_find(g, ip, port);

    return p ? &p->sessions : NULL;
}

struct gateways_counts gateways_counts(const struct gateways *g)
{
    struct gateways_counts counts = {.connected = g->nconnected,
        .known = g->npeers,
        .silent = gateways_silent(g),
        .registers_missing = g->discovery ? discovery_missing(g->discovery) : 0,
        .sends = g->sends,
        .sends_failed = g->sends_failed,
        .sends_lost = g->sends_lost};

    departures_count_up(g->departures, &counts.engine);
    return counts;
}

struct acks *gateways_acks(struct gateways *g)
{
    return &g->acks;
}

uint64_t gateways_arrival(const struct gateways *g)
{
    return g->arrived;
}

const char *gateways_name(const struct gateways *g, uint32_t ip, uint16_t port)
{
    const struct peer *p = gateways_find(g, ip, port);

    return p ? p->listener : NULL;
}

static void list_connected(struct gateways *g)
{
    struct list *node;

    g->connected =
        xrealloc(g->connected, (g->npeers + 1) * sizeof(g->connected[0]));
    g->nconnected = 0;
    LIST_FOREACH (node, &g->peers) {
        const struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->commands)
            g->connected[g->nconnected++] = p->at;
    }
}

/* ---- the links ---- */

static struct conn *open_link(
    struct peer *p, int fd, const struct conn_ops *ops)
{
    struct conn_limits limits = {
        .packet_max = gateways_packet_max(p->g),
        .high_water = p->g->conf->gateway_high_water,
    };

    return conn_open(p->g->turn, fd, ops, &limits, p);
}

static void on_events_connected(struct dialer *d, int fd, void *arg)
{
    struct peer *p = arg;

    p->events = open_link(p, fd, &peer_event_ops);
    if (!p->events) {
        peer_lose_links(p, -ENOMEM);
        return;
    }
    p->watches = 0;
    p->arrived = 0;
    offers_put(p, p->events, FRAME_WORKER_CONNECT);
    if (p->held || p->g->stopped)
        conn_pause(p->events);
    p->connected_at = clock_now(turn_loop(p->g->turn));
    log_info("connected to gateway %s%s", p->name,
        conn_peer(p->events)->sa.sa_family == AF_UNIX ? " by its unix socket"
                                                      : "");
    if (p->lost_at != 0 && p->keeper == 0)
        census_take(p);
    p->lost_at = 0;
    p->gone_logged = false;
}

static struct dialer *dial(struct peer *p, dialer_connect_cb connected)
{
    const struct worker_neighbour *n = p->g->conf->neighbours;
    char address[ADDR_TEXT_SIZE];
    struct dialer *d;

    if (p->at.ip == p->g->conf->loopback_ip)
        snprintf(address, sizeof(address), "127.0.0.1:%u", p->at.port);
    else
        snprintf(address, sizeof(address), "%s", p->name);
    d = dialer_open(turn_loop(p->g->turn), address, connected, p);

    dialer_limit_wait(d, GATEWAYS_RETRY_MS);
    for (; n && n->port != 0; n++) {
        if (n->ip == p->at.ip && n->port == p->at.port)
            dialer_prefer(d, n->path);
    }
    return d;
}

/* Commands first: when the first event comes, it can be answered. And all of
 * them: it may be answered to everybody. A gateway that is away is waited for
 * until its connection fails, and for GATEWAYS_JOIN_MS at most. */
static void dial_events(struct gateways *g)
{
    struct list *node;

    if (!g->ops->on_event)
        return;
    if (!g->joined && !gateways_are_settled(g) &&
        clock_now(turn_loop(g->turn)) < g->join_by) {
        gateways_tick_within(g, GATEWAYS_TICK_JOIN_MS);
        return;
    }
    g->joined = true;
    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->commands && !p->event_dialer && p->events_after == 0)
            p->event_dialer = dial(p, on_events_connected);
    }
}

static void on_commands_connected(struct dialer *d, int fd, void *arg)
{
    struct peer *p = arg;

    p->commands = open_link(p, fd, &peer_command_ops);
    if (!p->commands) {
        peer_lose_links(p, -ENOMEM);
        return;
    }
    p->away_since = 0;
    secret_new_token(p->pair);
    offers_put(p, p->commands, FRAME_GATEWAY_CLIENT_CONNECT);
    if (!p->g->ops->on_event)
        allowed_greet(p);
    list_connected(p->g);
    p->connected_at = clock_now(turn_loop(p->g->turn));
    dial_events(p->g);
}

/* ---- peers come and go ---- */

static struct peer *add_peer(struct gateways *g, struct gateways_address at)
{
    struct peer *p = xcalloc(1, sizeof(*p));
    union addr addr = {.in = {.sin_family = AF_INET,
                           .sin_port = htons(at.port),
                           .sin_addr.s_addr = htonl(at.ip)}};

    p->g = g;
    p->at = at;
    addr_format(p->name, &addr);
    p->away_since = clock_now(turn_loop(g->turn));
    queries_link_init(&p->answers);
    list_init(&p->remains);
    list_init(&p->node);
    list_push_back(&g->peers, &p->node);
    g->npeers++;
    peer_file(p);
    p->dialer = dial(p, on_commands_connected);
    return p;
}

/* Close both links; queued commands are sent when flush. */
static void close_links(struct peer *p, bool flush)
{
    remains_end_acks(p);
    p->revoked = false;
    p->sessions = (struct gateways_sessions){0};
    if (p->event_dialer)
        dialer_close(p->event_dialer);
    if (p->events)
        conn_close(p->events);
    if (p->commands && flush)
        conn_close_flushed(p->commands);
    else if (p->commands)
        conn_close(p->commands);
    p->event_dialer = NULL;
    p->events = NULL;
    p->commands = NULL;
    p->greets = false;
}

/* Without callbacks: whoever waits for an answer of it is told before. */
static void free_peer(struct peer *p)
{
    struct gateways *g = p->g;

    close_links(p, true);
    dialer_close(p->dialer);
    census_drop(p);
    idmap_fini(&p->clients);
    marks_drop(p);
    remains_drop(p);
    keepers_drop(p);
    list_remove(&p->node);
    peer_unfile(p);
    g->npeers--;
    list_connected(g);
    free(p->listener);
    free(p);
}

/* A gateway that says goodbye in order ends its links like this too; whether
 * anything was lost shows in check_lost(). */
static void log_loss(struct peer *p, int err, uint64_t lived)
{
    bool settled = lived >= GATEWAYS_SETTLED_MS;
    bool refused = err == 0 && lived < REFUSED_MS && !p->watches;

    if (settled)
        p->loss_logged = false;
    if (p->loss_logged)
        return;
    p->loss_logged = true;
    log_write(err == 0 && !refused ? LOG_INFO : LOG_WARN, __FILE__,
        "links to gateway %s ended err=%s%s", p->name,
        err == 0 ? "closed by it" : uv_strerror(err),
        refused ? " (is secret_key the same on both sides? see its log)" : "");
}

void peer_lose_links(struct peer *p, int err)
{
    struct gateways *g = p->g;
    uint64_t now = clock_now(turn_loop(g->turn));
    bool acks = p->acks.number != 0;

    if (p->away_since == 0)
        p->away_since = now;
    g->sends_lost +=
        receipts_end(&p->receipts, p->name, p->acks.page, &g->uncounted);
    close_links(p, acks);
    keepers_lose_links(p);
    if (acks)
        g->ops->on_link_lost(p->at, g->arg);
    census_drop(p);
    list_connected(g);
    log_loss(p, err, now - p->connected_at);
    p->watches = 0;
    p->arrived = 0;
    p->types = false;
    p->labels = false;
    p->demands = false;
    p->wants_left = false;
    p->keeps_book = false;
    p->is_kept = false;
    p->has_spoken = false;
    if (p->lost_at == 0 && g->ops->on_event)
        p->lost_at = now;
    queries_fail_all(&p->answers, -ECONNRESET);
    if (!p->listed && p->clients.count + p->gone.count == 0) {
        free_peer(p);
        return;
    }
    gateways_tick_within(g, GATEWAYS_TICK_BUSY_MS);
    dialer_retry(p->dialer);
}

/* Those in a book that this worker asks, it need not know. */
void gateways_keep_client(struct gateways *g, const struct frame *f)
{
    struct peer *p = gateways_find(g, f->local_ip, f->local_port);

    if (p && !(p->keeps_book && frame_has_place(f)))
        idmap_add(&p->clients, f->connection_id);
}

/* A gateway with a book gives the ON_CLOSE as well, should it come again: that
 * one counts. */
void peer_lose_client(struct peer *p, uint32_t id, bool certain)
{
    struct client_id client = {p->at.ip, p->at.port, id};

    if (p->keeper == 0)
        losses_add(&p->g->losses, &client, clock_now(turn_loop(p->g->turn)));
    p->g->ops->on_client_lost(&client, certain, p->g->arg);
}

void peer_lose_some(struct peer *p, struct idmap *ids)
{
    for (int i = 0; i < GATEWAYS_LOST_SLICE && ids->count > 0; i++)
        peer_lose_client(p, idmap_pop(ids), false);
    if (ids->count > 0)
        p->g->lost_more = true;
}

/* A gateway that stays away: its clients are gone. While it is listed it lives:
 * once it is reached again, census_take() asks it. late: ms in which this
 * worker did not run; the gateway may have come back and waits to be seen. */
static void check_lost(struct peer *p, uint64_t now, uint64_t late)
{
    uint64_t grace =
        p->listed ? GATEWAYS_LISTED_GRACE_MS : GATEWAYS_LOST_GRACE_MS;

    peer_lose_some(p, &p->gone);
    if (p->lost_at == 0)
        return;
    p->lost_at = p->lost_at + late < now ? p->lost_at + late : now;
    if (p->keeper != 0) {
        keepers_check_lost(p, now);
        if (!p->commands && !p->listed && p->clients.count + p->gone.count == 0)
            free_peer(p);
        return;
    }
    if (p->commands || now - p->lost_at < grace) {
        if (!p->listed)
            gateways_tick_within(p->g, GATEWAYS_TICK_BUSY_MS);
        return;
    }
    if (p->clients.count > 0 && !p->gone_logged)
        log_warn(
            "gateway %s is gone, its clients get their onClose clients=%zu",
            p->name, p->clients.count);
    p->gone_logged = true;
    peer_lose_some(p, &p->clients);
    if (!p->listed && p->clients.count == 0)
        free_peer(p);
}

/* ---- the clock ---- */

static void ping(struct peer *p)
{
    static const struct frame f = {
        .cmd = FRAME_PING, .flag = FRAME_FLAG_STRING};

    if (p->at.ip == INADDR_LOOPBACK)
        return;
    if (p->commands)
        frame_encode(conn_out(p->commands), &f);
    if (p->events)
        frame_encode(conn_out(p->events), &f);
}

/* Ask for events again where that had to wait. */
static void end_pauses(struct gateways *g, uint64_t now)
{
    struct list *node;
    bool ended = false;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->events_after == 0 || now < p->events_after)
            continue;
        p->events_after = 0;
        ended = true;
    }
    if (ended)
        dial_events(g);
}

/* One line for all that came and went, once it has come to rest. */
static void log_connected(struct gateways *g)
{
    bool rests = g->nconnected == g->nseen;

    g->nseen = g->nconnected;
    if (!rests || g->nconnected == g->nlogged || !g->ops->on_event)
        return;
    g->nlogged = g->nconnected;
    log_notice("connected to %zu of %zu gateways", g->nconnected, g->npeers);
}

static void on_tick(uv_timer_t *timer)
{
    struct gateways *g = timer->data;
    uint64_t now = clock_now(timer->loop);
    bool ping_due = now - g->pinged_at >= GATEWAYS_PING_MS;
    uint64_t late = now > g->tick_due ? now - g->tick_due : 0;
    struct list *node, *tmp;

    gateways_tick_within(g, GATEWAYS_TICK_MS);
    if (g->joined)
        log_connected(g);
    else if (g->join_by != 0)
        dial_events(g);
    end_pauses(g, now);
    beats_tick(g, now);
    queries_expire(&g->queries, now - late);
    if (!list_empty(&g->queries.list))
        gateways_tick_within(g, GATEWAYS_TICK_BUSY_MS);
    g->lost_more = false;
    LIST_FOREACH_SAFE (node, tmp, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (ping_due)
            ping(p);
        check_lost(p, now, late);
    }
    if (g->lost_more)
        gateways_tick_within(g, 0);
    if (ping_due) {
        g->pinged_at = now;
        losses_expire(&g->losses, now);
    }
}

void gateways_tick_within(struct gateways *g, uint64_t ms)
{
    uint64_t due = clock_now(turn_loop(g->turn)) + ms;

    if (uv_is_active((uv_handle_t *)&g->tick) && g->tick_due <= due)
        return;
    uv_timer_start(&g->tick, on_tick, ms, 0);
    g->tick_due = due;
}

/* ---- the whole ---- */

struct gateways *gateways_new(struct turn *turn, const struct worker_conf *conf,
    unsigned index, const struct gateways_ops *ops, void *arg)
{
    struct gateways *g = xcalloc(1, sizeof(*g));

    g->turn = turn;
    g->conf = conf;
    g->ops = ops;
    g->arg = arg;
    g->worker_key = xasprintf("%s:%u", conf->name, index);
    secret_new_token(g->process);
    g->pinged_at = clock_now(turn_loop(turn));
    list_init(&g->peers);
    list_init(&g->uncounted);
    queries_init(&g->queries, turn);
    list_init(&g->logins);
    acks_open(&g->acks, turn, gateways_tell);
    uv_timer_init(turn_loop(turn), &g->tick);
    g->tick.data = g;
    gateways_tick_within(g, GATEWAYS_TICK_MS);
    return g;
}

void gateways_join(struct gateways *g)
{
    g->discovery = discovery_watch(g->turn, &g->conf->discovery,
        g->conf->secret_key, gateways_set_addresses, g);
    g->departures = departures_open(
        g->turn, g->conf->engine, g->process, g->tidings, g->tidings_arg);
}

/* It has not been reached yet, and may still be. */
static bool is_awaited(const struct peer *p)
{
    return p->connected_at == 0 && !dialer_has_failed(p->dialer);
}

bool gateways_are_settled(const struct gateways *g)
{
    const struct list *node;

    LIST_FOREACH (node, &g->peers) {
        const struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->commands ? p->greets : is_awaited(p))
            return false;
    }
    return !g->discovery || discovery_is_settled(g->discovery);
}

bool gateways_take_kept(struct gateways *g)
{
    return g->npeers == 0 && g->discovery && discovery_take_kept(g->discovery);
}

/* "host:port" to an address. false: not IPv4, which the frame cannot name. */
static bool parse_address(struct gateways_address *out, const char *text,
    const struct worker_conf *conf)
{
    union addr addr;
    char quoted[LOG_QUOTE_SIZE];

    if (addr_parse(&addr, text) < 0 || addr.sa.sa_family != AF_INET) {
        log_warn("gateway with an unusable address, want IPv4:port address=%s",
            log_quote(quoted, text, strlen(text)));
        return false;
    }
    out->ip = addr_ipv4(&addr);
    out->port = addr_port(&addr);
    if (conf->loopback_ip != 0 && addr_is_loopback(&addr))
        out->ip = conf->loopback_ip;
    return true;
}

void gateways_set_addresses(
    const char *const *addresses, size_t count, void *gateways)
{
    struct gateways *g = gateways;
    struct list *node, *tmp;

    if (g->join_by == 0 && count > 0)
        g->join_by = clock_now(turn_loop(g->turn)) + GATEWAYS_JOIN_MS;
    LIST_FOREACH (node, &g->peers)
        LIST_ENTRY(node, struct peer, node)->listed = false;
    for (size_t i = 0; i < count; i++) {
        struct gateways_address at;
        struct peer *p;

        if (!parse_address(&at, addresses[i], g->conf))
            continue;
        p = gateways_find(g, at.ip, at.port);
        if (!p)
            p = add_peer(g, at);
        p->listed = true;
    }
    /* Links that live stay: the register may have restarted. */
    LIST_FOREACH_SAFE (node, tmp, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (!p->listed && !p->commands && p->clients.count + p->gone.count == 0)
            free_peer(p);
        else if (!p->listed)
            gateways_tick_within(g, GATEWAYS_TICK_BUSY_MS);
    }
}

void gateways_hold_events(
    struct gateways *g, struct gateways_address from, bool hold)
{
    struct peer *p = gateways_find(g, from.ip, from.port);

    if (!p)
        return;
    p->held = hold;
    if (p->events && hold)
        conn_pause(p->events);
    else if (p->events && !g->stopped && !acks_is_full(&p->acks))
        conn_resume(p->events);
}

void gateways_stop_events(struct gateways *g)
{
    struct list *node;

    g->stopped = true;
    LIST_FOREACH (node, &g->peers)
        gateways_hold_events(g, LIST_ENTRY(node, struct peer, node)->at, true);
}

void gateways_answer(struct gateways *g, uint8_t cmd,
    struct gateways_address to, uint32_t number, uint8_t flag,
    const struct buf *answer)
{
    const struct peer *p = gateways_find(g, to.ip, to.port);
    struct frame f = {.cmd = cmd,
        .flag = flag,
        .connection_id = number,
        .body = answer->data,
        .body_len = answer->len};

    if (p && p->events)
        frame_encode(conn_out(p->events), &f);
}

void gateways_reply(struct gateways *g, struct gateways_address to,
    uint32_t number, bool behind, const struct buf *answer)
{
    const struct peer *p = gateways_find(g, to.ip, to.port);
    struct frame f = {.cmd = FRAME_REQUEST,
        .connection_id = number,
        .body = answer->data,
        .body_len = answer->len};

    if (p && p->commands && behind && answer->len <= GATEWAYS_SHORT &&
        !conn_is_full(p->commands))
        frame_encode(conn_out(p->commands), &f);
    else if (p && p->events)
        frame_encode(conn_out(p->events), &f);
}

void gateways_close(struct gateways *g)
{
    struct list *node;

    if (g->discovery)
        discovery_close(g->discovery);
    departures_close(g->departures);
    LIST_FOREACH (node, &g->peers)
        census_drop(LIST_ENTRY(node, struct peer, node));
    queries_free_all(&g->queries);
    gateways_free_logins(g);
    while (!list_empty(&g->peers)) {
        struct peer *p = LIST_ENTRY(g->peers.next, struct peer, node);

        queries_fail_all(&p->answers, -ECANCELED); /* nobody asks any more */
        free_peer(p);
    }
    receipts_close(&g->uncounted);
    acks_close(&g->acks);
    losses_fini(&g->losses);
    keepers_close(g);
    free(g->connected);
    free(g->worker_key);
    handle_close(&g->tick, g);
}
