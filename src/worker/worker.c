/* The life of a worker: the first script, reloads, the end. It has one script
 * that serves, at most one that is prepared, and those that are left whose
 * handlers still run; each event runs wholly in one of them. */
#include "worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/clock.h"
#include "net/handle.h"
#include "proc/shared.h"
#include "util/alloc.h"
#include "util/log.h"
#include "worker/complaints.h"
#include "worker/coro_impl.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"
#include "worker/handlers.h"
#include "worker/handshakes.h"
#include "worker/requests.h"
#include "worker/sources.h"
#include "worker/tidings.h"
#include "worker/vm_open.h"

#define WORKER_TICK_MS      1000 /* between looks at the clock, usually … */
#define WORKER_TICK_BUSY_MS 100  /* … and while a script is being ended */
#define WORKER_STOP_GRACE                           \
    1000 /* ms that onWorkerStop may take after the \
            deadline */

struct worker {
    uv_timer_t tick;
    struct turn *turn;
    const struct worker_conf *conf; /* borrowed */
    unsigned index;
    const struct worker_events *events; /* borrowed */
    void *arg;                          /* borrowed, handed to events */
    struct gateways *gateways;          /* NULL once stopped */
    struct dispatch *dispatch;          /* owned; events … */
    struct handshakes handshakes;
    struct requests requests;
    struct handlers handlers; /* … and what came of all their handlers … */
    struct complaints complaints; /* … which the script may want to know */
    struct tidings tidings;       /* of the cluster, likewise */
    struct vm *loading;           /* the first one, until it is ready */
    struct vm *serving;           /* NULL before and after */
    struct vm *next;              /* of a reload, until its verdict */
    bool replays;                 /* the script on disk did not load */
    bool prepared;                /* next is ready and waits for the verdict */
    worker_prepared_cb prepared_cb;
    void *prepared_arg;
    struct list endings; /* scripts that finish their work */
    unsigned generation;
    bool stopping;
    struct turn_task stopped; /* tells the owner, as the next one does */
    struct turn_task full;
};

/* A script on its way out: first its clients' handlers end, then onWorkerStop
 * runs, then it is closed. */
struct ending {
    struct list node; /* in worker->endings */
    struct worker *w;
    struct vm *vm;     /* owned */
    uint64_t deadline; /* loop time, ms */
    bool stop_called;
    struct turn_task close;
};

static uint64_t now_ms(const struct worker *w)
{
    return clock_now(turn_loop(w->turn));
}

/* ---- ending a script ---- */

/* worker_stop() was called and no script is left: that is all. */
static void finish_stop(struct worker *w)
{
    if (w->stopping && list_empty(&w->endings))
        turn_schedule(w->turn, &w->stopped);
}

static void free_ending(struct ending *e)
{
    list_remove(&e->node);
    turn_cancel(&e->close);
    vm_close(e->vm);
    free(e);
}

static void close_ended(struct turn_task *task)
{
    struct ending *e = LIST_ENTRY(task, struct ending, close);
    struct worker *w = e->w;

    free_ending(e);
    finish_stop(w);
}

static void on_stop_called(const char *error, void *arg)
{
    struct ending *e = arg;

    if (error) {
        log_error("handler failed event=onWorkerStop");
        log_block(LOG_ERROR, error);
    }
    turn_schedule(e->w->turn, &e->close); /* not from inside its state */
}

/* Handlers begin in vm from now on; NULL: they do not. */
static void begin_in(struct worker *w, struct vm *vm)
{
    w->handshakes.vm = vm;
    w->requests.vm = vm;
    dispatch_serve(w->dispatch, vm);
}

static void unserve(struct ending *e)
{
    if (dispatch_serves(e->w->dispatch, e->vm))
        begin_in(e->w, NULL);
}

/* No event begins in e's script any more. */
static void call_stop(struct ending *e)
{
    if (e->stop_called)
        return;
    unserve(e);
    e->stop_called = true;
    vm_stop_script(e->vm, on_stop_called, e);
}

static void on_quiet(struct vm *vm, void *arg)
{
    call_stop(arg);
}

static void on_tick(uv_timer_t *timer);

