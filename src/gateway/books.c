/* What of a client is in the book, and when an entry is over.
 *
 * A record has three parts: the session, the names, and, once the client has
 * ended, how. Of the last two each begins with its own head (close_info.h), so
 * that whoever inherits them puts the body of ON_CLOSE together without a look
 * at what it says.
 *
 * Nobody tells when an ON_CLOSE begins; the entry's word says so. Entries that
 * wait for that stand in a ring, and are looked at by turns. */
#include "gateway/books_impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#define FULL_LOG_MS 60000 /* one line about a lack of room in it */
#define SWEEP_STEP  2     /* entries that are looked at when one more waits */

_Static_assert(BOOKS_MAX <= 32, "client.book holds its number");

enum part { SESSION, NAMES, END };

static void fail(struct books *b, uint64_t *count, const char *what, int err)
{
    ++*count;
    if (log_may(&b->full, "clients not in the book", 1, FULL_LOG_MS))
        log_error("the book of clients has no room (book_dir), should this "
                  "process be killed onClose may miss some %s err=\"%s\"",
            what, strerror(-err));
}

/* 0 or -errno; then there is none. */
static int open_folder(struct books *b)
{
    if (b->folder >= 0)
        close(b->folder);
    b->folder = book_folder(b->path);
    return b->folder < 0 ? b->folder : 0;
}

static void make_own(struct books *b)
{
    int err = book_create(&b->book[BOOKS_OWN], b->folder, b->slot);

    if (err == -ENOENT && open_folder(b) == 0) /* removed in between */
        err = book_create(&b->book[BOOKS_OWN], b->folder, b->slot);
    if (err < 0 && log_may(&b->full, "clients not in the book", 1, FULL_LOG_MS))
        log_error("cannot make a book of clients (book_dir) err=\"%s\"",
            strerror(-err));
    if (err == 0) {
        book_sign(b->book[BOOKS_OWN], b->family, b->gateway_port);
        b->serial++;
    }
}

struct books *books_new(const struct books_conf *conf)
{
    struct books *b = xcalloc(1, sizeof(*b));
    bool wanted = conf->folder && conf->folder[0];

    b->folder = -1;
    b->path = conf->folder;
    if (wanted)
        open_folder(b);
    b->session_max = conf->session_max;
    b->family = conf->family;
    b->gateway_port = conf->gateway_port;
    snprintf(b->slot, sizeof(b->slot), "%.60s", conf->slot);
    if (wanted && b->folder < 0)
        log_error("no book of clients can be kept in %s (book_dir), should "
                  "this process be killed onClose may miss some err=\"%s\"",
            conf->folder, strerror(-b->folder));
    if (b->folder >= 0)
        make_own(b);
    return b;
}

bool books_are_kept(const struct books *b)
{
    return b->folder >= 0;
}

uint64_t books_where(const struct books *b)
{
    return book_where(b->folder, b->path);
}

/* ---- what is written ---- */

static bool is_in(const struct books *b, const struct client *c)
{
    return c->place != 0 && !c->gone && b->book[BOOKS_OWN];
}

static struct book_bytes session_of(
    const struct books *b, const struct client *c)
{
    if (c->session_len > b->session_max)
        return (struct book_bytes){NULL, 0};
    return (struct book_bytes){c->session, c->session_len};
}

/* Nothing is written for a client that has no names. */
static struct book_bytes names_of(struct books *b, const struct client *c)
{
    buf_clear(&b->names);
    if (c->uid.name || c->ngroups > 0)
        close_info_put_names(&b->names, c, BOOKS_GROUPS);
    return (struct book_bytes){b->names.data, b->names.len};
}

static void write_record(struct books *b, const struct client *c,
    const struct book_record *record, const char *what)
{
    int err = book_write(b->book[BOOKS_OWN], c->place, record);

    if (err < 0)
        fail(b, &b->cut, what, err);
}

static void write_part(struct books *b, const struct client *c, enum part part,
    struct book_bytes bytes, const char *what)
{
    struct book_entry e;

