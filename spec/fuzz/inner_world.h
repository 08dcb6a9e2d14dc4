/* inner_world.h - a gateway behind its inner port for inner_fuzz.c: real
 * clients, commands, router and links, on sockets that are fakes; and what must
 * hold after every step.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SPEC_FUZZ_INNER_WORLD_H
#define SPEC_FUZZ_INNER_WORLD_H

#include "../gateway/fakes.h"
#include "../gateway/shares.h"

#include <assert.h>

#include "gateway/admissions.h"
#include "gateway/calls.h"
#include "gateway/commands.h"
#include "gateway/inner.h"
#include "net/listener.h"
#include "wire/ack.h"
#include "wire/bigendian.h"
#include "wire/framing.h"
#include "wire/phpser.h"

#define WORLD_SOCKETS  8
#define WORLD_LINKS    4
#define WORLD_IDS      1024 /* clients that may come, one after another */
#define WORLD_KEY      "secret"
#define WORLD_NAME     "Gateway"
#define WORLD_MACHINE  "machine"
#define WORLD_PORT     7000 /* from which the first link comes */
#define WORLD_GROUPS   3    /* that a client may be given at its handshake */
#define WORLD_RESPONSE 64   /* bytes of an answer to a request */
#define WORLD_PARTNER  2    /* between the places of a worker's two links */

/* One end of an inner connection, in place of net/conn.c. */
struct link_end {
    struct conn conn; /* as ../gateway/fakes.h has it */
    const struct conn_ops *ops;
    void *arg;
    size_t packet_max;
    union addr peer;
    struct buf in;
    struct buf given; /* events, of one that acknowledges: not begun yet … */
    struct buf waiting; /* … nor these, of which it has said so */
    bool acking;
    bool paused;
    bool closed; /* freed at the end of the step */
};

/* A client's socket: a client, or one that waits for a worker's word. */
struct socket {
    struct client_conn conn; /* as ../gateway/fakes.h has it */
    struct client *client;   /* NULL while admission is not */
    struct admission *admission;
    bool answered;
    const struct answer *said; /* what lets it in, until admission ends */
    uint32_t spoken;           /* messages so far */
};

/* What the workers heard of a client: ON_CONNECT, messages, ON_CLOSE. */
struct heard {
    bool connected, closed;
    uint32_t messages;
};

struct listener {
    listener_accept_cb accept_cb;
    void *arg;
};

struct world {
    struct turn *turn; /* borrowed */
    struct commands commands;
    struct admissions *admissions;
    struct calls *calls;
    struct call *call; /* the one that waits; NULL: none */
    struct inner *inner;
    struct listener listener;
    struct link_end *links[WORLD_LINKS];   /* owned; NULL: none */
    struct socket *sockets[WORLD_SOCKETS]; /* owned; NULL: none */
    struct heard heard[WORLD_IDS];         /* by connection id */
    uint32_t last_id;                      /* that a client got */
    bool open;                             /* no key is asked for */
    bool acks;                             /* a worker is to acknowledge */
    bool by_uid;                           /* GATEWAY_ROUTER_HASH_UID */
    bool honest;                           /* what comes is what was begun */
    bool lied; /* something else came in its place */
};

static struct world world;

/* ---- in place of net/conn.c and net/listener.c ---- */

static struct link_end *link_of(const struct conn *c)
{
    return LIST_ENTRY(c, struct link_end, conn);
}

/* fd is the place among the links. */
struct conn *conn_open(struct turn *turn, int fd, const struct conn_ops *ops,
    const struct conn_limits *limits, void *arg)
{
    struct link_end *l = world.links[fd];

    l->ops = ops;
    l->arg = arg;
    l->packet_max = limits->packet_max;
    return &l->conn;
}

void conn_close(struct conn *c)
{
    link_of(c)->closed = true; /* once more is harmless */
}

void conn_close_flushed(struct conn *c)
{
    conn_close(c);
}

void conn_set_packet_max(struct conn *c, size_t packet_max)
{
    link_of(c)->packet_max = packet_max;
}

void conn_pause(struct conn *c)
{
    link_of(c)->paused = true;
}

void conn_resume(struct conn *c)
{
    link_of(c)->paused = false;
}

bool conn_has_ended(const struct conn *c)
{
    return link_of(c)->closed;
}

/* All links of this world count as silent. */
uint64_t conn_bytes_in(const struct conn *c)
{
    return 0;
}

