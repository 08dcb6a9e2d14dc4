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

static struct mailbox *find(struct dispatch *d, const struct mailbox_key *key)
{
    struct mailbox *m;

    HASH_FIND(hh, d->mailboxes, key, sizeof(*key), m);
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
    HASH_ADD(hh, m->d->mailboxes, key, sizeof(m->key), m);
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

/* ---- the queues' limit ---- */

static void count_queued(struct dispatch *d, const struct event *e, bool in)
{
    if (in) {
        d->queued++;
        d->queued_bytes += e->size;
        if (!d->paused && d->queued_bytes > d->conf->queue_max) {
            d->paused = true;
            gateways_hold_events(d->gateways, true);
            log_warn("mailboxes are full, reading from gateways pauses "
                     "queued=%zu bytes=%zu",
                d->queued, d->queued_bytes);
        }
        return;
    }
    d->queued--;
    d->queued_bytes -= e->size;
    if (d->paused && !d->stopped && d->queued_bytes <= d->conf->queue_max / 4) {
        d->paused = false;
        gateways_hold_events(d->gateways, false);
        log_notice("mailboxes are shorter, reading from gateways goes on");
    }
}

static void enqueue(struct mailbox *m, const struct event *e)
{
    size_t size = sizeof(*e) + e->f.ext_len + e->f.body_len;
    struct event *copy = xmalloc(size);
    uint8_t *p = copy->data;

    *copy = *e;
    copy->size = size;
    list_init(&copy->node);
    if (e->f.ext_len > 0)
        memcpy(p, e->f.ext, e->f.ext_len);
    copy->f.ext = p;
    p += e->f.ext_len;
    if (e->f.body_len > 0)
        memcpy(p, e->f.body, e->f.body_len);
    copy->f.body = p;
    list_push_back(&m->queue, &copy->node);
    file(m);
    count_queued(m->d, copy, true);
}

static struct event *unqueue(struct mailbox *m, struct list *node)
{
    struct event *e = LIST_ENTRY(node, struct event, node);

    list_remove(node);
    count_queued(m->d, e, false);
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
        gateways_ended(m->d->gateways, &m->client.id, m->link);
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

/* Run one event until it ends or waits. */
static void run(struct mailbox *m, const struct event *e)
{
    struct dispatch *d = m->d;

    m->vm = d->vm;
    m->cmd = e->f.cmd;
    m->link = e->link;
    m->event = e;
    m->client = (struct coro_client){
        .id = {e->f.local_ip, e->f.local_port, e->f.connection_id},
        .client_ip = e->f.client_ip,
        .client_port = e->f.client_port,
        .gateway_port = e->f.gateway_port,
    };
    memcpy(m->client.client_ip6, e->f.client_ip6, FRAME_IPV6_LEN);
    session_begin(m);
    d->events++;
    /* Should it be what kills workers, it must not get a third one, nor take
     * what others did before it in this turn. */
    if (e->f.flag & FRAME_FLAG_AGAIN)
        gateways_send_done(d->gateways);
    m->starting = true;
    coro_start(d->vm, events_callback(m->cmd), events_call, m, &m->client,
        on_handled, m);
    m->starting = false;
    if (!m->vm)
        return;
    session_keep(m);
    m->event = NULL;
    file(m);
}

/* Run what is queued, one after the other, until one waits. */
static void drain(struct mailbox *m)
{
    const struct client_id id = {
        m->key.ip, (uint16_t)m->key.port, m->key.connection_id};
    struct dispatch *d = m->d;

    while (!m->vm && d->vm && !list_empty(&m->queue)) {
        struct event *e = unqueue(m, m->queue.next);

        gateways_begins(d->gateways, &id, e->link);
        run(m, e);
        if (!m->vm)
            gateways_ended(d->gateways, &id, e->link);
        free(e);
    }
    if (!m->vm && list_empty(&m->queue))
        settle(m);
}

static void make_ready(struct mailbox *m)
{
    list_remove(&m->node);
    list_push_back(&m->d->ready, &m->node);
    turn_schedule(m->d->turn, &m->d->ready_task);
}

static enum gateways_event handle(struct dispatch *d, const struct event *e)
{
    struct mailbox_key key = key_of(&(struct client_id){
        e->f.local_ip, e->f.local_port, e->f.connection_id});
    struct mailbox *m = find(d, &key);

    if (!m)
        m = take(d, &key);
    if (m->vm || !d->vm || !list_empty(&m->queue)) {
        enqueue(m, e);
        /* Not now: the gateway must hear that it waits before it begins. */
        if (e->f.cmd == FRAME_ON_CLOSE && !list_empty(&m->watches))
            make_ready(m);
        return GATEWAYS_QUEUED;
    }
    run(m, e);
    if (m->vm)
        return GATEWAYS_RUNS;
    settle(m);
    return GATEWAYS_ENDED;
}

enum gateways_event dispatch_event(
    struct dispatch *d, const struct frame *f, uint32_t link)
{
    struct event e = {.f = *f, .link = link};

    if (events_callback(f->cmd))
        return handle(d, &e);
    log_debug("not a client event cmd=%u", f->cmd);
    return GATEWAYS_ENDED;
}

static void forget_queued(struct mailbox *m)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &m->queue) {
        const struct event *e = LIST_ENTRY(node, struct event, node);
        struct client_id id = {
            e->f.local_ip, e->f.local_port, e->f.connection_id};

        if (e->link == 0)
            continue;
        if (e->f.cmd == FRAME_ON_CLOSE)
            gateways_keep_client(m->d->gateways, &id);
        m->d->forgotten++;
        free(unqueue(m, node));
    }
}

void dispatch_link_lost(struct dispatch *d, struct gateways_address from)
{
    struct mailbox *m, *tmp;

    MAP_FOREACH (hh, d->mailboxes, m, tmp)
        if (m->key.ip == from.ip && m->key.port == from.port)
            forget_queued(m);
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
    struct list ready;

    list_init(&ready);
    list_splice(&ready, &d->ready);
    while (!list_empty(&ready)) {
        struct mailbox *m = LIST_ENTRY(ready.next, struct mailbox, node);

        list_remove(&m->node);
        if (m->vm)
            tell_gone(m);
        else
            drain(m);
    }
}

void dispatch_serve(struct dispatch *d, struct vm *vm)
{
    struct mailbox *m, *tmp;

    d->vm = vm;
    if (!vm || d->queued == 0)
        return;
    MAP_FOREACH (hh, d->mailboxes, m, tmp) {
        if (!m->vm && !list_empty(&m->queue))
            make_ready(m);
    }
}

void dispatch_stop(struct dispatch *d)
{
    d->stopped = true;
    d->paused = true;
    gateways_hold_events(d->gateways, true);
}

size_t dispatch_abandon(struct dispatch *d, struct vm *vm)
{
    struct mailbox *m, *tmp;
    size_t count = 0;

    handshakes_abandon(d, vm);
    MAP_FOREACH (hh, d->mailboxes, m, tmp) {
        if (m->vm != vm)
            continue;
        count++;
        m->vm = NULL;
        /* At a stop it is the gateways that count what has not ended. */
        if (!d->stopped) {
            gateways_ended(d->gateways, &m->client.id, m->link);
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
    d->conf = conf;
    list_init(&d->spare);
    list_init(&d->ready);
    list_init(&d->handshakes);
    list_init(&d->records);
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