    book_read(b->book[BOOKS_OWN], c->place, &e);
    if (bytes.len == 0 && e.record.part[part].len == 0)
        return;
    e.record.part[part] = bytes;
    write_record(b, c, &e.record, what);
}

static void on_names(const struct client *c, void *arg)
{
    struct books *b = arg;

    if (is_in(b, c))
        write_part(b, c, NAMES, names_of(b, c), "uids and groups");
}

static void on_session(const struct client *c, void *arg)
{
    struct books *b = arg;

    if (is_in(b, c))
        write_part(b, c, SESSION, session_of(b, c), "sessions");
}

void books_watch(struct books *b, struct roster *roster)
{
    static const struct roster_watch watch = {on_names, on_session};

    if (books_are_kept(b))
        roster_watch(roster, &watch, b);
}

void books_enter(struct books *b, struct client *c)
{
    if (!books_are_kept(b))
        return;
    if (b->book[BOOKS_OWN])
        c->place = book_enter(b->book[BOOKS_OWN], c->id, &c->peer);
    if (c->place == 0)
        fail(b, &b->left_out, "clients", -ENOSPC);
}

void books_cancel(struct books *b, struct client *c)
{
    if (!is_in(b, c))
        return;
    book_leave(b->book[BOOKS_OWN], c->place);
    c->place = 0;
}

void books_bind(
    struct books *b, const struct client *c, uint64_t key_hash, unsigned flags)
{
    if (c->place != 0 && b->book[c->book])
        book_bind(b->book[c->book], c->place,
            (key_hash & ~(uint64_t)BOOKS_FLAGS) | flags);
}

/* ---- the end of entries ---- */

static void push(struct books_ring *r, struct books_closing item)
{
    if (r->count == r->cap) {
        size_t cap = r->cap > 0 ? r->cap * 2 : 64;
        struct books_closing *items = xcalloc(cap, sizeof(*items));

        for (size_t i = 0; i < r->count; i++)
            items[i] = r->items[(r->first + i) & (r->cap - 1)];
        free(r->items);
        r->items = items;
        r->first = 0;
        r->cap = cap;
    }
    r->items[(r->first + r->count++) & (r->cap - 1)] = item;
}

static struct books_closing pop(struct books_ring *r)
{
    struct books_closing item = r->items[r->first];

    r->first = (r->first + 1) & (r->cap - 1);
    r->count--;
    return item;
}

/* An inherited book goes with its last entry. */
void books_over(struct books *b, unsigned number, uint32_t place)
{
    struct book *book = b->book[number];

    book_leave(book, place);
    if (number == BOOKS_OWN || book_count(book) > 0)
        return;
    book_close(book);
    b->book[number] = NULL;
}

static void sweep(struct books *b, size_t count)
{
    for (; count > 0 && b->closing.count > 0; count--) {
        struct books_closing item = pop(&b->closing);

        if (!(bookmark_get(book_mark(b->book[item.number], item.place)) &
                BOOKMARK_CLOSED)) {
            push(&b->closing, item);
            continue;
        }
        b->given -= item.number != BOOKS_OWN;
        books_over(b, item.number, item.place);
    }
}

void books_tend(struct books *b)
{
    sweep(b, b->closing.count);
    if (books_are_kept(b) && !b->book[BOOKS_OWN])
        make_own(b);
}

void books_free(struct books *b)
{
    sweep(b, b->closing.count);
    for (size_t i = 0; i < BOOKS_MAX; i++)
        if (b->book[i])
            book_close(b->book[i]);
    if (b->folder >= 0) {
        close(b->folder);
        rmdir(b->path); /* unless others are in it */
    }
    free(b->closing.items);
    free(b->orphans);
    buf_fini(&b->names);
    free(b);
}

void books_end(struct books *b, struct client *c, const struct buf *end)
{
    if (!is_in(b, c))
        return;
    write_part(b, c, END, (struct book_bytes){end->data, end->len}, "causes");
    push(&b->closing, (struct books_closing){c->place, BOOKS_OWN});
    sweep(b, SWEEP_STEP);
}

void books_given(struct books *b, unsigned number, uint32_t place)
{
    push(&b->closing, (struct books_closing){place, number});
    b->given++;
}

