/* Which events have begun: what a gateway need not keep for another worker.
 *
 * It learns that before anything that a handler did leaves this process: the
 * ACK of a turn goes first, on the command link, then the commands, then how
 * many handlers are through. So a process that is killed either did nothing
 * that anybody saw, and its events are given to others, or they are known to
 * have begun. */
#include <assert.h>
#include <string.h>

#include "wire/ack.h"
#include "wire/bigendian.h"
#include "worker/gateways_impl.h"

static bool is_empty(const struct acks *a)
{
    return a->taken == 0 && a->waits.len == 0 && a->begins.len == 0;
}

static void put(struct peer *p, struct buf *out, uint32_t ended)
{
    struct acks *a = &p->acks;
    struct buf *body = &p->g->scratch;
    struct frame f = {.cmd = FRAME_ACK, .flag = FRAME_FLAG_STRING};

    buf_clear(body);
    ack_put(body, a->taken, ended, &a->waits, &a->begins);
    f.body = body->data;
    f.body_len = body->len;
    frame_encode(out, &f);
    a->told += a->taken;
    a->taken = 0;
    buf_clear(&a->waits);
    buf_clear(&a->begins);
}

static void put_requests(struct peer *p)
{
    struct buf *numbers = &p->acks.requests;
    struct frame f = {.cmd = FRAME_REQUEST_BEGUN,
        .flag = FRAME_FLAG_STRING,
        .body = numbers->data,
        .body_len = numbers->len};

    frame_encode(conn_out_first(p->commands), &f);
    buf_clear(numbers);
}

static void put_begun(struct peer *p)
{
    if (!is_empty(&p->acks))
        put(p, conn_out_first(p->commands), 0);
    if (p->acks.requests.len > 0)
        put_requests(p);
}

/* Behind the commands of these handlers. */
static void put_ended(struct peer *p)
{
    if (p->acks.ended > 0)
        put(p, conn_out(p->commands), p->acks.ended);
    p->acks.ended = 0;
}

/* An answer that nobody has read resets the link when this process dies, and
 * what the kernel has kept back is lost. */
static void send_begun(struct peer *p)
{
    conn_send_first(p->commands, p->npending == 0);
}

static void on_turn_end(struct turn_task *task)
{
    struct gateways *g = LIST_ENTRY(task, struct gateways, ack);
    struct list *node;
    size_t busy = 0;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->link != 0) {
            put_begun(p);
            put_ended(p);
        }
        busy += p->commands && conn_queued(p->commands) > 0;
    }
    /* Else all that leaves is in one write, with the ACK in front. */
    if (busy > 1)
        gateways_acknowledge(g);
}

void gateways_acknowledge(struct gateways *g)
{
    struct list *node;

    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->link == 0)
            continue;
        put_begun(p);
        send_begun(p);
    }
}

void gateways_send_done(struct gateways *g)
{
    struct list *node;

    gateways_acknowledge(g);
    LIST_FOREACH (node, &g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->link != 0)
            put_ended(p);
        if (p->commands)
            conn_send(p->commands);
        if (p->events)
            conn_send(p->events);
    }
}

/* A packet of that command with a number in it, which is yet to be set. */
static void put_last(struct buf *out, uint8_t cmd)
{
    static const uint8_t number[4];
    struct frame f = {.cmd = cmd,
        .flag = FRAME_FLAG_STRING,
        .body = number,
        .body_len = sizeof(number)};

    frame_encode(out, &f);
}

/* For a signal handler. */
static void send_last(
    const struct peer *p, const struct buf *last, uint32_t number)
{
    uint8_t packet[FRAME_HEAD_LEN + 4];

    if (!p->commands)
        return;
    assert(last->len == sizeof(packet));
    memcpy(packet, last->data, FRAME_HEAD_LEN);
    put32(packet + FRAME_HEAD_LEN, number);
    conn_send_last_word(p->commands, packet, sizeof(packet));
}

void acks_open(struct gateways *g)
{
    list_init(&g->ack.node);
    g->ack.run = on_turn_end;
    put_last(&g->last_word, FRAME_HANGS);
    put_last(&g->last_request, FRAME_REQUEST_BEGUN);
}

void acks_close(struct gateways *g)
{
    turn_cancel(&g->ack);
    buf_fini(&g->scratch);
    buf_fini(&g->last_word);
    buf_fini(&g->last_request);
}

void acks_begin(struct peer *p)
{
    if (++p->g->last_link == 0)
        p->g->last_link = 1;
    p->link = p->g->last_link;
}

void acks_end(struct peer *p)
{
    if (p->link != 0 && p->commands) {
        put_begun(p);
        put_ended(p);
    }
    p->link = 0;
    buf_fini(&p->acks.waits);
    buf_fini(&p->acks.begins);
    buf_fini(&p->acks.requests);
    p->acks = (struct acks){0};
}

void acks_take(struct peer *p)
{
    p->acks.taken++;
    turn_schedule_first(p->g->turn, &p->g->ack);
}

void acks_note(struct peer *p, enum gateways_event became)
{
    if (became == GATEWAYS_ENDED)
        p->acks.ended++;
    else if (became == GATEWAYS_QUEUED)
        ack_put_number(&p->acks.waits, p->acks.taken - 1);
}

/* Who gave the event and still is to be told; or NULL. */
static struct peer *giver(
    const struct gateways *g, const struct client_id *id, uint32_t link)
{
    struct peer *p =
        link ? gateways_find(g, id->local_ip, id->local_port) : NULL;

    return p && p->link == link ? p : NULL;
}

void gateways_begins(
    struct gateways *g, const struct client_id *id, uint32_t link)
{
    struct peer *p = giver(g, id, link);

    if (!p)
        return;
    ack_put_number(&p->acks.begins, id->connection_id);
    turn_schedule_first(g->turn, &g->ack);
}

void gateways_ended(
    struct gateways *g, const struct client_id *id, uint32_t link)
{
    struct peer *p = giver(g, id, link);

    if (!p)
        return;
    p->acks.ended++;
    turn_schedule_first(g->turn, &g->ack);
}

uint32_t gateways_number(
    const struct gateways *g, const struct client_id *id, uint32_t link)
{
    const struct peer *p = giver(g, id, link);

    return p ? p->acks.told + p->acks.taken : 0;
}

void gateways_tell_hanging(const struct gateways *g, const struct client_id *id,
    uint32_t link, uint32_t number)
{
    const struct peer *p = giver(g, id, link);

    if (p)
        send_last(
            p, &g->last_word, number ? number : gateways_number(g, id, link));
}

void gateways_request_begins(
    struct gateways *g, struct gateways_address from, uint32_t number)
{
    struct peer *p = gateways_find(g, from.ip, from.port);

    if (!p || p->link == 0)
        return;
    ack_put_number(&p->acks.requests, number);
    turn_schedule_first(g->turn, &g->ack);
}

void gateways_tell_hanging_request(
    const struct gateways *g, struct gateways_address from, uint32_t number)
{
    const struct peer *p = gateways_find(g, from.ip, from.port);

    if (p && p->link != 0)
        send_last(p, &g->last_request, number);
}
