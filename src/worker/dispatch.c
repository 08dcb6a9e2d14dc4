/* From a link's frames to handlers: mailboxes, their queues, and who has a
 * turn. Of a client at most one handler runs or waits at a time, in the order
 * of its events; an event is begun once, and its link is told of each step. */
#include "worker/dispatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/log.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

#define MAILBOX_KEEP 4096 /* bytes of session kept in a spare mailbox */

static void drain(struct mailbox *m);

/* ---- mailboxes ---- */

static struct mailbox_key key_of(const struct client_id *id)
{
    return (struct mailbox_key){
        id->local_ip, id->connection_id, id->local_port};
}

/* Gateways count their clients, so that nobody chooses a key: no need for the
 * keyed hash that other tables have, at 400 instructions a look-up. */
static uint32_t hash_of(const struct mailbox_key *key)
{
    uint64_t bits = (uint64_t)key->ip << 32 | key->connection_id;

    return (uint32_t)(((bits ^ key->port) * 0x9e3779b97f4a7c15u) >> 32);
}

static struct mailbox *find(struct dispatch *d, const struct mailbox_key *key)
{
    struct mailbox *m;

    HASH_FIND_BYHASHVALUE(hh, d->mailboxes, key, sizeof(*key), hash_of(key), m);
    return m;
}

static struct mailbox *take(struct dispatch *d, const struct mailbox_key *key)
{
    struct mailbox *m;

    if (list_empty(&d->spare)) {
        m = xcalloc(1, sizeof(*m));
        m->d = d;
        list_init(&m->node);
        list_init(&m->queue);
        list_init(&m->watches);
    } else {
        m = LIST_ENTRY(d->spare.prev, struct mailbox, node); /* the last used */
        list_remove(&m->node);
        d->nspare--;
    }
    m->key = *key;
    return m;
}

static void file(struct mailbox *m)
{
    if (m->filed)
        return;
    HASH_ADD_BYHASHVALUE(
        hh, m->d->mailboxes, key, sizeof(m->key), hash_of(&m->key), m);
    m->filed = true;
}

static void free_mailbox(struct mailbox *m)
{
    session_forget(m);
    buf_fini(&m->waiting_session);
    free(m);
}

/* Nothing runs and nothing waits: keep it only for its session record. */
static void settle(struct mailbox *m)
{
    struct dispatch *d = m->d;

    session_settle(m);
    if (m->record) {
        file(m);
        return;
    }
    if (m->filed) {
        HASH_DELETE(hh, d->mailboxes, m);
        m->filed = false;
    }
    list_remove(&m->node);
    buf_clear(&m->waiting_session);
    buf_shrink(&m->waiting_session, MAILBOX_KEEP);
    if (d->nspare >= DISPATCH_SPARE_MAX) {
        free_mailbox(m);
        return;
    }
    list_push_back(&d->spare, &m->node);
    d->nspare++;
}

/* ---- queues ---- */

static void enqueue(struct mailbox *m, const struct event *e)
{
    bool known = e->f.flag & FRAME_FLAG_SESSION; /* session_arrive() took it */
    size_t ext_len = known ? 0 : e->f.ext_len;
    size_t size = sizeof(*e) + ext_len + e->f.body_len;
    struct event *copy = xmalloc(size);
    uint8_t *p = copy->data;

    *copy = *e;
    copy->size = size;
    copy->number = acks_number(m->d->acks, e->link);
    list_init(&copy->node);
    if (ext_len > 0)
        memcpy(p, e->f.ext, ext_len);
    copy->f.ext = p;
    copy->f.ext_len = ext_len;
    p += ext_len;
    if (e->f.body_len > 0)
        memcpy(p, e->f.body, e->f.body_len);
    copy->f.body = p;
    list_push_back(&m->queue, &copy->node);
    file(m);
    backlogs_add(m->d, copy);
}

static struct event *unqueue(struct mailbox *m, struct list *node)
{
    struct event *e = LIST_ENTRY(node, struct event, node);

    list_remove(node);
    backlogs_remove(m->d, e);
    return e;
}

static void discard_queue(struct mailbox *m)
{
    while (!list_empty(&m->queue))
        free(unqueue(m, m->queue.next));
}

/* ---- running handlers ---- */

bool dispatch_count_failure(struct dispatch *d)
{
    uint64_t second = clock_now(turn_loop(d->turn)) / 1000;

    d->errors++;
    if (second != d->error_second) {
        d->error_second = second;
        d->error_lines = 0;
    }
    if (d->error_lines++ >= DISPATCH_ERROR_LINES) {
        d->suppressed++;
        return false;
    }
    return true;
}

