/* What comes on the two links of a gateway: answers on the one for commands; on
 * the other events, and what the gateway says beside them, each in a function
 * of the table link_commands. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "wire/bigendian.h"
#include "wire/framing.h"
#include "worker/gateways_impl.h"

/* Whether it is a grant, which no answer looks like. */
static bool take_grant(struct peer *p, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_reply_message(packet, len);
    size_t count = m.len / sizeof(uint32_t);

    if (m.len % sizeof(uint32_t) != 1 || count == 0 || m.data[0] != FRAME_GRANT)
        return false;
    acks_set_limit(&p->acks, get32(m.data + 1));
    for (size_t i = 1; i < count; i++) {
        const struct client_id id = {
            p->at.ip, p->at.port, get32(m.data + 1 + i * sizeof(uint32_t))};

        p->g->ops->on_granted(&id, p->g->arg);
    }
    return true;
}

static void on_answer(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct peer *p = arg;

    if (p->greets)
        allowed_hear(p, packet, len);
    else if (p->acks.windowed && take_grant(p, packet, len))
        gateways_hold_events(p->g, p->at, p->held);
    else if (queries_take_answer(&p->answers, packet, len) < 0)
        log_warn("answer to no question gateway=%s", p->name);
}

static void on_commands_closed(struct conn *c, int err, void *arg)
{
    struct peer *p = arg;

    p->commands = NULL;
    acks_cut(&p->acks);
    p->cuts = 0;
    p->events_after = 0;
    peer_lose_links(p, err);
}

static void on_events_closed(struct conn *c, int err, void *arg)
{
    struct peer *p = arg;

    p->events = NULL;
    cuts_note(p, err);
    peer_lose_links(p, err);
}

/* Client ids name the gateway as it calls itself; commands to them go where a
 * register said that it is. */
static void check_address(struct peer *p, const struct frame *f)
{
    union addr own = {.in = {.sin_family = AF_INET,
                          .sin_port = htons(f->local_port),
                          .sin_addr.s_addr = htonl(f->local_ip)}};
    char text[ADDR_TEXT_SIZE];

    if ((f->local_ip == p->at.ip && f->local_port == p->at.port) ||
        p->address_logged || frame_is_of_other(f))
        return;
    p->address_logged = true;
    log_warn("gateway %s calls itself %s in its events: its clients cannot be "
             "answered; make its lan_ip and start_port the address that it "
             "registers",
        p->name, addr_format(text, &own));
}

/* The end of a client that was given up. One that goes on ends again. */
static bool is_known_loss(struct peer *p, const struct frame *f)
{
    struct client_id id = {p->at.ip, p->at.port, f->connection_id};

    if (frame_is_of_other(f))
        id = frame_client(f);
    return losses_strike(&p->g->losses, &id) && f->cmd == FRAME_ON_CLOSE;
}

/* The gateway's book had no room for this client. */
static bool is_left_out(const struct frame *f)
{
    return f->cmd == FRAME_ON_CONNECT && !frame_has_place(f);
}

/* It may be one of a gateway that is gone. */
static void forget_client(struct peer *p, const struct frame *f)
{
    if (frame_is_of_other(f))
        p = gateways_find(p->g, f->local_ip, f->local_port);
    if (p)
        keepers_forget(p, f->connection_id);
}

static void hand_on(struct peer *p, const struct frame *f)
{
    enum acks_event became = ACKS_ENDED;

    if (p->revoked || p->acks.over != 0) { /* others have it */
        acks_take(&p->acks);
        acks_note(&p->acks, ACKS_QUEUED);
        return;
    }
    if (f->cmd == FRAME_ON_CLOSE)
        forget_client(p, f);
    else if (!p->keeps_book || is_left_out(f))
        idmap_add(&p->clients, f->connection_id);
    if (p->acks.number != 0)
        acks_take(&p->acks);
    p->g->arrived = p->arrived;
    if (!is_known_loss(p, f))
        became = p->g->ops->on_event(f, p->acks.number, p->g->arg);
    if (p->acks.number == 0)
        return;
    acks_note(&p->acks, became);
    if (acks_is_full(&p->acks))
        conn_pause(p->events);
}

/* What may be done with sessions, or what may not be counted on any more. */
static void on_session(struct peer *p, const struct frame *f)
{
    const struct client_id id = {p->at.ip, p->at.port, f->connection_id};

    if (f->connection_id != 0) {
        p->g->ops->on_session(&id, f, p->g->arg);
    } else if (f->body_len == 2 * sizeof(uint32_t) && p->acks.number != 0) {
        p->sessions.max = get32(f->body);
        p->session_max = p->sessions.max;
        p->sessions.confirmed = get32(f->body + sizeof(uint32_t));
    }
}

/* A client that another worker had; or, of none, a question. What becomes of it
 * is told to nobody: it is no event of the client's. */
