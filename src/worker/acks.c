/* Which events have begun: what a gateway need not keep for another worker.
 *
 * With a page (proc/claims.h) each event is claimed before it begins, and the
 * gateway reads there what the worker could not tell any more. One ACK of a
 * turn, behind the commands, says what need not be kept and how many handlers
 * are through.
 *
 * Without, the gateway learns it before anything that a handler did leaves this
 * process: the ACK of a turn goes first, on the command link, then the
 * commands, then how many handlers are through. So a process that is killed
 * either did nothing that anybody saw, and its events are given to others, or
 * they are known to have begun. */
#include "worker/acks.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util/log.h"
#include "wire/ack.h"
#include "wire/bigendian.h"
#include "wire/frame.h"

/* ---- what is put into the link ---- */

static bool is_empty(const struct acks_link *l)
{
    return l->taken == 0 && l->waits.len == 0 && l->begins.len == 0;
}

static void put(struct acks_link *l, struct buf *out, uint32_t ended)
{
    struct buf *body = &l->all->scratch;
    struct frame f = {.cmd = FRAME_ACK, .flag = FRAME_FLAG_STRING};

    buf_clear(body);
    ack_put(body, l->taken, ended, &l->waits, &l->begins);
    f.body = body->data;
    f.body_len = body->len;
    frame_encode(out, &f);
    l->told += l->taken;
    l->taken = 0;
    buf_clear(&l->waits);
    buf_clear(&l->begins);
}

static void put_numbers(struct acks_link *l, uint8_t cmd, struct buf *numbers)
{
    struct frame f = {.cmd = cmd,
        .flag = FRAME_FLAG_STRING,
        .body = numbers->data,
        .body_len = numbers->len};

    frame_encode(conn_out_first(l->commands), &f);
    buf_clear(numbers);
}

void acks_put_begun(struct acks_link *l)
{
    if (!l->page && !is_empty(l))
        put(l, conn_out_first(l->commands), 0);
    if (l->requests.len > 0)
        put_numbers(l, FRAME_REQUEST_BEGUN, &l->requests);
    if (l->wants.len > 0) /* behind the ACK that says that they wait */
        put_numbers(l, FRAME_WANTS, &l->wants);
}

/* Behind the commands of these handlers. */
void acks_put_ended(struct acks_link *l)
{
    if (l->ended > 0 || (l->page && !is_empty(l)))
        put(l, conn_out(l->commands), l->ended);
    l->ended = 0;
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
    const struct acks_link *l, const struct buf *last, uint32_t number)
{
    uint8_t packet[FRAME_HEAD_LEN + 4];

    if (!l->commands)
        return;
    assert(last->len == sizeof(packet));
    memcpy(packet, last->data, FRAME_HEAD_LEN);
    put32(packet + FRAME_HEAD_LEN, number);
    conn_send_last_word(l->commands, packet, sizeof(packet));
}

/* ---- links ---- */

void acks_open(
    struct acks *all, struct turn *turn, void (*run)(struct turn_task *task))
{
    all->turn = turn;
    list_init(&all->task.node);
    all->task.run = run;
    put_last(&all->last_word, FRAME_HANGS);
    put_last(&all->last_request, FRAME_REQUEST_BEGUN);
}

void acks_close(struct acks *all)
{
    turn_cancel(&all->task);
    idmap_fini(&all->links);
    buf_fini(&all->scratch);
    buf_fini(&all->last_word);
    buf_fini(&all->last_request);
}

void acks_begin(struct acks *all, struct acks_link *l, struct conn *commands)
{
    if (++all->last_number == 0)
        all->last_number = 1;
    l->all = all;
    l->commands = commands;
    l->number = all->last_number;
    idmap_put(&all->links, l->number, l);
}

int acks_join(
    struct acks_link *l, const char *prefix, const void *name, size_t len)
{
    int err = l->page || l->told + l->taken > 0
                  ? -EPROTO
                  : claims_open(&l->page, prefix, name, len);

    if (err == 0)
        claims_join_requests(l->page, l->requests_begun);
    return err;
}

void acks_set_limit(struct acks_link *l, uint32_t limit)
{
    l->windowed = true;
    l->limit = limit;
}

/* Numbers go on: the gateway counts what it gave. */
int acks_renew(
    struct acks_link *l, const char *prefix, const void *name, size_t len)
{
    struct claims *page;
    int err;

    if (!l->page || !l->commands)
        return -EPROTO;
    acks_put_begun(l);
    acks_put_ended(l);
    err = claims_open(&page, prefix, name, len);
    if (err < 0)
        return err;
    claims_close(l->page);
    claims_join_requests(page, l->requests_begun);
    l->page = page;
    l->over = 0;
    return 0;
}