static void set_pace(struct worker *w)
{
    uint64_t ms =
        list_empty(&w->endings) ? WORKER_TICK_MS : WORKER_TICK_BUSY_MS;

    if (uv_timer_get_repeat(&w->tick) != ms)
        uv_timer_start(&w->tick, on_tick, ms, ms);
}

static void begin_ending(struct worker *w, struct vm *vm, double drain_time)
{
    struct ending *e = xcalloc(1, sizeof(*e));

    e->w = w;
    e->vm = vm;
    e->deadline = now_ms(w) + (uint64_t)(drain_time * 1000.0);
    e->close.run = close_ended;
    list_init(&e->close.node);
    list_init(&e->node);
    list_push_back(&w->endings, &e->node);
    vm->serving = false;
    vm_when_quiet(vm, on_quiet, e);
    set_pace(w);
}

/* Its time is up: cut off the handlers, then give onWorkerStop a moment. */
static void enforce_deadline(struct ending *e)
{
    struct worker *w = e->w;

    if (e->stop_called) {
        log_warn("onWorkerStop did not end in time, the script is closed");
        turn_schedule(w->turn, &e->close);
        return;
    }
    unserve(e);
    handshakes_abandon(&w->handshakes, e->vm);
    requests_abandon(&w->requests, e->vm);
    dispatch_abandon(w->dispatch, e->vm);
    log_warn("handlers did not end in time and were cut off handlers=%zu",
        coro_cancel(e->vm, true));
    e->deadline = now_ms(w) + WORKER_STOP_GRACE;
    call_stop(e);
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    struct list *node, *tmp;

    handlers_tick(&w->handlers);
    dispatch_tick(w->dispatch);
    if (w->serving)
        vm_tick(w->serving);
    LIST_FOREACH_SAFE (node, tmp, &w->endings) {
        struct ending *e = LIST_ENTRY(node, struct ending, node);

        if (now_ms(w) >= e->deadline)
            enforce_deadline(e);
    }
    set_pace(w);
}

/* ---- start ---- */

static void leave_system(struct worker *w)
{
    if (w->gateways)
        gateways_close(w->gateways);
    w->gateways = NULL;
}

static void on_stopped(struct turn_task *task)
{
    struct worker *w = LIST_ENTRY(task, struct worker, stopped);

    dispatch_leave(w->dispatch);
    leave_system(w);
    w->events->on_stopped(w->arg);
}

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    return dispatch_event(((struct worker *)arg)->dispatch, f, link);
}

static void on_link_lost(struct gateways_address from, void *arg)
{
    dispatch_link_lost(((struct worker *)arg)->dispatch, from);
}

static void on_granted(const struct client_id *id, void *arg)
{
    dispatch_granted(((struct worker *)arg)->dispatch, id);
}

static void on_revoked(struct gateways_address from, void *arg)
{
    dispatch_revoked(((struct worker *)arg)->dispatch, from);
}

static void on_session(
    const struct client_id *id, const struct frame *f, void *arg)
{
    dispatch_session(((struct worker *)arg)->dispatch, id, f);
}

static void on_client_lost(const struct client_id *id, bool certain, void *arg)
{
    dispatch_lost(((struct worker *)arg)->dispatch, id, certain);
}

static void on_handshake(
    struct gateways_address from, const struct frame *f, void *arg)
{
    handshakes_ask(&((struct worker *)arg)->handshakes, from, f);
}

static void on_request(
    struct gateways_address from, const struct frame *f, void *arg)
{
    requests_take(&((struct worker *)arg)->requests, from, f);
}

static const struct gateways_ops gateways_ops = {
    .on_request = on_request,
    .on_handshake = on_handshake,
    .on_event = on_event,
    .on_link_lost = on_link_lost,
    .on_granted = on_granted,
    .on_revoked = on_revoked,
    .on_client_lost = on_client_lost,
    .on_session = on_session,
};

static struct vm *open_vm(struct worker *w, vm_loaded_cb loaded)
{
    struct vm_env env = {
        .turn = w->turn,
        .gateways = w->gateways,
        .conf = w->conf,
        .index = w->index,
        .replay = w->replays,
    };

    return vm_open(&env, loaded, w);
}