static void log_failure(struct mailbox *m, const char *error)
{
    char id[CLIENT_ID_LEN + 1];

    if (!dispatch_count_failure(m->d))
        return;
    client_id_format(id, &m->client.id);
    log_error("handler failed event=%s client=%s", events_callback(m->cmd), id);
    log_block(LOG_ERROR, error);
}

static void on_handled(const char *error, void *arg)
{
    struct mailbox *m = arg;

    if (error)
        log_failure(m, error);
    m->vm = NULL;
    m->event = NULL;
    if (m->cmd == FRAME_ON_CLOSE)
        session_forget(m);
    if (!m->starting) { /* else the caller of run() goes on */
        acks_ended(m->d->acks, m->link);
        drain(m);
    }
}

struct mailbox *dispatch_mailbox(lua_State *L)
{
    return coro_done_arg(L, on_handled);
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
    struct mailbox *m = dispatch_mailbox(L);

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
    m->d->skipped++;
    if (e->f.cmd == FRAME_ON_CLOSE)
        session_forget(m);
}

/* Run one event until it ends or waits. */
static void run(struct mailbox *m, const struct event *e)
{
    struct dispatch *d = m->d;

    if (!gateways_may_begin(d->gateways, &e->f)) {
        skip(m, e);
        return;
    }
    m->vm = d->vm;
    m->cmd = e->f.cmd;
    m->link = e->link;
    m->event = e;
    m->client = (struct coro_client){
        .id = {e->f.local_ip, e->f.local_port, e->f.connection_id},
        .client_ip = e->f.client_ip,
        .client_port = e->f.client_port,
        .gateway_port = e->f.gateway_port,
        .streams = e->f.flag & FRAME_FLAG_STREAM,
    };
    memcpy(m->client.client_ip6, e->f.client_ip6, FRAME_IPV6_LEN);
    session_begin(m);
    d->events++;
    /* Should it be what kills workers, it must not get a third one, nor take
     * what others did before it in this turn. */
    if (e->f.flag & FRAME_FLAG_AGAIN)
        gateways_send_done(d->gateways);
    m->starting = true;
    d->running = e;
    coro_start(d->vm, events_callback(m->cmd), events_call, m, &m->client,
        on_handled, m);
    d->running = NULL;
    m->starting = false;
    if (!m->vm)
        return;
    session_keep(m);
    m->event = NULL;
    file(m);
}

static void make_ready(struct mailbox *m)
{
    struct dispatch *d = m->d;

    list_remove(&m->node);
    list_push_back(&d->ready, &m->node);
    turn_schedule(d->turn, &d->ready_task);
    if (d->vm)
        vm_hold_quiet(d->vm, true);
}

static bool is_idle(const struct mailbox *m)
{
    return !m->vm && list_empty(&m->queue);
}

static bool can_go_on(const struct mailbox *m)
{
    return !m->vm && m->d->vm && !list_empty(&m->queue);
}

/* Others have it: its gateway has taken it back. */
static void leave_to_others(struct dispatch *d, const struct event *e)
{
    if (e->f.cmd == FRAME_ON_CLOSE && !frame_has_place(&e->f))
        gateways_keep_client(
            d->gateways, &(struct client_id){e->f.local_ip, e->f.local_port,
                             e->f.connection_id});
    d->forgotten++;
}

/* Run the first of what is queued. */
static void run_next(struct mailbox *m)
{
    struct dispatch *d = m->d;
    struct event *e = unqueue(m, m->queue.next);

    if (acks_may_begin_queued(
            d->acks, e->link, e->number, m->key.connection_id)) {
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
    while (can_go_on(m)) {
        if (is_late(m->d)) {
            make_ready(m);
            return;
        }
        run_next(m);
    }
    if (is_idle(m))
        settle(m);
}

/* Run one, then it is for others to have a turn. */
static void take_turn(struct mailbox *m)
{
    if (can_go_on(m))
        run_next(m);
    if (can_go_on(m))
        make_ready(m);
    else if (is_idle(m))
        settle(m);
}

static enum acks_event handle(struct dispatch *d, const struct event *e)
{
    struct mailbox_key key = key_of(&(struct client_id){
        e->f.local_ip, e->f.local_port, e->f.connection_id});
    struct mailbox *m = find(d, &key);
    bool waits;

    if (!m)
        m = take(d, &key);
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

enum acks_event dispatch_event(
    struct dispatch *d, const struct frame *f, uint32_t link)
{
    struct event e = {.f = *f, .link = link};

    if (events_callback(f->cmd))
        return handle(d, &e);
    log_debug("not a client event cmd=%u", f->cmd);
    return ACKS_ENDED;
}

static void forget_queued(struct mailbox *m)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &m->queue) {
        const struct event *e = LIST_ENTRY(node, struct event, node);

        if (e->link == 0)
            continue;
        leave_to_others(m->d, e);
        free(unqueue(m, node));
    }
}