static void on_bound(struct peer *p, const struct frame *f)
{
    if (f->connection_id == 0) {
        watches_take(p, f);
        return;
    }
    if (f->flag & FRAME_FLAG_SESSION)
        p->sessions.confirmed = f->changes;
    if (!p->keeps_book)
        idmap_add(&p->clients, f->connection_id);
    (void)is_known_loss(p, f); /* it lives */
    if (f->body_len > 0)       /* that was for us, not for the script */
        return;
    p->g->arrived = p->arrived;
    p->g->ops->on_event(f, 0, p->g->arg);
}

static void on_handshake(struct peer *p, const struct frame *f)
{
    p->g->ops->on_handshake(p->at, f, p->g->arg);
}

static void on_request(struct peer *p, const struct frame *f)
{
    p->g->ops->on_request(p->at, f, p->g->arg);
}

static void on_limits(struct peer *p, const struct frame *f)
{
    allowed_take(p, f->body, f->body_len);
    keepers_settle(p);
}

static void on_ack(struct peer *p, const struct frame *f)
{
    if (p->acks.number != 0 || !p->commands)
        return;
    acks_begin(&p->g->acks, &p->acks, p->commands);
    p->acks.keeps = p->wants_left;
}

/* Where the page cannot be joined the gateway finds it so. */
static void on_claims(struct peer *p, const struct frame *f)
{
    int err;

    if (p->acks.page) {
        peer_renew(p, f);
        return;
    }
    err = p->acks.number == 0 || !p->g->conf->claims
              ? -ENOTSUP
              : acks_join(&p->acks, p->g->conf->claims, f->body, f->body_len);

    if (err == 0)
        receipts_show(&p->receipts, p->acks.page);
    /* What is not there has most likely gone with the gateway. */
    else
        log_write(err == -ENOENT ? LOG_INFO : LOG_WARN, __FILE__,
            "no page of claims with gateway %s: should this worker be lost, an "
            "event that it began may be given to another one err=%s",
            p->name, strerror(-err));
}

/* From the first event on; else there is no window. */
static void on_window(struct peer *p, const struct frame *f)
{
    if (p->acks.number != 0 && !p->has_spoken && !p->acks.page &&
        f->body_len == sizeof(uint32_t))
        acks_set_limit(&p->acks, get32(f->body));
}

static void on_types(struct peer *p, const struct frame *f)
{
    p->types = true;
}

static void on_name(struct peer *p, const struct frame *f)
{
    free(p->listener);
    p->listener = xstrndup((const char *)f->body, f->body_len);
}

static void on_arrived(struct peer *p, const struct frame *f)
{
    if (f->body_len == FRAME_ARRIVED_LEN)
        p->arrived = get64(f->body);
}

static void on_ping(struct peer *p, const struct frame *f)
{
}

/* What p says makes no sense. p may be gone. */
static void refuse(struct peer *p, int err)
{
    conn_close(p->events);
    p->events = NULL;
    peer_lose_links(p, err);
}

static void on_handled(struct peer *p, const struct frame *f)
{
    int err = receipts_take(&p->receipts, p->name, f);

    if (err < 0)
        refuse(p, err);
}

/* What comes on the event link and is no event. */
static void (*const link_commands[UINT8_MAX + 1])(
    struct peer *p, const struct frame *f) = {
    [FRAME_PING] = on_ping,
    [FRAME_ARRIVED] = on_arrived,
    [FRAME_HANDSHAKE_WATCH] = watches_take,
    [FRAME_HANDSHAKE] = on_handshake,
    [FRAME_REQUEST_WATCH] = watches_take,
    [FRAME_REQUEST] = on_request,
    [FRAME_ACK] = on_ack,
    [FRAME_SESSION] = on_session,
    [FRAME_LIMITS] = on_limits,
    [FRAME_NAME] = on_name,
    [FRAME_TYPES] = on_types,
    [FRAME_BOOK] = marks_take,
    [FRAME_HANDLED] = on_handled,
    [FRAME_BOUND] = on_bound,
    [FRAME_LEFT] = remains_take,
    [FRAME_KEEPS] = keepers_take,
    [FRAME_WINDOW] = on_window,
    [FRAME_CLAIMS] = on_claims,
};

static void on_event(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct peer *p = arg;
    struct frame f;
    int err = frame_decode(&f, packet, len);

    if (err < 0) {
        refuse(p, err);
        return;
    }
    if (link_commands[f.cmd]) {
        link_commands[f.cmd](p, &f);
        return;
    }
    if (acks_is_full(&p->acks)) { /* read because the link is broken */
        refuse(p, -EPIPE);
        return;
    }
    if (marks_check(p, &f) < 0)
        return;
    if (f.flag & FRAME_FLAG_SESSION)
        p->sessions.confirmed = f.changes;
    if (!p->has_spoken)
        receipts_settle(&p->receipts);
    p->has_spoken = true;
    check_address(p, &f);
    hand_on(p, &f);
}

const struct conn_ops peer_command_ops = {
    .measure = framing_reply_measure,
    .on_packet = on_answer,
    .on_close = on_commands_closed,
};

const struct conn_ops peer_event_ops = {
    .measure = frame_measure,
    .on_packet = on_event,
    .on_close = on_events_closed,
};
