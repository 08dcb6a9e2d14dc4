/* The workers that are there: who has joined, with what it understands, and who
 * has left; which of them answers; what is told to all. A worker that
 * acknowledges is not freed when its link is lost: it waits in router->leaving
 * until router_settle.c knows what it began. */
#include "gateway/router.h"

#include <errno.h>
#include <string.h>

#include "gateway/router_impl.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/bigendian.h"
#include "wire/frame.h"

#define PAGELESS_EVERY 10000 /* ms between lines about the want of a page */

void router_free_worker(struct router_worker *w)
{
    router_forget_sessions(w);
    list_remove(&w->node);
    if (w->given)
        given_free(w->given);
    buf_fini(&w->left);
    idmap_fini(&w->runs);
    buf_fini(&w->frozen);
    free(w->key);
    free(w);
}

struct router_worker *router_find_worker(
    const struct router *r, const char *key)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && strcmp(r->workers[i]->key, key) == 0)
            return r->workers[i];
    return NULL;
}

/* A free slot; ROUTER_WORKERS_MAX when there is none. */
static size_t free_slot(struct router *r)
{
    size_t i = 0;

    while (i < r->nslots && r->workers[i])
        i++;
    if (i == r->nslots && i < ROUTER_WORKERS_MAX) {
        r->nslots++;
        r->workers =
            xrealloc(r->workers, r->nslots * sizeof(struct router_worker *));
        r->workers[i] = NULL;
    }
    return i;
}

/* Tell w, before its first event, that events say which type of websocket
 * message they carry. */
static void tell_types(const struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_TYPES, .flag = FRAME_FLAG_STRING};

    router_put(r, w, &f);
}

/* A page of claims for w, which is told its name. NULL: w takes none; or, with
 * a line in the log, there is none: what w says is then all that is known. */
struct claims *router_offer_page(struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_CLAIMS, .flag = FRAME_FLAG_STRING};
    struct claims *page;
    int err;

    if (!w->features.claims || !r->conf.claims)
        return NULL;
    err = claims_create(&page, r->conf.claims);
    if (err < 0) {
        if (log_may(&r->pageless, NULL, 1, PAGELESS_EVERY))
            log_warn(
                "no page of claims for a worker: should it be lost, an event "
                "that it began may be given to another one key=%s file=%s err=%s",
                w->key, r->conf.claims, strerror(-err));
        return NULL;
    }
    f.body = (const uint8_t *)claims_name(page);
    f.body_len = strlen(claims_name(page));
    router_put(r, w, &f);
    return page;
}

/* A quarter of the window is for events that waited behind others: they begin
 * in an order that nobody knows before, and are granted one by one. */
static void set_window(const struct router *r, struct router_worker *w)
{
    uint32_t queued = r->conf.begin_window / 4;
    uint32_t line = r->conf.begin_window - queued;
    uint8_t body[4];
    struct frame f = {.cmd = FRAME_WINDOW,
        .flag = FRAME_FLAG_STRING,
        .body = body,
        .body_len = sizeof(body)};

    put32(body, line);
    router_put(r, w, &f);
    given_set_window(w->given, line, queued);
    w->windowed = true;
}

/* Ask w, before its first event, to say what it begins, and to claim it. */
static void ask_for_acks(struct router *r, struct router_worker *w)
{
    struct frame f = {.cmd = FRAME_ACK};

    router_put(r, w, &f);
    w->given = given_new(router_offer_page(r, w));
    if (w->features.window && r->conf.begin_window > 0)
        set_window(r, w);
}

/* What the scripts of those that are here have; or had, while none is. */
static void find_callbacks(struct router *r)
{
    if (r->nworkers == 0)
        return;
    r->callbacks = 0;
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            r->callbacks |= r->workers[i]->features.callbacks;
}

