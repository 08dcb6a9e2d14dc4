/* From a link's frames to handlers: mailboxes, their queues, and who has a
 * turn. Of a client at most one handler runs or waits at a time, in the order
 * of its events; an event is begun once, and its link is told of each step. */
#include "worker/dispatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "worker/coro_impl.h"
#include "worker/dispatch_impl.h"
#include "worker/events.h"
#include "worker/gateways_impl.h"
#include "worker/vm_impl.h"

static void drain(struct mailbox *m);

/* Nothing runs and nothing waits: keep it only for its session record. */
static void settle(struct mailbox *m)
{
    session_settle(m);
    if (m->record)
        mailboxes_file(m);
    else
        mailboxes_release(m);
}

/* ---- running handlers ---- */

static struct dispatch *dispatch_of(const struct mailbox *m)
{
    return LIST_ENTRY(m->all, struct dispatch, mailboxes);
}

static void measure(struct dispatch *d, const struct mailbox *m)
{
    uint64_t now = clock_precise(turn_loop(d->turn));

    histogram_add(
        &d->handlers->event_times, now > m->arrived ? now - m->arrived : 0);
    handlers_took(d->handlers, events_callback(m->cmd), m->begun, now);
}

static void on_handled(struct mailbox *m, const char *error)
{
    struct dispatch *d = dispatch_of(m);
    char id[CLIENT_ID_LEN + 1];

    if (error) {
        client_id_format(id, &m->client.id);
        handlers_fail(d->handlers, events_callback(m->cmd), id, error);
    }
    if (m->arrived)
        measure(d, m);
    m->vm = NULL;
    m->event = NULL;
    if (m->cmd == FRAME_ON_CLOSE)
        session_forget(m);
    if (!m->starting) { /* else the caller of run() goes on */
        acks_ended(d->acks, m->link);
        drain(m);
    }
}

/* Is the client's close queued, or running? It has no event behind it. */
static bool is_gone(const struct mailbox *m)
{
    if (m->cmd == FRAME_ON_CLOSE)
        return true;
    return !list_empty(&m->queue) &&
           LIST_ENTRY(m->queue.prev, struct event, node)->f.cmd ==
               FRAME_ON_CLOSE;
}

int dispatch_watch_client(lua_State *L, struct dispatch_watch *watch)
{
    struct mailbox *m = mailboxes_of(L);

    if (!m)
        return -EINVAL;
    if (is_gone(m))
        return -ENOTCONN;
    list_init(&watch->node);
    list_push_back(&m->watches, &watch->node);
    return 0;
}

/* The running handler may end in this, and m with it. */
static void tell_gone(struct mailbox *m)
{
    struct dispatch_watch *watch;

    if (list_empty(&m->watches) || !is_gone(m))
        return;
    watch = LIST_ENTRY(m->watches.next, struct dispatch_watch, node);
    watch->gone(watch);
}

/* Another worker has begun it, or nobody is to: as if it had ended. */
static void skip(struct mailbox *m, const struct event *e)
{
    m->cmd = e->f.cmd;
    dispatch_of(m)->skipped++;
    if (e->f.cmd == FRAME_ON_CLOSE)
        session_forget(m);
}

/* Run one event until it ends or waits. */
static void run(struct mailbox *m, const struct event *e)
{
    struct dispatch *d = dispatch_of(m);

    if (!gateways_may_begin(d->gateways, &e->f, e->link)) {
        skip(m, e);
        return;
    }
    m->vm = d->vm;
    m->cmd = e->f.cmd;
    m->link = e->link;
    m->event = e;
    m->arrived = e->arrived;
    m->begun = handlers_now(d->handlers);
    m->client = (struct coro_client){
        .id = frame_client(&e->f),
        .client_ip = e->f.client_ip,
        .client_port = e->f.client_port,
        .gateway_port = e->f.gateway_port,
        .streams = e->f.flag & FRAME_FLAG_STREAM,
    };
    memcpy(m->client.client_ip6, e->f.client_ip6, FRAME_IPV6_LEN);
    session_begin(m);
    d->handlers->begun++;
    /* Should it be what kills workers, it must not get a third one, nor take
     * what others did before it in this turn. */
    if (e->f.flag & FRAME_FLAG_AGAIN)
        gateways_send_done(d->gateways);
    m->starting = true;
    d->running = e;
    coro_start(d->vm, events_callback(m->cmd), events_call, m, &m->client,
        mailboxes_on_done, m);
    d->running = NULL;
    m->starting = false;
    if (!m->vm)
        return;
    session_keep(m);
    m->event = NULL;
    mailboxes_file(m);
}

