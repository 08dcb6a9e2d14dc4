/* From an inherited entry to an event. Each client in such a book is in one of
 * these states, and goes down the table:
 *
 *   its onClose has begun            | the entry is over
 *   its worker knows itself whom it  | that worker makes up the onClose when it
 *   has: gwrun's of another machine  | misses the gateway; the entry is over
 *   that has no "far_book", or the   |
 *   book is of another boot          |
 *   its onConnect has not begun      | it is revoked, and the entry over
 *   or only a worker of another      | that one is given ON_CLOSE, and knows
 *   machine knows whether it has     | better; without it the entry is over
 *   else                             | ON_CLOSE is given, once by this process
 *
 * What a book of another boot gives is not certain: the disk may not have what
 * was written last.
 *
 * A note in the entry says that this process has given it. Few are given at a
 * time, so that a hundred thousand of them do not lie in memory. */
#include "gateway/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/log.h"

#define IDLE_MS   1000 /* between looks for books … */
#define BUSY_MS   20   /* … and while something is to be given */
#define LOOK_MS   100  /* between looks for a book whose process still lives */
#define ADOPT_MS  1000 /* between looks for those of other gateways */
#define PASS_MS   200  /* between looks at those that wait for their worker */
#define GIVEN_MAX 2000 /* given, and not begun yet */

struct outbox {
    struct outbox_conf conf;
    uv_timer_t timer;
    uint64_t opened_at;        /* ms, clock_now, as all times */
    uint64_t looked_at;        /* for books */
    uint64_t passed_at;        /* the end of the last book was reached */
    uint64_t orphans_at;       /* they were gone through */
    unsigned number;           /* of the book to go on with … */
    uint32_t place;            /* … behind this place */
    uint32_t tag;              /* of this process, for notes */
    bool waits;                /* an earlier process still lives */
    uint64_t adopts_at;        /* the next look for books of other gateways */
    uint64_t since[BOOKS_MAX]; /* each book was here; 0: there is none */
    bool stopped;              /* nothing is adopted any more */
    bool settled;              /* on_settled() was called, or need not be */
    uint64_t given;
    struct buf body; /* scratch */
};

static uint64_t now(const struct outbox *o)
{
    return clock_now(turn_loop(o->conf.turn));
}

size_t outbox_pending(const struct outbox *o)
{
    struct books_counts counts;

    if (!o)
        return 0;
    counts = books_counts(o->conf.books);
    return counts.inherited + counts.orphans;
}

uint64_t outbox_given(const struct outbox *o)
{
    return o ? o->given : 0;
}

bool outbox_is_first(const struct outbox *o)
{
    return o && !o->settled;
}

/* ---- one entry ---- */

/* The event's body, and c's session. */
static void read_record(struct outbox *o, struct client *c,
    const struct book *book, const struct book_entry *e)
{
    const struct book_bytes *part = e->record.part;
    struct close_info_part names = {part[1].data, part[1].len};
    struct close_info_part end = {part[2].data, part[2].len};

    buf_clear(&o->body);
    if (!close_info_put_read(&o->body, &names, &end, !book_is_old(book))) {
        log_warn(
            "what the book says of a client is not valid connection=%u", e->id);
        close_info_put_read(&o->body, &(struct close_info_part){0},
            &(struct close_info_part){0}, !book_is_old(book));
    }
    if (roster_set_session(o->conf.roster, c, part[0].data, part[0].len) < 0)
        log_warn("what the book says of a session is not valid connection=%u",
            e->id);
}

static struct client *revive(unsigned number, const struct book_entry *e)
{
    struct client *c = roster_revive(e->id, &e->peer);

    c->book = (uint8_t)(number & (BOOKS_MAX - 1));
    c->place = e->place;
    return c;
}

static bool is_past(const struct outbox *o, uint64_t since, double seconds)
{
    return now(o) - since >= (uint64_t)(seconds * 1000);
}

/* Only its worker knows whether its onConnect has begun. */
static bool is_unknown(struct book *book, const struct book_entry *e)
{
    return e->worker & BOOKS_TELLS &&
           !(bookmark_get(book_mark(book, e->place)) & BOOKMARK_CONNECTED);
}

/* Only its worker knows whether its onClose has: it was given to it. */
static bool was_given(struct book *book, const struct book_entry *e)
{
    return e->worker & BOOKS_TELLS &&
           (e->record.part[2].len > 0 || book_noted(book, e->place) != 0);
}

/* It goes to the worker that had the client, or, when that has not come for so
 * long, to any; or to nobody. */
static void give(struct outbox *o, unsigned number, struct book *book,
    const struct book_entry *e)
{
    bool unknown = is_unknown(book, e);
    bool doubtful = unknown || was_given(book, e);
    bool past = is_past(
        o, o->since[number], doubtful ? OUTBOX_FAR_PATIENCE : OUTBOX_PATIENCE);
    struct client *c = revive(number, e);
    int err = e->worker != 0 ? router_bind(o->conf.router, c, e->worker) : 0;

    if (err == -EAGAIN && doubtful)
        past = false; /* it is there, and the only one that knows */
    if (err < 0 && (unknown || !past)) {
        roster_release(c);
        if (past)
            books_over(o->conf.books, number, e->place);
        return;
    }
    read_record(o, c, book, e);
    book_note(book, e->place, o->tag);
    books_given(o->conf.books, number, e->place);
    o->given++;
    router_close_inherited(o->conf.router, c, o->body.data, o->body.len);
}