void router_lose_unheard(struct router *r, struct router_worker *w)
{
    uint64_t unknown = unheard_end(&w->unheard);

    r->counters.unknown += unknown;
    if (unknown > 0)
        log_warn("a worker that acknowledges nothing was lost, some of its "
                 "events may not have run key=%s events=%llu",
            w->key, (unsigned long long)unknown);
}

void router_count_unrun(
    struct router *r, const struct router_worker *w, const struct receipt *run)
{
    struct receipt lost;
    int err = w->given ? given_count_unrun(w->given, run, &lost) : -ENOTSUP;
    uint64_t sum = 0;

    if (err == -EPROTO)
        log_error("a page of claims is not valid, nobody knows what its worker "
                  "has sent key=%s",
            w->key);
    if (err < 0)
        return;
    for (int i = RECEIPT_SEND; i < RECEIPT_KINDS; i++)
        sum += lost.orders[i];
    r->counters.sends_lost += sum;
    if (sum > 0)
        log_warn("commands of a worker lost with its links key=%s messages=%u "
                 "closes=%u members=%u sessions=%u",
            w->key, lost.orders[RECEIPT_SEND], lost.orders[RECEIPT_CLOSE],
            lost.orders[RECEIPT_MEMBER], lost.orders[RECEIPT_SESSION]);
}

struct router_worker *router_add_worker(struct router *r, struct conn *conn,
    const char *key, struct router_features features, struct conn **replaced)
{
    struct router_worker *w = router_find_worker(r, key);

    *replaced = w ? w->conn : NULL;
    if (w) {
        router_lose_unheard(r, w);
    } else {
        size_t slot = free_slot(r);

        if (slot == ROUTER_WORKERS_MAX)
            return NULL;
        w = xcalloc(1, sizeof(*w));
        list_init(&w->node);
        list_init(&w->stuck);
        list_init(&w->sessions);
        w->key = xstrdup(key);
        w->key_hash = router_hash(key, strlen(key));
        w->serial = ++r->last_serial;
        w->slot = (uint16_t)slot;
        r->workers[slot] = w;
        r->nworkers++;
    }
    w->conn = conn;
    w->features = features;
    w->arrived = 0;
    r->timed |= features.arrived;
    router_begin_books(r, w);
    if (w->features.far_book) /* it waits to be told whom it has */
        router_note_orphans(r);
    if (features.types)
        tell_types(r, w);
    if (features.acks)
        ask_for_acks(r, w);
    if (features.session)
        router_begin_sessions(r, w);
    router_unstick(r);
    router_drained(r);
    return w;
}

void router_remove_worker(struct router *r, struct router_worker *w)
{
    find_callbacks(r); /* remembers them, should w be the last one */
    router_unstick(r);
    router_note_orphans(r);
    r->workers[w->slot] = NULL;
    r->nworkers--;
    w->conn = NULL;
    router_forget_sessions(w);
    if (w->given) {
        given_revoke(w->given);
        given_revoke_requests(w->given);
        list_push_back(&r->leaving, &w->node);
    } else {
        router_free_worker(w);
    }
    router_drained(r); /* what waited for its link may go elsewhere */
}

void router_set_callback(
    struct router_worker *w, enum router_callback callback, bool has)
{
    if (has)
        w->features.callbacks |= callback;
    else
        w->features.callbacks &= ~(unsigned)callback;
}

bool router_has_callback(struct router *r, enum router_callback callback)
{
    find_callbacks(r);
    return r->callbacks & callback;
}

bool router_takes_answers(const struct router_worker *w)
{
    return w->features.answers;
}

struct router_worker *router_pick(
    struct router *r, enum router_callback callback)
{
    struct router_worker *stalled = NULL; /* better than nobody */

    for (size_t i = 1; i <= r->nslots; i++) {
        size_t slot = (r->last_asked + i) % r->nslots;
        struct router_worker *w = r->workers[slot];

        if (w && w->features.callbacks & callback && router_has_room(r, w)) {
            r->last_asked = slot;
            return w;
        }
        if (w && w->features.callbacks & callback && w->stalled && !w->renews &&
            !conn_is_full(w->conn))
            stalled = w;
    }
    return stalled;
}