static void make_ready(struct mailbox *m)
{
    struct dispatch *d = dispatch_of(m);

    list_remove(&m->node);
    list_push_back(&d->ready, &m->node);
    turn_schedule(d->turn, &d->ready_task);
    if (d->vm)
        vm_hold_quiet(d->vm, true);
}

static bool can_go_on(const struct mailbox *m)
{
    return !m->vm && dispatch_of(m)->vm && !list_empty(&m->queue);
}

static struct event *first_queued(const struct mailbox *m)
{
    return LIST_ENTRY(m->queue.next, struct event, node);
}

/* Whether its gateway lets the first of what is queued begin; else it is asked.
 */
static bool has_leave(struct mailbox *m)
{
    struct event *e = first_queued(m);

    if (e->leave == EVENT_ASKS) {
        acks_want(dispatch_of(m)->acks, e->link, m->key.connection_id);
        e->leave = EVENT_ASKED;
    }
    return e->leave == EVENT_MAY;
}

/* Others have it: its gateway has taken it back. */
static void leave_to_others(struct dispatch *d, const struct event *e)
{
    if (e->f.cmd == FRAME_ON_CLOSE)
        gateways_keep_client(d->gateways, &e->f);
    d->forgotten++;
}

/* Run the first of what is queued. */
static void run_next(struct mailbox *m)
{
    struct dispatch *d = dispatch_of(m);
    struct event *e = mailboxes_next(m);

    if (acks_may_begin_queued(
            d->acks, e->link, e->number, frame_ack_id(&e->f))) {
        run(m, e);
        if (!m->vm)
            acks_ended(d->acks, e->link);
    } else {
        leave_to_others(d, e);
    }
    free(e);
}

/* Have the handlers had the time of this turn? */
static bool is_late(const struct dispatch *d)
{
    return d->vm->spent >= DISPATCH_TURN &&
           d->vm->spent_in == clock_now(turn_loop(d->turn));
}

/* Run what is queued, one after the other, until one waits. */
static void drain(struct mailbox *m)
{
    while (can_go_on(m) && has_leave(m)) {
        if (is_late(dispatch_of(m))) {
            make_ready(m);
            return;
        }
        run_next(m);
    }
    if (mailboxes_is_idle(m))
        settle(m);
}

/* Run one, then it is for others to have a turn. */
static void take_turn(struct mailbox *m)
{
    if (can_go_on(m) && has_leave(m))
        run_next(m);
    if (can_go_on(m) && has_leave(m))
        make_ready(m);
    else if (mailboxes_is_idle(m))
        settle(m);
}

static void enqueue(struct mailbox *m, const struct event *e)
{
    const struct acks *acks = dispatch_of(m)->acks;

    mailboxes_enqueue(m, e, acks_number(acks, e->link));
    /* A grant names only the gateway's own clients. */
    if (acks_is_windowed(acks, e->link) && !frame_is_of_other(&e->f))
        LIST_ENTRY(m->queue.prev, struct event, node)->leave = EVENT_ASKS;
}

static enum acks_event handle(struct dispatch *d, const struct event *e)
{
    const struct client_id id = frame_client(&e->f);
    struct mailbox *m = mailboxes_find(&d->mailboxes, &id);
    bool waits;

