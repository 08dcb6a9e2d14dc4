/* What a lost worker was given and did not begin goes to others. */
#include <netinet/in.h>
#include <string.h>

#include "gateway/router_impl.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/bigendian.h"
#include "wire/client_id.h"
#include "wire/frame.h"

/* A client that is in no index any more. */
struct departed {
    UT_hash_handle hh;
    uint32_t id;           /* as frame_ack_id() has it */
    struct client *client; /* kept alive by client->wait */
    bool revived;          /* made from its events: they hold its session */
};

struct regiving {
    struct router *r;
    const struct roster *roster;
    struct departed *departed;    /* owned; by id */
    struct router_worker *worker; /* the lost one */
    bool certain;   /* it is known what began; else only a book knows */
    bool exact;     /* … of each event, and the worker begins nothing more */
    size_t begun;   /* of its events, though it could not say so any more */
    size_t lost;    /* nobody knows whether they began */
    size_t unknown; /* likewise, but they are few and may have */
    bool lives;     /* the worker is stalled, and goes on with what began */
};

static struct departed *find_departed(const struct regiving *g, uint32_t id)
{
    struct departed *d;

    HASH_FIND(hh, g->departed, &id, sizeof(id), d);
    return d;
}

static struct departed *add_departed(struct regiving *g, struct client *c)
{
    struct departed *d = xcalloc(1, sizeof(*d));

    d->id =
        books_is_adopted(c->book) ? frame_id_of_other(c->book, c->id) : c->id;
    d->client = c;
    HASH_ADD(hh, g->departed, id, sizeof(d->id), d);
    return d;
}

static struct departed *revive(struct regiving *g, const struct frame *f)
{
    union addr peer = {0};
    struct departed *d;
    struct client *c;

    if (f->flag & FRAME_FLAG_IPV6) {
        peer.in6.sin6_family = AF_INET6;
        peer.in6.sin6_port = htons(f->client_port);
        memcpy(&peer.in6.sin6_addr, f->client_ip6, FRAME_IPV6_LEN);
    } else {
        peer.in.sin_family = AF_INET;
        peer.in.sin_port = htons(f->client_port);
        peer.in.sin_addr.s_addr = htonl(f->client_ip);
    }
    c = roster_revive(f->connection_id, &peer);
    c->streams = f->flag & FRAME_FLAG_STREAM;
    d = add_departed(g, c);
    d->revived = true;
    return d;
}

static struct client *client_of(struct regiving *g, const struct frame *f)
{
    struct client *c = f->cmd == FRAME_ON_CLOSE
                           ? NULL
                           : roster_find(g->roster, f->connection_id);
    struct departed *d;

    if (c)
        return c;
    d = find_departed(g, frame_ack_id(f));
    if (!d)
        d = revive(g, f);
    if (d->revived)
        roster_set_session(g->roster, d->client, f->ext, f->ext_len);
    if (d->revived && frame_has_place(f)) { /* messages have none */
        d->client->book = f->book % BOOKS_MAX;
        d->client->place = f->place;
    }
    return d->client;
}

/* The lost worker will not begin it. */
static void forget(const uint8_t *packet, size_t len, void *arg)
{
    struct regiving *g = arg;
    struct client *c =
        frame_cmd(packet) == FRAME_ON_CLOSE
            ? NULL
            : roster_find(g->roster, frame_connection_id(packet));

    g->r->unbegun_bytes -= len;
    if (c)
        router_share_leave(g->r, g->worker, c, len);
}

/* An ON_CLOSE that a worker of another machine had is for the same one, should
 * it come again: whatever has been heard of it, it knows what it began. But
 * behind an event of the client that has not begun for certain it has not,
 * either. */
static bool is_orphan(const struct regiving *g, const struct frame *f)
{
    return !g->exact && g->worker->features.far_book &&
           f->cmd == FRAME_ON_CLOSE && frame_has_place(f) &&
           !find_departed(g, frame_ack_id(f));
}

static void put_orphan(const struct regiving *g, const struct frame *f)
{
    books_put_orphan(
        g->r->conf.books, &(struct books_orphan){.number = f->book % BOOKS_MAX,
                              .certain = g->certain,
                              .place = f->place,
                              .id = f->connection_id});
}