uint32_t router_note_request(struct router_worker *w)
{
    return ++w->requests;
}

bool router_may_have_begun(const struct router_worker *w, uint32_t number)
{
    int begun = given_has_begun_request(w->given, number);

    return begun < 0 ? !router_has_left(w) : begun;
}

void router_put_on(const struct router *r, struct conn *link, struct frame *f)
{
    f->local_ip = r->conf.local_ip;
    f->local_port = r->conf.local_port;
    f->gateway_port = r->conf.gateway_port;
    frame_encode(conn_out(link), f);
}

void router_put(
    const struct router *r, struct router_worker *w, struct frame *f)
{
    router_put_on(r, w->conn, f);
}

bool router_acknowledges(const struct router_worker *w)
{
    return w->given != NULL;
}

uint32_t router_serial(const struct router_worker *w)
{
    return w->serial;
}

bool router_has(const struct router_worker *w, const struct client *c)
{
    return c->worker_serial == w->serial;
}

void router_hear(struct router_worker *w)
{
    unheard_hear(&w->unheard);
}

static const struct frame ping = {.cmd = FRAME_PING, .flag = FRAME_FLAG_STRING};

/* A worker of another machine has something to acknowledge, always. */
static void tick(struct router_worker *w)
{
    unheard_tick(&w->unheard);
    if (conn_is_far(w->conn))
        frame_encode(conn_out(w->conn), &ping);
}

void router_tick(struct router *r)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            tick(r->workers[i]);
    router_tick_orphans(r);
}

void router_ping_workers(struct router *r)
{
    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            frame_encode(conn_out(r->workers[i]->conn), &ping);
}

/* The oldest makes room. */
static void note_before(struct router_worker *w, uint32_t serial)
{
    memmove(w->before + 1, w->before, sizeof(w->before) - sizeof(serial));
    w->before[0] = serial;
}

void router_inherit(struct router_worker *heir, const struct router_worker *w)
{
    note_before(heir, w->serial);
    for (size_t i = ROUTER_BEFORE_MAX; i > 0; i--)
        if (w->before[i - 1] != 0)
            note_before(heir, w->before[i - 1]);
}

const char *router_key(const struct router_worker *w)
{
    return w->key;
}

void router_report(const struct router *r, reach_link_cb each, void *arg)
{
    for (size_t i = 0; i < r->nslots; i++) {
        const struct router_worker *w = r->workers[i];
        struct reach_link l = {.state = "silent"};

        if (!w)
            continue;
        l.peer = w->key;
        l.ms = conn_silence(w->conn);
        if (l.ms >= REACH_SILENT_MS)
            each(&l, arg);
        l.ms = (uint64_t)w->stalled_ticks * 1000;
        l.state = "stalled";
        if (w->stalled)
            each(&l, arg);
        l.ms = 0;
        l.state = "unacknowledged";
        if (!w->given)
            each(&l, arg);
    }
}

size_t router_worker_count(const struct router *r)
{
    return r->nworkers;
}

size_t router_local_count(const struct router *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->nslots; i++)
        count += r->workers[i] && r->workers[i]->features.is_local;
    return count;
}

size_t router_silent_count(const struct router *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->nslots; i++)
        count += r->workers[i] && !r->workers[i]->given;
    return count;
}

size_t router_queued(const struct router *r)
{
    size_t sum = 0;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i])
            sum += conn_queued(r->workers[i]->conn);
    return sum;
}

size_t router_unbegun_count(const struct router *r)
{
    struct list *node;
    size_t sum = 0;

    for (size_t i = 0; i < r->nslots; i++)
        if (r->workers[i] && r->workers[i]->given)
            sum += given_count(r->workers[i]->given);
    LIST_FOREACH (node, &r->leaving)
        sum += given_count(LIST_ENTRY(node, struct router_worker, node)->given);
    return sum;
}