const union addr *conn_peer(const struct conn *c)
{
    return &link_of(c)->peer;
}

void conn_call_peer(struct conn *c, const union addr *name)
{
    link_of(c)->peer = *name;
}

int listener_open(struct listener **out, uv_loop_t *loop, int fd,
    listener_accept_cb accept_cb, void *arg)
{
    world.listener = (struct listener){accept_cb, arg};
    *out = &world.listener;
    return 0;
}

void listener_close(struct listener *l)
{
    l->accept_cb = NULL;
}

/* In place of port.c, which takes the first answer to each question. */
void request_answer(struct client_conn *c, unsigned status, const char *reason)
{
    struct socket *s = LIST_ENTRY(c, struct socket, conn);

    assert(s->admission);
    assert(status == 0 || (status >= 400 && status <= 599));
    s->answered = true;
}

void request_answer_with(struct client_conn *c, const struct answer *said)
{
    struct socket *s = LIST_ENTRY(c, struct socket, conn);

    assert(s->admission && !s->answered);
    assert(said->status == 0 || (said->status >= 300 && said->status <= 599));
    s->answered = true;
    if (said->status == 0)
        s->said = said;
}

/* ---- what must hold ---- */

/* A worker said what is not true of what it began; or the router does not wait
 * for it before it gives the next event of a client to another. */
static bool anything_goes(void)
{
    return world.lied || (world.by_uid && world.acks) ||
           router_counters(world.commands.router)->lost > 0;
}

/* An event of a client: none is lost, repeated or out of order. */
static void check_event(const struct frame *f)
{
    struct heard *heard = &world.heard[f->connection_id];

    if (anything_goes())
        return;
    assert(f->connection_id > 0 && f->connection_id <= world.last_id);
    assert(f->ext_len == 0 || phpser_check(f->ext, f->ext_len) == 0);
    assert(!heard->closed);
    assert(heard->connected == (f->cmd != FRAME_ON_CONNECT));
    if (f->cmd == FRAME_ON_CONNECT) {
        heard->connected = true;
    } else if (f->cmd == FRAME_ON_MESSAGE) {
        assert(f->body_len == sizeof(heard->messages));
        assert(memcmp(f->body, &heard->messages, f->body_len) == 0);
        heard->messages++;
    } else {
        assert(f->cmd == FRAME_ON_CLOSE);
        assert(f->body_len == 0 || phpser_check(f->body, f->body_len) == 0);
        heard->closed = true;
    }
}

/* What a gateway says of itself to a worker that offered to understand it. */
static bool is_about_no_client(uint8_t cmd)
{
    static const uint8_t cmds[] = {FRAME_HANDSHAKE_WATCH, FRAME_REQUEST_WATCH,
        FRAME_LIMITS, FRAME_TYPES, FRAME_HANDLED};

    return memchr(cmds, cmd, sizeof(cmds)) != NULL;
}

static void check_events(struct link_end *l)
{
    struct buf *out = &l->conn.out;
    struct frame f;

    while (out->len > 0) {
        ssize_t n = frame_measure(out->data, out->len, FRAME_MAX_LEN);

        assert(n > 0 && (size_t)n <= out->len);
        assert(frame_decode(&f, out->data, (size_t)n) == 0);
        if (f.cmd == FRAME_ACK)
            l->acking = world.acks = true;
        else if (f.cmd == FRAME_SESSION || f.cmd == FRAME_BOUND)
            assert(f.ext_len == 0 || phpser_check(f.ext, f.ext_len) == 0);
        else if (f.cmd == FRAME_NAME)
            assert(f.body_len == strlen(WORLD_NAME));
        else if (is_about_no_client(f.cmd))
            assert(f.connection_id == 0);
        else if (f.cmd == FRAME_HANDSHAKE || f.cmd == FRAME_REQUEST)
            ; /* a question, not an event */
        else if (l->acking)
            buf_append(&l->given, out->data, (size_t)n);
        else
            check_event(&f);
        buf_consume(out, (size_t)n);
    }
}

static void check_all_events(void)
{
    for (size_t i = 0; i < WORLD_LINKS; i++)
        if (world.links[i])
            check_events(world.links[i]);
}

/* A query gets one reply, which is one value; nothing else gets any. */
static void check_reply(struct link_end *l, bool must)
{
    struct buf *out = &l->conn.out;
    struct framing_message m;

    if (out->len == 0) {
        assert(!must);
        return;
    }
    assert(framing_reply_measure(out->data, out->len, out->len) ==
           (ssize_t)out->len);
    m = framing_reply_message(out->data, out->len);
    assert(phpser_check(m.data, m.len) == 0);
    buf_clear(out);
}