    if (!m)
        m = mailboxes_take(&d->mailboxes, &id);
    session_arrive(m, &e->f);
    waits = m->vm || !d->vm || !list_empty(&m->queue);
    if (waits || is_late(d)) {
        enqueue(m, e);
        /* Not now: the gateway must hear that it waits before it begins. */
        if (!waits || (e->f.cmd == FRAME_ON_CLOSE && !list_empty(&m->watches)))
            make_ready(m);
        return ACKS_QUEUED;
    }
    if (!acks_may_begin(d->acks, e->link)) {
        leave_to_others(d, e);
        settle(m);
        return ACKS_QUEUED;
    }
    run(m, e);
    if (m->vm)
        return ACKS_RUNS;
    settle(m);
    return ACKS_ENDED;
}

/* In its gateway, if that tells; else here. */
static uint64_t find_arrival(const struct dispatch *d)
{
    uint64_t arrival = gateways_arrival(d->gateways);

    return arrival > 0 ? arrival : clock_precise(turn_loop(d->turn));
}

enum acks_event dispatch_event(
    struct dispatch *d, const struct frame *f, uint32_t link)
{
    struct event e = {.f = *f, .link = link};

    if (d->handlers->measures)
        e.arrived = find_arrival(d);
    if (events_callback(f->cmd))
        return handle(d, &e);
    log_debug("not a client event cmd=%u", f->cmd);
    return ACKS_ENDED;
}

static void forget_queued(struct mailbox *m, bool links_lost)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &m->queue) {
        const struct event *e = LIST_ENTRY(node, struct event, node);

        if (e->f.cmd == FRAME_BOUND && links_lost) {
            /* it is told again, or another one is */
            free(mailboxes_unqueue(m, node));
            continue;
        }
        if (e->link == 0)
            continue;
        leave_to_others(dispatch_of(m), e);
        free(mailboxes_unqueue(m, node));
    }
}

static void forget_all_queued(
    struct dispatch *d, struct gateways_address from, bool links_lost)
{
    struct mailbox *m, *tmp;

    MAP_FOREACH (hh, d->mailboxes.by_key, m, tmp) {
        if (m->key.ip != from.ip || m->key.port != from.port)
            continue;
        forget_queued(m, links_lost);
        if (links_lost)
            session_drop(m, true);
        if (mailboxes_is_idle(m))
            settle(m);
    }
}

/* Its link may have ended meanwhile, and what was queued with it. */
void dispatch_granted(struct dispatch *d, const struct client_id *id)
{
    struct mailbox *m = mailboxes_find(&d->mailboxes, id);

    if (!m || list_empty(&m->queue) || first_queued(m)->leave != EVENT_ASKED)
        return;
    first_queued(m)->leave = EVENT_MAY;
    if (can_go_on(m))
        make_ready(m);
}

void dispatch_link_lost(struct dispatch *d, struct gateways_address from)
{
    forget_all_queued(d, from, true);
}

/* Its links live: it says which sessions are to be forgotten. */
void dispatch_revoked(struct dispatch *d, struct gateways_address from)
{
    forget_all_queued(d, from, false);
}

void dispatch_session(
    struct dispatch *d, const struct client_id *id, const struct frame *f)
{
    struct mailbox *m = mailboxes_find(&d->mailboxes, id);

    if (!m)
        return;
    if (f->flag & FRAME_FLAG_SESSION)
        session_arrive(m, f);
    else
        session_drop(m, false);
    if (mailboxes_is_idle(m))
        settle(m);
}

void dispatch_lost(struct dispatch *d, const struct client_id *id, bool certain)
{
    struct event e = {
        .f = {.cmd = FRAME_ON_CLOSE,
            .flag = FRAME_FLAG_STRING,
            .local_ip = id->local_ip,
            .local_port = id->local_port,
            .connection_id = id->connection_id},
        .lost = true,
        .uncertain = !certain,
    };

    handle(d, &e);
}