/* ---- events ---- */

static enum bookmark bit_of(uint8_t cmd)
{
    return cmd == FRAME_ON_CLOSE ? BOOKMARK_CLOSED : BOOKMARK_CONNECTED;
}

static void put_home(
    const struct books *b, const struct client *c, struct frame *f)
{
    f->local_ip = b->home[c->book].ip;
    f->local_port = b->home[c->book].port;
    f->gateway_port = book_gateway_port(b->book[c->book]);
}

void books_put(struct books *b, const struct client *c, struct frame *f,
    enum books_worker worker)
{
    uint64_t *mark;

    if (c->place == 0 || !b->book[c->book])
        return;
    if (books_is_adopted(c->book))
        put_home(b, c, f);
    mark = book_mark(b->book[c->book], c->place);
    if (worker == BOOKS_IS_SILENT) {
        bookmark_begin(mark, c->id, bit_of(f->cmd));
        return;
    }
    f->flag |= FRAME_FLAG_BOOK;
    f->book = c->book;
    f->place = c->place;
    if (books_is_adopted(c->book))
        f->book |= FRAME_BOOK_OTHER;
    if (worker == BOOKS_WILL_TELL && c->book != BOOKS_OWN &&
        !(bookmark_get(mark) & BOOKMARK_CONNECTED))
        f->book |= FRAME_BOOK_MAYBE;
}

/* The entry of f, or NULL: it is over. */
static uint64_t *mark_of(const struct books *b, const struct frame *f)
{
    const struct book *book = b->book[f->book % BOOKS_MAX];

    return book && book_has(book, f->place, f->connection_id)
               ? book_mark(book, f->place)
               : NULL;
}

void books_begun(struct books *b, const struct frame *f)
{
    uint64_t *mark = frame_has_place(f) ? mark_of(b, f) : NULL;

    if (mark)
        bookmark_begin(mark, f->connection_id, bit_of(f->cmd));
}

bool books_have_begun(const struct books *b, const struct frame *f)
{
    const uint64_t *mark;

    if (!frame_has_place(f))
        return false;
    mark = mark_of(b, f);
    return !mark || bookmark_get(mark) & bit_of(f->cmd);
}

void books_take_back(
    struct books *b, const struct client *c, const struct frame *f)
{
    if (frame_has_place(f) || f->cmd != FRAME_ON_CONNECT || !is_in(b, c))
        return;
    /* Nobody asked: it counted as begun when it left. */
    bookmark_take_back(
        book_mark(b->book[BOOKS_OWN], c->place), BOOKMARK_CONNECTED);
}

/* ---- orphans ---- */

static void grow_orphans(struct books *b)
{
    size_t cap = b->orphans_cap > 0 ? b->orphans_cap * 2 : 64;
    struct books_orphan *items = xcalloc(cap, sizeof(*items));

    for (size_t i = 0; i < b->norphans; i++)
        items[i] = b->orphans[(b->first_orphan + i) & (b->orphans_cap - 1)];
    free(b->orphans);
    b->orphans = items;
    b->orphans_cap = cap;
    b->first_orphan = 0;
}

void books_put_orphan(struct books *b, const struct books_orphan *o)
{
    if (b->norphans == b->orphans_cap)
        grow_orphans(b);
    b->orphans[(b->first_orphan + b->norphans++) & (b->orphans_cap - 1)] = *o;
}

bool books_take_orphan(struct books *b, struct books_orphan *out)
{
    if (b->norphans == 0)
        return false;
    *out = b->orphans[b->first_orphan];
    b->first_orphan = (b->first_orphan + 1) & (b->orphans_cap - 1);
    b->norphans--;
    return true;
}

bool books_awaits(const struct books *b, const struct books_orphan *o)
{
    const struct book *book = b->book[o->number];

    return book && book_has(book, o->place, o->id) &&
           !(bookmark_get(book_mark(book, o->place)) & BOOKMARK_CLOSED);
}

/* ---- books ---- */

struct book *books_number(const struct books *b, unsigned number)
{
    return b->book[number];
}