static void tell_full(struct turn_task *task)
{
    struct worker *w = LIST_ENTRY(task, struct worker, full);
    char message[160];

    if (w->stopping || !w->serving)
        return;
    if (w->serving->full_errors < VM_FULL_ERRORS)
        snprintf(message, sizeof(message),
            "memory is nearly full of live data, collecting garbage takes most "
            "of the time memory_limit=%zu in_use=%zu",
            w->conf->memory_max, w->serving->heap.used);
    else
        snprintf(message, sizeof(message),
            "memory is full of live data, %d handlers failed in a row "
            "memory_limit=%zu in_use=%zu",
            VM_FULL_ERRORS, w->conf->memory_max, w->serving->heap.used);
    w->events->on_full(message, w->arg);
}

/* Not one more event begins, also of those that were read in this turn: each
 * would take a collection to fail. */
static void on_full(struct vm *vm, void *arg)
{
    struct worker *w = arg;

    if (vm != w->serving)
        return; /* another one has taken over */
    dispatch_stop(w->dispatch);
    begin_in(w, NULL);
    turn_schedule(w->turn, &w->full);
}

static void serve(struct worker *w, struct vm *vm)
{
    sources_keep(vm->sources, w->conf->sources_fd);
    sources_close(vm->sources);
    w->serving = vm;
    w->generation++;
    vm->complaints = &w->complaints;
    complaints_serve(&w->complaints, vm);
    tidings_serve(&w->tidings, vm);
    begin_in(w, vm);
    gateways_set_callbacks(w->gateways, vm->callbacks);
    if (w->events->on_full)
        vm_when_full(vm, on_full, w);
}

static void on_first_loaded(struct vm *vm, const char *error, void *arg)
{
    struct worker *w = arg;

    if (error && !w->replays &&
        sources_differ(vm->sources, w->conf->sources_fd)) {
        log_error("the script on disk does not load, running the one that ran "
                  "before");
        log_block(LOG_ERROR, error);
        vm_close(vm);
        w->replays = true;
        w->loading = open_vm(w, on_first_loaded);
        return;
    }
    if (error) {
        w->events->on_failed(error, w->arg);
        return; /* the owner frees the worker, and vm with it */
    }
    w->loading = NULL;
    w->replays = false;
    serve(w, vm);
    gateways_join(w->gateways);
    w->events->on_ready(w->arg);
}

struct worker *worker_new(uv_loop_t *loop, const struct worker_conf *conf,
    unsigned index, const struct worker_events *events, void *arg)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->turn = turn_new(loop);
    w->conf = conf;
    w->index = index;
    w->events = events;
    w->arg = arg;
    list_init(&w->endings);
    list_init(&w->stopped.node);
    w->stopped.run = on_stopped;
    list_init(&w->full.node);
    w->full.run = tell_full;
    uv_timer_init(loop, &w->tick);
    w->tick.data = w;
    set_pace(w);
    w->gateways = gateways_new(w->turn, conf, index, &gateways_ops, w);
    handlers_init(&w->handlers, loop);
    complaints_init(&w->complaints, w->turn);
    tidings_init(&w->tidings, w->turn, &w->complaints);
    w->gateways->tidings = &tidings_wish;
    w->gateways->tidings_arg = &w->tidings;
    w->handlers.complaints = &w->complaints;
    w->handlers.measures = conf->measures;
    w->handlers.faults = conf->faults;
    w->handlers.timings = conf->timings;
    handshakes_init(&w->handshakes, w->gateways, &w->handlers);
    requests_init(&w->requests, w->gateways, &w->handlers);
    w->dispatch = dispatch_new(w->turn, w->gateways, conf, &w->handlers);
    w->loading = open_vm(w, on_first_loaded);
    return w;
}

/* ---- reload ---- */

static void on_prepared(struct vm *vm, const char *error, void *arg)
{
    struct worker *w = arg;
    char *message;

    if (!error) {
        w->prepared = true;
        w->prepared_cb(NULL, w->prepared_arg);
        return;
    }
    message = xstrdup(error);
    w->next = NULL;
    vm_close(vm);
    w->prepared_cb(message, w->prepared_arg);
    free(message);
}

int worker_prepare(struct worker *w, worker_prepared_cb cb, void *arg)
{
    if (w->next || !w->serving || w->stopping)
        return -EALREADY;
    w->prepared_cb = cb;
    w->prepared_arg = arg;
    w->next = open_vm(w, on_prepared);
    return 0;
}