/* The same once more, since its worker was lost. False: not yet. */
static bool give_orphan(struct outbox *o, struct books_orphan *orphan)
{
    struct book *book = books_number(o->conf.books, orphan->number);
    double patience = orphan->certain ? OUTBOX_PATIENCE : OUTBOX_FAR_PATIENCE;
    struct book_entry e;
    struct client *c;
    int err;

    if (!books_awaits(o->conf.books, orphan))
        return true;
    if (orphan->since == 0)
        orphan->since = now(o);
    book_read(book, orphan->place, &e);
    c = revive(orphan->number, &e);
    err = router_bind(o->conf.router, c, e.worker);
    if ((err == -EAGAIN && !orphan->certain) ||
        (err < 0 && !is_past(o, orphan->since, patience))) {
        roster_release(c);
        return false;
    }
    read_record(o, c, book, &e);
    router_close_inherited(o->conf.router, c, o->body.data, o->body.len);
    return true;
}

static void give_orphans(struct outbox *o)
{
    struct books_orphan orphan;

    o->orphans_at = now(o);
    for (size_t n = books_counts(o->conf.books).orphans; n > 0; n--)
        if (books_take_orphan(o->conf.books, &orphan) &&
            !give_orphan(o, &orphan))
            books_put_orphan(o->conf.books, &orphan);
}

static bool is_over(struct book *book, const struct book_entry *e)
{
    uint64_t *mark = book_mark(book, e->place);

    return bookmark_get(mark) & BOOKMARK_CLOSED ||
           (e->worker != 0 && !(e->worker & BOOKS_GIVES)) ||
           (e->worker & BOOKS_TELLS && book_is_old(book)) ||
           (!(e->worker & BOOKS_TELLS) && bookmark_revoke(mark, e->id));
}

/* ---- all of them ---- */

/* Go on where the last pass stopped; false: the end was reached. */
static bool step(struct outbox *o)
{
    struct book *book = books_inherited(o->conf.books, o->number);
    struct book_entry e;

    if (!book)
        o->since[o->number] = 0;
    else if (o->since[o->number] == 0)
        o->since[o->number] =
            books_is_adopted(o->number) ? now(o) : o->opened_at;
    o->place = book ? book_next(book, o->place) : 0;
    if (o->place == 0)
        return ++o->number < BOOKS_MAX;
    if (book_noted(book, o->place) == o->tag)
        return true;
    book_read(book, o->place, &e);
    if (is_over(book, &e))
        books_over(o->conf.books, o->number, o->place);
    else
        give(o, o->number, book, &e);
    return true;
}

static void pass(struct outbox *o)
{
    while (books_counts(o->conf.books).given < GIVEN_MAX) {
        if (step(o))
            continue;
        o->number = BOOKS_OWN + 1;
        o->passed_at = now(o);
        return;
    }
}

static void look(struct outbox *o)
{
    o->looked_at = now(o);
    if (books_inherit(o->conf.books, &o->waits) > 0)
        o->passed_at = 0;
}

static void adopt(struct outbox *o)
{
    if (o->stopped || now(o) < o->adopts_at)
        return;
    o->adopts_at = now(o) + ADOPT_MS;
    /* Where one has ended another may get its number now. */
    for (unsigned i = BOOKS_ADOPTED; i < BOOKS_MAX; i++)
        if (!books_inherited(o->conf.books, i))
            o->since[i] = 0;
    if (books_adopt(o->conf.books, now(o)) > 0)
        o->passed_at = 0;
}

void outbox_stop_adopting(struct outbox *o)
{
    if (o)
        o->stopped = true;
}

static bool is_busy(const struct outbox *o)
{
    return outbox_pending(o) > 0 || o->waits;
}

static void settle(struct outbox *o)
{
    if (o->settled ||
        (is_busy(o) && now(o) - o->opened_at < (uint64_t)(OUTBOX_FIRST * 1000)))
        return;
    o->settled = true;
    if (outbox_pending(o) > 0)
        log_warn("clients can connect though some of the last run's have not "
                 "had their onClose yet clients=%zu",
            outbox_pending(o));
    o->conf.on_settled(o->conf.arg);
}

static void on_tick(uv_timer_t *timer)
{
    struct outbox *o = LIST_ENTRY(timer, struct outbox, timer);
    unsigned serial = books_serial(o->conf.books);

    books_tend(o->conf.books);
    if (o->waits && now(o) - o->looked_at >= LOOK_MS)
        look(o);
    adopt(o);
    if (books_serial(o->conf.books) != serial)
        router_tell_books(o->conf.router);
    if (router_worker_count(o->conf.router) > 0 && outbox_pending(o) > 0 &&
        (o->passed_at == 0 || now(o) - o->passed_at >= PASS_MS))
        pass(o);
    if (router_worker_count(o->conf.router) > 0 &&
        now(o) - o->orphans_at >= PASS_MS)
        give_orphans(o);
    settle(o);
    uv_timer_start(timer, on_tick, is_busy(o) ? BUSY_MS : IDLE_MS, 0);
}

struct outbox *outbox_open(const struct outbox_conf *conf)
{
    struct outbox *o;

    if (!books_are_kept(conf->books))
        return NULL;
    o = xcalloc(1, sizeof(*o));
    o->conf = *conf;
    o->opened_at = now(o);
    o->number = BOOKS_OWN + 1;
    o->tag = hash_bytes("outbox", 6) | 1; /* with the process's own key */
    uv_timer_init(turn_loop(conf->turn), &o->timer);
    look(o);
    o->settled = !is_busy(o);
    uv_timer_start(&o->timer, on_tick, is_busy(o) ? 0 : IDLE_MS, 0);
    return o;
}

void outbox_close(struct outbox *o)
{
    if (!o)
        return;
    buf_fini(&o->body);
    handle_close(&o->timer, o);
}