void books_each(const struct books *b, books_name_cb each, void *arg)
{
    for (unsigned i = 0; i < BOOKS_MAX; i++)
        if (b->book[i])
            each(i, book_name(b->book[i]), arg);
}

unsigned books_serial(const struct books *b)
{
    return b->serial;
}

struct book *books_inherited(const struct books *b, unsigned number)
{
    return number != BOOKS_OWN ? b->book[number] : NULL;
}

bool books_have(const struct books *b, const char *name)
{
    for (size_t i = 0; i < BOOKS_MAX; i++)
        if (b->book[i] && strcmp(book_name(b->book[i]), name) == 0)
            return true;
    return false;
}

/* From first on and below end; NULL: all are taken. */
struct book **books_free_number(struct books *b, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        if (!b->book[i])
            return &b->book[i];
    return NULL;
}

static void say_inherited(
    const struct books *b, struct book *const *book, const char *name)
{
    if (books_is_adopted((unsigned)(book - b->book)))
        log_notice("adopted the book of a gateway that does not come again "
                   "file=%s clients=%zu",
            name, book_count(*book));
    else
        log_notice("inherited the book of an earlier process file=%s "
                   "clients=%zu",
            name, book_count(*book));
    if (book_is_old(*book))
        log_notice("the book is of another boot, what it gives is not certain "
                   "file=%s",
            name);
}

/* What has become of it: may it be there later? */
static bool is_late(struct books *b, int err, const char *name)
{
    if (err == -EPROTO) {
        b->garbled++;
        log_warn("book of clients discarded, it is not valid, some onClose "
                 "will not come file=%s",
            name);
    } else if (err < 0 && err != -EAGAIN && err != -ENOENT) {
        if (log_may(&b->full, "books not read", 1, FULL_LOG_MS))
            log_warn("cannot read a book of clients file=%s err=\"%s\"", name,
                strerror(-err));
    }
    return err == -EAGAIN || err == -EMFILE || err == -ENFILE || err == -ENOMEM;
}

/* 1: it is new and has entries. */
size_t books_take_over(
    struct books *b, struct book **book, const char *name, bool *wait)
{
    int err;

    if (!book)
        return 0;
    err = book_inherit(book, b->folder, name);
    *wait |= is_late(b, err, name);
    if (err < 0)
        return 0;
    if (book_garbled(*book) > 0)
        log_warn("book of clients is damaged, some onClose will not come or "
                 "not know all file=%s garbled=%zu",
            name, book_garbled(*book));
    b->garbled += book_garbled(*book);
    if (book_count(*book) > 0) {
        say_inherited(b, book, name);
        return 1;
    }
    book_close(*book);
    *book = NULL;
    return 0;
}

/* NULL: there are no books. */
DIR *books_list(const struct books *b)
{
    int fd = books_are_kept(b) ? dup(b->folder) : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir)
        rewinddir(dir);
    else if (fd >= 0)
        close(fd);
    return dir;
}

size_t books_inherit(struct books *b, bool *wait)
{
    const struct dirent *entry;
    size_t count = 0;
    DIR *dir = books_list(b);

    *wait = !dir && books_are_kept(b); /* no descriptor is left */
    if (!dir)
        return 0;
    while ((entry = readdir(dir)))
        if (book_is_of(entry->d_name, b->slot) && !books_have(b, entry->d_name))
            count += books_take_over(b,
                books_free_number(b, BOOKS_OWN + 1, BOOKS_ADOPTED),
                entry->d_name, wait);
    closedir(dir);
    b->serial += count > 0;
    return count;
}

struct books_counts books_counts(const struct books *b)
{
    struct books_counts counts = {.given = b->given,
        .orphans = b->norphans,
        .left_out = b->left_out,
        .cut = b->cut,
        .garbled = b->garbled};

    for (size_t i = 0; i < BOOKS_MAX; i++) {
        if (!b->book[i])
            continue;
        counts.entries += book_count(b->book[i]);
        counts.inherited += i == BOOKS_OWN ? 0 : book_count(b->book[i]);
        counts.bytes += book_size(b->book[i]);
    }
    return counts;
}