/* A name and its members point at each other. Returns the memberships. */
static size_t check_name(
    const struct roster_name *n, const struct roster_name *found, bool is_uid)
{
    assert(n == found);
    assert(n->count > 0 && n->count <= n->cap);
    for (uint32_t i = 0; i < n->count; i++) {
        const struct client *c = n->members[i].client;
        uint32_t slot = n->members[i].slot;
        const struct roster_membership *m = is_uid ? &c->uid : &c->groups[slot];

        assert(is_uid ? slot == ROSTER_SLOT_UID : slot < c->ngroups);
        assert(m->name == n && m->pos == i);
    }
    return n->count;
}

static void check_clients(const struct roster *roster)
{
    const struct roster_name *n;
    size_t joined = 0, members = 0, groups = 0;

    for (size_t i = 0; i < roster_count(roster); i++) {
        const struct client *c = roster_at(roster, i);

        assert(c->slot == i && c->conn && !c->gone);
        assert(roster_find(roster, c->id) == c);
        assert(c->session_len <= GATEWAY_SESSION_MAX);
        assert(!c->session || phpser_check(c->session, c->session_len) == 0);
        joined += c->ngroups;
        n = c->uid.name;
        if (n)
            check_name(n, roster_uid(roster, n->text, n->len), true);
    }
    for (n = roster_first_group(roster); n; n = roster_next_group(n)) {
        members += check_name(n, roster_group(roster, n->text, n->len), false);
        groups++;
    }
    assert(joined == members);
    assert(groups == roster_group_count(roster));
}

/* Nothing waits while every worker has room. One that acknowledges may have
 * none, and one that is lost makes its clients wait. */
static void check_router(const struct router *r)
{
    bool full = world.acks;
    size_t paused = 0;

    for (size_t i = 0; i < WORLD_LINKS; i++)
        full |= world.links[i] && world.links[i]->conn.full;
    for (size_t i = 0; i < WORLD_SOCKETS; i++)
        if (world.sockets[i] && world.sockets[i]->client)
            paused += world.sockets[i]->client->paused != 0;
    assert(paused == router_paused_count(r));
    assert(shares_are_exact(r, world.commands.roster));
    if (router_worker_count(r) > 0 && !full)
        assert(paused == 0 && router_held_count(r) == 0);
}

/* The end of a step. */
static void world_check(void)
{
    check_all_events();
    for (size_t i = 0; i < WORLD_LINKS; i++) {
        struct link_end *l = world.links[i];

        if (!l || !l->closed)
            continue;
        buf_fini(&l->conn.out);
        buf_fini(&l->in);
        buf_fini(&l->given);
        buf_fini(&l->waiting);
        free(l);
        world.links[i] = NULL;
    }
    for (size_t i = 0; i < WORLD_SOCKETS; i++)
        if (world.sockets[i])
            buf_clear(&world.sockets[i]->conn.received);
    check_clients(world.commands.roster);
    check_router(world.commands.router);
}

/* ---- what happens ---- */

/* Of the protocol, not of commands.c. */
static bool is_query(uint8_t cmd)
{
    static const uint8_t queries[] = {FRAME_GET_ALL_CLIENT_SESSIONS,
        FRAME_IS_ONLINE, FRAME_GET_CLIENT_ID_BY_UID,
        FRAME_BATCH_GET_CLIENT_ID_BY_UID, FRAME_GET_CLIENT_SESSIONS_BY_GROUP,
        FRAME_GET_CLIENT_COUNT_BY_GROUP, FRAME_SELECT, FRAME_GET_GROUP_ID_LIST,
        FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP, FRAME_GET_SESSION_BY_CLIENT_ID};

    return memchr(queries, cmd, sizeof(queries)) != NULL;
}

/* What a program that offers "limits" hears first is no reply. */
static void drop_limits(struct link_end *l)
{
    static const uint8_t begin[] = {0, 0, 0, 17, FRAME_LIMITS};
    struct buf *out = &l->conn.out;

    if (out->len >= sizeof(begin) &&
        memcmp(out->data, begin, sizeof(begin)) == 0)
        buf_consume(out, 4 + 17);
}