/* ---- vms come and go ---- */

static void on_ready(struct turn_task *task)
{
    struct dispatch *d = LIST_ENTRY(task, struct dispatch, ready_task);
    const uv_loop_t *loop = turn_loop(d->turn);
    uint64_t until = clock_precise(loop) + DISPATCH_READY_NS;

    while (!list_empty(&d->ready)) {
        struct mailbox *m = LIST_ENTRY(d->ready.next, struct mailbox, node);

        list_remove(&m->node);
        if (m->vm)
            tell_gone(m);
        else
            take_turn(m);
        if (clock_precise(loop) >= until)
            break;
    }
    turn_cancel(task); /* not in this turn any more */
    if (!list_empty(&d->ready))
        turn_schedule_later(d->turn, task);
    else if (d->vm)
        vm_hold_quiet(d->vm, false);
}

bool dispatch_serves(const struct dispatch *d, const struct vm *vm)
{
    return d->vm == vm;
}

void dispatch_serve(struct dispatch *d, struct vm *vm)
{
    struct mailbox *m, *tmp;

    if (d->vm)
        vm_hold_quiet(d->vm, false);
    d->vm = vm;
    if (!vm || d->mailboxes.backlogs.queued == 0)
        return;
    MAP_FOREACH (hh, d->mailboxes.by_key, m, tmp) {
        if (!m->vm && !list_empty(&m->queue))
            make_ready(m);
    }
}

void dispatch_tell_hanging(const struct dispatch *d)
{
    const struct event *e = d->running;

    if (e)
        acks_tell_hanging(d->acks, e->link, e->number);
}

void dispatch_stop(struct dispatch *d)
{
    d->stopped = true;
    d->mailboxes.backlogs.stopped = true;
    gateways_stop_events(d->gateways);
}

size_t dispatch_abandon(struct dispatch *d, struct vm *vm)
{
    struct mailbox *m, *tmp;
    size_t count = 0;

    MAP_FOREACH (hh, d->mailboxes.by_key, m, tmp) {
        if (m->vm != vm)
            continue;
        count++;
        m->vm = NULL;
        /* At a stop it is the gateways that count what has not ended. */
        if (!d->stopped) {
            acks_ended(d->acks, m->link);
            d->cut_off++;
        }
        if (m->cmd == FRAME_ON_CLOSE)
            session_forget(m);
        make_ready(m);
    }
    return count;
}

void dispatch_tick(struct dispatch *d)
{
    sessions_sweep(&d->sessions, settle);
}

struct dispatch *dispatch_new(struct turn *turn, struct gateways *gateways,
    const struct worker_conf *conf, struct handlers *handlers)
{
    struct dispatch *d = xcalloc(1, sizeof(*d));

    d->turn = turn;
    d->gateways = gateways;
    d->acks = gateways_acks(gateways);
    d->handlers = handlers;
    sessions_init(&d->sessions, turn_loop(turn), gateways);
    mailboxes_init(
        &d->mailboxes, &d->sessions, gateways, conf->queue_max, on_handled);
    list_init(&d->ready);
    list_init(&d->ready_task.node);
    d->ready_task.run = on_ready;
    return d;
}

void dispatch_leave(struct dispatch *d)
{
    turn_cancel(&d->ready_task);
}

void dispatch_free(struct dispatch *d)
{
    struct mailbox *m, *tmp;

    turn_cancel(&d->ready_task);
    MAP_FOREACH (hh, d->mailboxes.by_key, m, tmp)
        session_forget(m);
    mailboxes_fini(&d->mailboxes);
    free(d);
}

struct dispatch_counts dispatch_counts(const struct dispatch *d)
{
    return (struct dispatch_counts){
        .clients = HASH_COUNT(d->mailboxes.by_key),
        .queued = d->mailboxes.backlogs.queued,
        .forgotten = d->forgotten,
        .skipped = d->skipped,
        .cut_off = d->cut_off,
    };
}