/* A client whose handler may be running waits for the worker that has it; what
 * was on its way there may have brought the session. */
static void keep_bound(const struct regiving *g, struct client *c)
{
    struct router_worker *w = g->worker;

    if (c->worker_serial == 0 && router_may_run(w, c->id)) {
        c->worker_serial = w->serial; /* of one that has left */
        c->worker_slot = w->slot;
        w->clients++;
    }
    if (c->worker_serial == w->serial && c->session_known)
        router_forget_session(g->r, w, c);
}

static void hold_again(const uint8_t *packet, size_t len, void *arg)
{
    struct regiving *g = arg;
    struct router_event e = {.again = true};
    struct client *c;
    struct frame f;

    frame_decode(&f, packet, len);
    forget(packet, len, arg);
    if (books_have_begun(g->r->conf.books, &f)) {
        g->begun++;
        return;
    }
    if (is_orphan(g, &f)) {
        put_orphan(g, &f);
        return;
    }
    if (!g->certain && (!frame_has_place(&f) || g->worker->features.far_book)) {
        books_begun(g->r->conf.books, &f);
        g->lost++;
        return;
    }
    e.cmd = f.cmd;
    e.type = f.flag & FRAME_FLAG_TYPES;
    e.body = f.body;
    e.len = f.body_len;
    c = client_of(g, &f);
    if (g->lives)
        keep_bound(g, c);
    books_take_back(g->r->conf.books, c, &f);
    router_hold(g->r, c, &e);
}

/* Put what the worker has not begun in front of all that waits. */
static void hold_unbegun(struct regiving *g)
{
    struct departed *d, *tmp;
    struct list *node;

    LIST_FOREACH (node, &g->r->waiting) {
        struct router_wait *wait = LIST_ENTRY(node, struct router_wait, node);

        if (wait->client->gone)
            add_departed(g, wait->client);
        list_splice(&wait->again, &wait->events);
        list_splice(&wait->events, &wait->again);
    }
    given_each(g->worker->given, hold_again, g);
    MAP_FOREACH (hh, g->departed, d, tmp) {
        HASH_DEL(g->departed, d);
        free(d);
    }
}

int router_note_hanging(struct router_worker *w, const void *body, size_t len)
{
    if (len != sizeof(w->hanging))
        return -EPROTO;
    w->hangs = true;
    w->hanging = get32(body);
    return 0;
}

static void log_hanging(
    const struct router_worker *w, uint8_t cmd, const struct client_id *client)
{
    char id[CLIENT_ID_LEN + 1];

    client_id_format(id, client);
    log_error(
        "an event hung its worker, nobody else gets it event=%s client=%s "
        "key=%s",
        frame_cmd_name(cmd), id, w->key);
}

/* What hung the worker would hang the next one. */
static void drop_hanging(const uint8_t *packet, size_t len, void *arg)
{
    struct regiving *g = arg;
    struct client_id client;
    struct frame f;

    frame_decode(&f, packet, len);
    forget(packet, len, arg);
    client = frame_client(&f);
    log_hanging(g->worker, f.cmd, &client);
}

/* It is known to have begun since the worker was found stalled. */
static void name_frozen(const struct router_worker *w)
{
    const struct router_frozen *e = (const void *)w->frozen.data;
    size_t count = w->frozen.len / sizeof(*e);

    for (; count > 0; count--, e++)
        if (e->number == w->hanging)
            log_hanging(w, e->cmd, &e->client);
}

static void freeze(struct router_worker *w, const struct frame *f)
{
    struct router_frozen e;

    memset(&e, 0, sizeof(e));
    e.number = given_struck(w->given);
    e.client = frame_client(f);
    e.cmd = f->cmd;
    buf_append(&w->frozen, &e, sizeof(e));
}

void router_note_left(struct router_worker *w, const void *body, size_t len)
{
    buf_clear(&w->left);
    buf_append(&w->left, body, len);
}

bool router_has_left(const struct router_worker *w)
{
    return w->left.len > 0;
}

bool router_has_claimed(const struct router_worker *w)
{
    return w->renews || given_is_claimed(w->given);
}

/* It was claimed, and the worker was not to say so any more. Of what a book
 * knows that is not enough: the word of its entry is changed next, and a worker
 * that was killed in between has begun nothing. */