/* Nor is what a worker with a window may begin. */
static void drop_grant(struct link_end *l)
{
    struct buf *out = &l->conn.out;
    size_t len;

    if (l->closed || out->len < 5 || out->data[4] != FRAME_GRANT)
        return;
    len = 4 + (size_t)get32(out->data);
    assert(len % 4 == 1 && len >= 9 && len <= out->len);
    buf_consume(out, len);
}

/* What a worker says of the events that it was given. */
static bool is_testimony(uint8_t cmd)
{
    return cmd == FRAME_ACK || cmd == FRAME_HANGS || cmd == FRAME_LEFT ||
           cmd == FRAME_WANTS;
}

/* As conn.c hands packets out. */
static void link_deliver(struct link_end *l)
{
    while (l->in.len > 0 && !l->paused && !l->closed) {
        ssize_t n = l->ops->measure(l->in.data, l->in.len, l->packet_max);
        uint8_t cmd;

        if (n < 0) {
            l->closed = true;
            l->ops->on_close(&l->conn, (int)n, l->arg);
        }
        if (n <= 0 || (size_t)n > l->in.len)
            break;
        cmd = l->in.data[4];
        world.lied |= is_testimony(cmd) && !world.honest;
        l->ops->on_packet(&l->conn, l->in.data, (size_t)n, l->arg);
        if (cmd == FRAME_GATEWAY_CLIENT_CONNECT)
            drop_limits(l);
        if (cmd == FRAME_ACK || cmd == FRAME_WANTS)
            drop_grant(l);
        if (is_query(cmd))
            check_reply(l, world.open && !l->closed);
        check_all_events();
        buf_consume(&l->in, (size_t)n);
    }
}

static void link_feed(
    struct link_end *l, const uint8_t *data, size_t len, size_t piece)
{
    for (size_t at = 0; at < len && !l->closed; at += piece) {
        buf_append(&l->in, data + at, piece < len - at ? piece : len - at);
        link_deliver(l);
    }
}

static void link_open(size_t i)
{
    struct link_end *l = xcalloc(1, sizeof(*l));
    char peer[ADDR_TEXT_SIZE];

    snprintf(peer, sizeof(peer), "%s:%u", i % 2 ? "[2001:db8::1]" : "10.0.0.1",
        (unsigned)(WORLD_PORT + i));
    addr_parse(&l->peer, peer);
    world.links[i] = l;
    world.listener.accept_cb(
        &world.listener, (int)i, &l->peer, world.listener.arg);
}

static void link_end_by_peer(struct link_end *l)
{
    l->closed = true;
    l->ops->on_close(&l->conn, 0, l->arg);
}

static void link_drain(struct link_end *l)
{
    if (!l->conn.full)
        return;
    l->conn.full = false;
    l->ops->on_drain(&l->conn, l->arg);
    check_all_events();
    link_deliver(l);
}

static void put_label(struct buf *out, const struct label *label)
{
    assert(label_is_text(label->event, label->event_len));
    assert(label_is_text(label->id, label->id_len));
    label_put(out, label);
}

static const struct client_protocol event_stream = {
    .goes_one_way = true, .put_label = put_label};

/* Every other IPv6 client has an event stream. */
static void socket_open(size_t i, bool ipv6)
{
    struct socket *s = xcalloc(1, sizeof(*s));
    union addr peer;

    addr_parse(&peer, ipv6 ? "[2001:db8::7]:4321" : "192.0.2.7:4321");
    s->client = roster_add(world.commands.roster, &s->conn, &peer, 0);
    assert(s->client->id == ++world.last_id && world.last_id < WORLD_IDS);
    s->client->streams = ipv6 && world.last_id % 2 == 0;
    s->conn.protocol = s->client->streams ? &event_stream : NULL;
    world.sockets[i] = s;
    assert(router_forward(world.commands.router, s->client, FRAME_ON_CONNECT, 0,
               NULL, 0) == 0);
}

static void socket_ask(size_t i)
{
    static const struct httpcall request = {.remote_addr = "127.0.0.1",
        .head = {.method = "GET", .target = "/", .minor = 1}};
    struct socket *s = xcalloc(1, sizeof(*s));

    s->admission = admissions_begin(
        world.admissions, &s->conn, (const uint8_t *)"a:0:{}", 6);
    if (!world.call)
        world.call = calls_begin(world.calls, &world, &request,
            i % 2 == 0 ? "shop sendToUid" : NULL);
    if (s->admission)
        world.sockets[i] = s;
    else
        free(s);
}