void acks_cut(struct acks_link *l)
{
    l->commands = NULL;
}

void acks_end(struct acks_link *l)
{
    if (l->number == 0)
        return;
    if (l->commands) {
        acks_put_begun(l);
        acks_put_ended(l);
    }
    idmap_remove(&l->all->links, l->number);
    claims_close(l->page);
    buf_fini(&l->waits);
    buf_fini(&l->begins);
    buf_fini(&l->requests);
    buf_fini(&l->wants);
    idmap_fini(&l->queued);
    *l = (struct acks_link){0};
}

/* An event with the number 0, of four thousand million, passes for begun. */
void acks_put_left(const struct acks_link *l, const char *pair, struct buf *out)
{
    struct buf unbegun = {0};

    for (size_t i = 0; i < l->queued.size; i++)
        if (l->queued.ids[i] != 0)
            ack_put_number(&unbegun, l->queued.ids[i]);
    ack_put_left(out, pair, l->told + l->taken, &unbegun);
    buf_fini(&unbegun);
}

static void schedule(struct acks *all)
{
    turn_schedule_first(all->turn, &all->task);
}

/* ---- events ---- */

/* What the gateway has taken back is with others, and another page is on its
 * way, or the end of the links. Else they end with the turn: acks.task sees to
 * that. */
__attribute__((noinline)) static void give_up(struct acks_link *l, int err)
{
    if (l->over == 0 && err != -ECANCELED)
        log_error("a page of claims is not valid, its links are closed");
    l->over = err;
    schedule(l->all);
}

static bool claim(struct acks_link *l, uint32_t number)
{
    int err = claims_begin(l->page, number);

    if (err < 0)
        give_up(l, err);
    return err == 0;
}

void acks_take(struct acks_link *l)
{
    l->taken++;
    l->claimed = false;
    schedule(l->all);
}

static void queue(struct acks_link *l)
{
    ack_put_number(&l->waits, l->taken - 1);
    if (l->keeps)
        idmap_add(&l->queued, l->told + l->taken);
}

/* What the gateway is told to have begun was claimed, also where no handler was
 * needed. */
void acks_note(struct acks_link *l, enum acks_event became)
{
    if (l->page && became != ACKS_QUEUED && !l->claimed &&
        !claim(l, l->told + l->taken))
        became = ACKS_QUEUED;
    if (became == ACKS_ENDED)
        l->ended++;
    else if (became == ACKS_QUEUED)
        queue(l);
}

bool acks_may_begin(struct acks *all, uint32_t link)
{
    struct acks_link *l = idmap_get(&all->links, link);

    if (!l || !l->page)
        return true;
    l->claimed = claim(l, l->told + l->taken);
    return l->claimed;
}

bool acks_is_windowed(const struct acks *all, uint32_t link)
{
    const struct acks_link *l = idmap_get(&all->links, link);

    return l && l->windowed;
}

void acks_want(struct acks *all, uint32_t link, uint32_t connection_id)
{
    struct acks_link *l = idmap_get(&all->links, link);

    if (!l)
        return;
    ack_put_number(&l->wants, connection_id);
    schedule(all);
}

bool acks_may_begin_queued(
    struct acks *all, uint32_t link, uint32_t number, uint32_t connection_id)
{
    struct acks_link *l = idmap_get(&all->links, link);

    if (!l)
        return true;
    if (l->page && !claim(l, number))
        return false;
    if (l->keeps)
        idmap_remove(&l->queued, number);
    ack_put_number(&l->begins, connection_id);
    schedule(all);
    return true;
}

void acks_ended(struct acks *all, uint32_t link)
{
    struct acks_link *l = idmap_get(&all->links, link);

    if (!l)
        return;
    l->ended++;
    schedule(all);
}

uint32_t acks_number(const struct acks *all, uint32_t link)
{
    const struct acks_link *l = idmap_get(&all->links, link);

    return l ? l->told + l->taken : 0;
}

void acks_tell_hanging(const struct acks *all, uint32_t link, uint32_t number)
{
    const struct acks_link *l = idmap_get(&all->links, link);

    if (l)
        send_last(l, &all->last_word, number ? number : l->told + l->taken);
}

/* ---- requests ---- */

bool acks_request_begins(struct acks_link *l, uint32_t number)
{
    if (l->number == 0)
        return true;
    if (l->page && !claims_begin_request(l->page))
        return false;
    l->requests_begun++;
    ack_put_number(&l->requests, number);
    schedule(l->all);
    return true;
}

void acks_tell_hanging_request(const struct acks_link *l, uint32_t number)
{
    if (l->number != 0)
        send_last(l, &l->all->last_request, number);
}