static bool note_begun(const uint8_t *packet, size_t len, void *arg)
{
    struct regiving *g = arg;
    struct frame f;
    bool begun = true;

    frame_decode(&f, packet, len);
    if (g->worker->features.far_book)
        books_begun(g->r->conf.books, &f);
    else if (frame_has_place(&f))
        begun = books_have_begun(g->r->conf.books, &f);
    if (begun)
        forget(packet, len, arg);
    if (g->lives) { /* it says itself that it is through */
        freeze(g->worker, &f);
        router_note_runs(g->worker, f.connection_id);
    }
    g->worker->running += begun || g->lives;
    return begun;
}

/* The window is so small that this is no great loss. */
static void note_unknown(const uint8_t *packet, size_t len, void *arg)
{
    struct regiving *g = arg;
    struct frame f;

    frame_decode(&f, packet, len);
    forget(packet, len, arg);
    if (is_orphan(g, &f)) {
        put_orphan(g, &f);
        g->r->counters.again++;
        return;
    }
    if (g->worker->features.far_book)
        books_begun(g->r->conf.books, &f);
    g->unknown++;
}

/* Whether the worker itself has said what it left, and that can be true. */
static bool believe_left(struct regiving *g)
{
    struct router_worker *w = g->worker;
    struct ack_left left;
    int err;

    if (w->left.len == 0)
        return false;
    err = ack_parse_left(&left, w->left.data, w->left.len);
    if (err == 0 && !left.known)
        return false;
    if (err == 0)
        err = given_leave(w->given, &left, note_begun, g);
    if (err < 0)
        log_error("a worker says what it left, and that is not what it was "
                  "given key=%s",
            w->key);
    return err == 0;
}

/* Whether it is known of each event of the lost worker if it has begun. said:
 * all that the worker sent has come. With a page that does not matter. */
static bool find_begun(struct regiving *g, bool said)
{
    struct router_worker *w = g->worker;
    int err;

    g->exact = believe_left(g);
    if (g->exact)
        return true;
    if (w->hangs && given_drop(w->given, w->hanging, drop_hanging, g))
        w->running++; /* else it is among them already */
    else if (w->hangs)
        name_frozen(w);
    if (w->windowed) {
        given_close_window(w->given, note_unknown, g);
        g->exact = true;
        return true;
    }
    err = given_close(w->given, note_begun, g);
    if (err == -EPROTO)
        log_error("a page of claims is not valid, nobody knows what its worker "
                  "has begun key=%s",
            w->key);
    return err == 0 || (err == -ENOTCONN && said);
}

void router_settle(struct router *r, struct router_worker *w,
    const struct roster *roster, bool said)
{
    struct regiving g = {.r = r, .roster = roster, .worker = w};
    size_t unbegun;
    uint64_t running;

    g.certain = find_begun(&g, said);
    unbegun = given_count(w->given);
    running = w->running;
    r->counters.cut_off += running;
    router_unstick(r);
    hold_unbegun(&g);
    unbegun -= g.begun;
    running += g.begun;
    r->counters.again += unbegun - g.lost;
    r->counters.cut_off += g.begun;
    r->counters.lost += g.lost;
    r->counters.unknown += g.unknown;
    if (unbegun > 0 || running > 0 || g.unknown > 0)
        log_warn(
            "worker lost key=%s not_begun=%zu (%s) cut_off=%llu unknown=%zu",
            w->key, unbegun,
            g.certain ? "others get them" : "lost, nobody knows",
            (unsigned long long)running, g.unknown);
    router_free_worker(w);
    router_drained(r);
}

size_t router_take_back(
    struct router *r, struct router_worker *w, const struct roster *roster)
{
    struct regiving g = {
        .r = r, .roster = roster, .worker = w, .exact = true, .lives = true};
    size_t count;
    int err;

    given_revoke(w->given);
    err = given_close(w->given, note_begun, &g);
    g.certain = err == 0;
    if (err < 0)
        log_error("a page of claims is not valid, nobody knows what its worker "
                  "has begun key=%s",
            w->key);
    count = given_count(w->given);
    router_unstick(r);
    hold_unbegun(&g);
    count -= g.begun + g.lost;
    r->counters.again += count;
    r->counters.lost += g.lost;
    return count;
}