/* It was let in by an answer with parts: now it is a client. */
static void socket_admit(struct socket *s)
{
    struct roster *roster = world.commands.roster;
    union addr peer;

    addr_parse(&peer, "192.0.2.7:4321");
    s->client = roster_add(roster, &s->conn, &peer, 0);
    assert(s->client->id == ++world.last_id && world.last_id < WORLD_IDS);
    assert(admissions_apply(s->admission, roster, s->client) == 0);
    assert(s->client->ngroups <= WORLD_GROUPS);
    admissions_forget(world.admissions, s->admission);
    s->admission = NULL;
    s->said = NULL;
    assert(router_forward(world.commands.router, s->client, FRAME_ON_CONNECT, 0,
               NULL, 0) == 0);
}

/* While it is paused its socket is not read. */
static void socket_speak(struct socket *s)
{
    if (s->said) {
        socket_admit(s);
        return;
    }
    if (!s->client || s->client->gone || s->conn.paused)
        return;
    assert(router_forward(world.commands.router, s->client, FRAME_ON_MESSAGE, 0,
               &s->spoken, sizeof(s->spoken)) == 0);
    s->spoken++;
}

static void socket_close(size_t i)
{
    struct socket *s = world.sockets[i];
    struct client *c = s->client;

    world.sockets[i] = NULL;
    if (s->admission)
        admissions_forget(world.admissions, s->admission);
    if (c) {
        const struct client_conn_end left = {
            CLIENT_CONN_LEFT, 1006, i % 2 ? "bye" : NULL, i};

        router_close(world.commands.router, c, &left);
        roster_remove(world.commands.roster, c);
        c->conn = NULL;
        roster_release(c);
    }
    fake_fini(&s->conn);
    free(s);
}

/* The first event of those, taken from out. */
static void begin_first(struct buf *events)
{
    ssize_t n = frame_measure(events->data, events->len, FRAME_MAX_LEN);
    struct frame f;

    assert(frame_decode(&f, events->data, (size_t)n) == 0);
    check_event(&f);
    buf_consume(events, (size_t)n);
}

static uint32_t first_client(const struct buf *events)
{
    struct frame f;

    assert(frame_decode(&f, events->data,
               (size_t)frame_measure(
                   events->data, events->len, FRAME_MAX_LEN)) == 0);
    return f.connection_id;
}

static bool is_waiting(const struct buf *events, uint32_t id)
{
    struct buf rest = *events;

    while (rest.len > 0) {
        if (first_client(&rest) == id)
            return true;
        buf_consume(
            &rest, (size_t)frame_measure(rest.data, rest.len, FRAME_MAX_LEN));
    }
    return false;
}

/* The worker of l takes the next events; those whose bit is set have to wait,
 * like all behind them of the same client. Some that waited begin. */
static void link_acknowledge(struct link_end *l, struct link_end *commands,
    uint32_t taken, uint8_t bits, unsigned begun)
{
    struct buf waits = {0}, begins = {0}, body = {0}, packet = {0};
    struct frame f = {.cmd = FRAME_ACK};
    uint32_t n = 0;

    if (commands->in.len > 0 || commands->paused)
        return;
    for (; n < taken && l->given.len > 0; n++) {
        size_t len =
            (size_t)frame_measure(l->given.data, l->given.len, FRAME_MAX_LEN);

        if (bits >> n % 8 & 1 ||
            is_waiting(&l->waiting, first_client(&l->given))) {
            ack_put_number(&waits, n);
            buf_append(&l->waiting, l->given.data, len);
            buf_consume(&l->given, len);
        } else {
            begin_first(&l->given);
        }
    }
    for (; begun > 0 && l->waiting.len > 0; begun--) {
        ack_put_number(&begins, first_client(&l->waiting));
        begin_first(&l->waiting);
    }
    ack_put(&body, n, 0, &waits, &begins);
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    world.honest = true;
    link_feed(commands, packet.data, packet.len, packet.len);
    world.honest = false;
    buf_fini(&waits);
    buf_fini(&begins);
    buf_fini(&body);
    buf_fini(&packet);
}

static void link_say(struct link_end *l, uint8_t cmd, const char *name,
    const char *const *features, const struct cmdjson_tokens *tokens)
{
    struct frame f = {.cmd = cmd};
    struct buf body = {0}, packet = {0};

    cmdjson_put_auth(&body, name, WORLD_KEY, features, tokens);
    f.body = body.data;
    f.body_len = body.len;
    frame_encode(&packet, &f);
    link_feed(l, packet.data, packet.len, packet.len);
    buf_fini(&body);
    buf_fini(&packet);
}