void dispatch_link_lost(struct dispatch *d, struct gateways_address from)
{
    struct mailbox *m, *tmp;

    MAP_FOREACH (hh, d->mailboxes, m, tmp) {
        if (m->key.ip != from.ip || m->key.port != from.port)
            continue;
        forget_queued(m);
        session_drop(m, true);
        if (is_idle(m))
            settle(m);
    }
}

void dispatch_session(
    struct dispatch *d, const struct client_id *id, const struct frame *f)
{
    struct mailbox_key key = key_of(id);
    struct mailbox *m = find(d, &key);

    if (!m)
        return;
    if (f->flag & FRAME_FLAG_SESSION)
        session_arrive(m, f);
    else
        session_drop(m, false);
    if (is_idle(m))
        settle(m);
}

void dispatch_lost(struct dispatch *d, const struct client_id *id)
{
    struct event e = {
        .f = {.cmd = FRAME_ON_CLOSE,
            .flag = FRAME_FLAG_STRING,
            .local_ip = id->local_ip,
            .local_port = id->local_port,
            .connection_id = id->connection_id},
        .lost = true,
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

void dispatch_serve(struct dispatch *d, struct vm *vm)
{
    struct mailbox *m, *tmp;

    if (d->vm)
        vm_hold_quiet(d->vm, false);
    d->vm = vm;
    if (!vm || d->queued == 0)
        return;
    MAP_FOREACH (hh, d->mailboxes, m, tmp) {
        if (!m->vm && !list_empty(&m->queue))
            make_ready(m);
    }
}

void dispatch_tell_hanging(const struct dispatch *d)
{
    const struct event *e = d->running;

    requests_tell_hanging(d);
    if (e)
        acks_tell_hanging(d->acks, e->link, e->number);
}

void dispatch_stop(struct dispatch *d)
{
    d->stopped = true;
    gateways_stop_events(d->gateways);
}

size_t dispatch_abandon(struct dispatch *d, struct vm *vm)
{
    struct mailbox *m, *tmp;
    size_t count = 0;

    handshakes_abandon(d, vm);
    requests_abandon(d, vm);
    MAP_FOREACH (hh, d->mailboxes, m, tmp) {
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

static void forget_old_records(struct dispatch *d)
{
    uint64_t now = clock_now(turn_loop(d->turn));
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &d->records) {
        struct session_record *r =
            LIST_ENTRY(node, struct session_record, node);
        struct mailbox *m = r->mailbox;

        if (now - r->saved_at < SESSION_KEEP_MS)
            return;
        if (m->vm || !list_empty(&m->queue))
            continue;
        session_forget(m);
        settle(m);
    }
}

void dispatch_tick(struct dispatch *d)
{
    uint64_t second = clock_now(turn_loop(d->turn)) / 1000;

    if (d->suppressed > 0 && second != d->error_second) {
        log_error("more handlers failed suppressed=%llu",
            (unsigned long long)d->suppressed);
        d->suppressed = 0;
    }
    forget_old_records(d);
}

struct dispatch *dispatch_new(struct turn *turn, struct gateways *gateways,
    const struct worker_conf *conf)
{
    struct dispatch *d = xcalloc(1, sizeof(*d));

    d->turn = turn;
    d->gateways = gateways;
    d->acks = &gateways->acks;
    d->conf = conf;
    list_init(&d->spare);
    list_init(&d->ready);
    list_init(&d->handshakes);
    list_init(&d->requests);
    list_init(&d->records);
    list_init(&d->backlogs);
    list_init(&d->ready_task.node);
    d->ready_task.run = on_ready;
    uv_random(NULL, NULL, d->hash_key, sizeof(d->hash_key), 0, NULL);
    return d;
}

void dispatch_free(struct dispatch *d)
{
    struct mailbox *m, *tmp;

    turn_cancel(&d->ready_task);
    d->stopped = true; /* reading does not go on when the queues are empty */
    handshakes_abandon(d, NULL);
    requests_abandon(d, NULL);
    MAP_FOREACH (hh, d->mailboxes, m, tmp) {
        HASH_DELETE(hh, d->mailboxes, m);
        discard_queue(m);
        free_mailbox(m);
    }
    while (!list_empty(&d->spare)) {
        m = LIST_ENTRY(d->spare.next, struct mailbox, node);
        list_remove(&m->node);
        free_mailbox(m);
    }
    free(d);
}

struct dispatch_counts dispatch_counts(const struct dispatch *d)
{
    return (struct dispatch_counts){
        .clients = HASH_COUNT(d->mailboxes),
        .queued = d->queued,
        .events = d->events,
        .forgotten = d->forgotten,
        .skipped = d->skipped,
        .cut_off = d->cut_off,
        .errors = d->errors,
    };
}