void worker_commit(struct worker *w)
{
    struct vm *old = w->serving;

    if (!w->prepared)
        return; /* it has begun to stop, and given the new script up */
    serve(w, w->next);
    w->next = NULL;
    w->prepared = false;
    begin_ending(w, old, w->conf->drain_time);
    log_notice("new script serves generation=%u", w->generation);
}

void worker_abort(struct worker *w)
{
    if (w->next)
        vm_close(w->next);
    w->next = NULL;
    w->prepared = false;
}

/* ---- stop ---- */

void worker_stop(struct worker *w, double drain_time)
{
    uint64_t deadline = now_ms(w) + (uint64_t)(drain_time * 1000.0);
    struct list *node;

    if (w->stopping)
        return;
    w->stopping = true;
    dispatch_stop(w->dispatch);
    worker_abort(w);
    LIST_FOREACH (node, &w->endings) {
        struct ending *e = LIST_ENTRY(node, struct ending, node);

        if (e->deadline > deadline)
            e->deadline = deadline;
    }
    if (w->loading)
        vm_close(w->loading);
    w->loading = NULL;
    if (w->serving)
        begin_ending(w, w->serving, drain_time);
    w->serving = NULL;
    complaints_serve(&w->complaints, NULL);
    tidings_serve(&w->tidings, NULL);
    finish_stop(w);
}

void worker_free(struct worker *w)
{
    complaints_serve(&w->complaints, NULL);
    tidings_serve(&w->tidings, NULL);
    complaints_fini(&w->complaints);
    tidings_fini(&w->tidings);
    while (!list_empty(&w->endings))
        free_ending(LIST_ENTRY(w->endings.next, struct ending, node));
    worker_abort(w);
    if (w->loading)
        vm_close(w->loading);
    if (w->serving)
        vm_close(w->serving);
    handshakes_abandon(&w->handshakes, NULL);
    requests_abandon(&w->requests, NULL);
    dispatch_free(w->dispatch);
    leave_system(w);
    turn_close(w->turn);
    handle_close(&w->tick, w);
}

void worker_tell_hanging(const struct worker *w)
{
    if (!w->gateways)
        return;
    requests_tell_hanging(&w->requests);
    dispatch_tell_hanging(w->dispatch);
}

/* ---- status ---- */

struct vm *worker_vm(const struct worker *w)
{
    return w->serving;
}

static void add_vm(struct worker_status *out, const struct vm *vm)
{
    if (!vm)
        return;
    out->coroutines += vm->nbusy;
    out->timers += vm->timers;
    out->memory += vm->heap.used;
}

static void add_shared(struct worker_status *out, const struct shared *shared)
{
    struct shared_status table;

    if (!shared)
        return;
    table = shared_status(shared);
    out->shared_keys = table.keys;
    out->shared_full = table.refused;
}

void worker_status(const struct worker *w, struct worker_status *out)
{
    const struct dispatch_counts d = dispatch_counts(w->dispatch);
    struct gateways_counts g;
    const struct list *node;

    *out = (struct worker_status){
        .name = w->conf->name,
        .index = w->index,
        .clients = d.clients,
        .queued = d.queued,
        .events = w->handlers.begun,
        .forgotten = d.forgotten,
        .skipped = d.skipped,
        .cut_off = d.cut_off,
        .errors = w->handlers.failed,
        .generation = w->generation,
        .event_times = w->handlers.event_times,
    };
    add_shared(out, w->conf->shared);
    add_vm(out, w->loading);
    add_vm(out, w->serving);
    add_vm(out, w->next);
    LIST_FOREACH (node, &w->endings)
        add_vm(out, LIST_ENTRY(node, struct ending, node)->vm);
    if (!w->gateways)
        return;
    g = gateways_counts(w->gateways);
    out->gateways = g.connected;
    out->gateways_known = g.known;
    out->gateways_silent = g.silent;
    out->registers_missing = g.registers_missing;
    out->sends = g.sends;
    out->sends_failed = g.sends_failed;
    out->sends_lost = g.sends_lost;
    out->engine = g.engine;
}

void worker_report(const struct worker *w, reach_link_cb each, void *arg)
{
    if (w->gateways)
        gateways_report(w->gateways, each, arg);
}