/* A well-formed introduction. partner: the place of the link with its commands,
 * if it is to acknowledge. */
static void link_introduce(
    struct link_end *l, const char *name, bool plain, size_t partner)
{
    static const char *const offer[] = {"close_info", "client_addr",
        "handshake", "ack", "session", "name", "handshake_answer",
        "on_handshake", "limits", "types", "request", "on_request", "receipts",
        "bound", "on_bound", "api", "far_book", NULL};
    static const char *const nothing[] = {NULL};
    char pair[16];
    struct cmdjson_tokens tokens = {
        .pair = partner < WORLD_LINKS ? pair : NULL, .machine = WORLD_MACHINE};

    snprintf(pair, sizeof(pair), "%zu", partner);
    if (tokens.pair && !plain && world.links[partner])
        link_say(world.links[partner], FRAME_GATEWAY_CLIENT_CONNECT, NULL,
            nothing, &tokens);
    link_say(l, FRAME_WORKER_CONNECT, name, plain ? NULL : offer, &tokens);
}

static void on_worker(void *arg)
{
}

static void on_decision(const struct frame *f, uint32_t serial, void *arg)
{
    admissions_answer(world.admissions, f, serial);
}

static void on_worker_gone(uint32_t serial, void *arg)
{
    admissions_worker_gone(world.admissions, serial);
}

static void on_called(void *asker, const struct answer *said, unsigned status)
{
    assert(asker == &world && world.call);
    assert(said ? said->status == status : status == 502 || status == 503);
    calls_forget(world.calls, world.call);
    world.call = NULL;
}

static void on_reply(const struct frame *f, uint32_t serial, void *arg)
{
    calls_answer(world.calls, f, serial);
}

static void on_request_begun(const struct frame *f, uint32_t serial, void *arg)
{
    calls_begun(world.calls, serial, f->body, f->body_len);
}

static void on_worker_settled(const struct router_worker *w, void *arg)
{
    calls_worker_settled(world.calls, w);
}

static void world_start(struct turn *turn, enum gateway_router mode, bool open)
{
    struct router_conf conf = {.mode = mode,
        .local_ip = 0x7f000001,
        .high_water = 1600,
        .client_share = 100,
        .begin_window = 8};
    struct inner_conf inner = {
        .turn = turn,
        .commands = &world.commands,
        .name = WORLD_NAME,
        .secret_key = open ? "" : WORLD_KEY,
        .machine = WORLD_MACHINE,
        .on_worker = on_worker,
        .on_decision = on_decision,
        .on_worker_gone = on_worker_gone,
        .on_reply = on_reply,
        .on_request_begun = on_request_begun,
        .on_worker_settled = on_worker_settled,
    };

    world = (struct world){
        .turn = turn, .open = open, .by_uid = mode == GATEWAY_ROUTER_HASH_UID};
    assert(roster_new(&world.commands.roster, -1) == 0);
    world.commands.router = inner.router = router_new(&conf);
    world.calls = calls_new(
        &(struct calls_conf){inner.router, WORLD_RESPONSE, on_called});
    world.admissions = admissions_new(inner.router,
        &(struct admissions_limits){GATEWAY_SESSION_MAX, WORLD_GROUPS});
    assert(inner_open(&world.inner, -1, 0, &inner) == 0);
}

/* All clients leave, and a worker hears of every one of them. */
static void world_finish(void)
{
    for (size_t i = 0; i < WORLD_SOCKETS; i++)
        if (world.sockets[i])
            socket_close(i);
    for (size_t i = 0; i < WORLD_LINKS; i++)
        if (world.links[i] && !world.links[i]->closed)
            link_end_by_peer(world.links[i]);
    world_check();
    link_open(0);
    link_introduce(world.links[0], "last", false, WORLD_LINKS);
    world_check();
    for (uint32_t id = 1; id <= world.last_id; id++)
        assert(world.heard[id].closed || anything_goes());
    assert(router_held_count(world.commands.router) == 0);
    assert(roster_group_count(world.commands.roster) == 0);
    assert(roster_uid_count(world.commands.roster) == 0);
    inner_close(world.inner);
    world_check();
    calls_free(world.calls);
    admissions_free(world.admissions);
    router_free(world.commands.router);
    roster_free(world.commands.roster);
    commands_fini(&world.commands);
}

#endif /* SPEC_FUZZ_INNER_WORLD_H */
