/* The page of claims. One word decides all: its low half is the number of
 * claims, which only the worker advances; two bits say that the worker has
 * joined and that the gateway has revoked. The worker expects the word to be
 * as it has left it, so that one compare-and-swap tells whether it is revoked,
 * or whether somebody has written nonsense. Numbers of events lie in a ring on
 * lines of memory of their own. A slot of it is written again only when the
 * gateway knows of the claim that stood there: it gives no more than
 * CLAIMS_EVENTS events of which it does not know. Requests begin in the order
 * in which they came: of them a second word, of the same form, is enough. */
#include "proc/claims.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/hash.h"

#define MAGIC   0x3153646d69616c63u /* of this layout */
#define REVOKED (UINT64_C(1) << 63)
#define JOINED  (UINT64_C(1) << 62)
#define COUNT   UINT64_C(0xffffffff)

#define LINE 64 /* bytes of memory that processors hand to each other */

/* Who counts what was sent and not run. A worker of an earlier version shows
 * nothing, and leaves NOBODY there. */
enum account {
    NOBODY,
    OPEN,    /* the worker shows what it sends */
    GATEWAY, /* … the gateway has counted, and left in counted how far … */
    WORKER,  /* … or the worker has */
};

struct page {
    uint64_t magic;
    _Atomic uint32_t beats;
    _Atomic uint32_t account;
    struct claims_sent sent;
    _Atomic uint32_t counted[RECEIPT_KINDS];
    uint8_t unused[LINE - sizeof(uint64_t) -
                   (2 + 2 * RECEIPT_KINDS) * sizeof(uint32_t)];
    _Atomic uint64_t word;
    _Atomic uint64_t requests; /* likewise, and without a ring */
    uint8_t unused_too[LINE - 2 * sizeof(uint64_t)];
    _Atomic uint32_t numbers[CLAIMS_EVENTS];
};

_Static_assert(offsetof(struct page, word) == LINE, "a line of its own");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "plain loads and stores");
_Static_assert(offsetof(struct page, numbers) == 2 * LINE, "others");

_Static_assert((CLAIMS_EVENTS & (CLAIMS_EVENTS - 1)) == 0, "a power of two");

struct claims {
    struct page *page; /* mapped */
    unsigned users;    /* that have it open, but one */
    uint64_t word;     /* as the worker has left it; or for the gateway, as it
                          was when revoked */
    int over;          /* 0, or why the worker claims nothing any more */
    uint64_t requests; /* the other word, likewise */
    char name[SECRET_TOKEN_SIZE];
    char *path; /* owned; NULL: the name is not ours to take away */
};

/* ---- files ---- */

void claims_prefix(char out[CLAIMS_PREFIX_SIZE], const char *run_dir)
{
    static const uint8_t key[16];

    snprintf(out, CLAIMS_PREFIX_SIZE, "/dev/shm/gwrun-%016llx",
        (unsigned long long)hash_siphash(run_dir, strlen(run_dir), key));
}

static char *path_of(const char *prefix, const char *name)
{
    return xasprintf("%s-%s", prefix, name);
}

/* Map the file, with room for all of it: where a disk is full that is an error
 * now and not a signal later. */
static int map(struct page **out, int fd)
{
    int err = posix_fallocate(fd, 0, sizeof(struct page));
    void *page;

    if (err != 0)
        return -err;
    page = mmap(
        NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    *out = page;
    return 0;
}

void claims_clean(const char *prefix)
{
    const char *base = strrchr(prefix, '/') + 1;
    size_t len = strlen(base);
    char *folder = xstrndup(prefix, (size_t)(base - prefix));
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, base, len) == 0 && entry->d_name[len] == '-')
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
    free(folder);
}

struct claims *claims_share(struct claims *c)
{
    c->users++;
    return c;
}

void claims_close(struct claims *c)
{
    if (!c || c->users-- > 0)
        return;
    /* A worker that has joined has done that itself. */
    if (c->path && !(atomic_load(&c->page->word) & JOINED))
        unlink(c->path);
    munmap(c->page, sizeof(*c->page));
    free(c->path);
    free(c);
}

/* ---- the gateway ---- */

int claims_create(struct claims **out, const char *prefix)
{
    struct claims *c = xcalloc(1, sizeof(*c));
    int fd, err;

    secret_new_token(c->name);
    c->path = path_of(prefix, c->name);
    fd = open(c->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
        S_IRUSR | S_IWUSR);
    err = fd < 0 ? -errno : map(&c->page, fd);
    if (fd >= 0)
        close(fd);
    if (err < 0) {
        if (fd >= 0)
            unlink(c->path);
        free(c->path);
        free(c);
        return err;
    }
    c->page->magic = MAGIC;
    *out = c;
    return 0;
}

const char *claims_name(const struct claims *c)
{
    return c->name;
}

int64_t claims_revoke(struct claims *c)
{
    if (!(c->word & REVOKED))
        c->word = atomic_fetch_or(&c->page->word, REVOKED) | REVOKED;
    if (c->word & ~(REVOKED | JOINED | COUNT))
        return -EPROTO;
    if (c->word & JOINED)
        return (int64_t)(c->word & COUNT);
    return (c->word & COUNT) ? -EPROTO : -ENOTCONN;
}

int64_t claims_revoke_requests(struct claims *c)
{
    uint64_t word = atomic_fetch_or(&c->page->requests, REVOKED);

    if (word & ~(REVOKED | JOINED | COUNT))
        return -EPROTO;
    return word & JOINED ? (int64_t)(word & COUNT) : -ENOTCONN;
}

static _Atomic uint32_t *slot(const struct claims *c, uint32_t i)
{
    return &c->page->numbers[i % CLAIMS_EVENTS];
}

uint32_t claims_get(const struct claims *c, uint32_t i)
{
    return atomic_load_explicit(slot(c, i), memory_order_relaxed);
}

bool claims_pulse(const struct claims *c, uint64_t *pulse)
{
    uint64_t word = atomic_load_explicit(&c->page->word, memory_order_relaxed);

    *pulse = word << 32 |
             atomic_load_explicit(&c->page->beats, memory_order_relaxed);
    return (word & (JOINED | REVOKED)) == JOINED;
}

bool claims_shows_sent(const struct claims *c)
{
    return atomic_load(&c->page->account) != NOBODY;
}

/* What was sent beyond what was run is no more than can lie in a queue. */
int claims_count_unrun(
    struct claims *c, const struct receipt *run, struct receipt *unrun)
{
    uint32_t open = OPEN;

    if (atomic_load(&c->page->account) != OPEN)
        return atomic_load(&c->page->account) == WORKER ? -EALREADY : -ENOTSUP;
    *unrun = (struct receipt){0};
    for (int i = RECEIPT_SEND; i < RECEIPT_KINDS; i++) {
        uint32_t sent = atomic_load_explicit(
            &c->page->sent.orders[i], memory_order_relaxed);

        unrun->orders[i] = sent - run->orders[i];
        if (unrun->orders[i] > CLAIMS_UNRUN_MAX)
            return -EPROTO;
        atomic_store_explicit(&c->page->counted[i], sent, memory_order_relaxed);
    }
    if (!atomic_compare_exchange_strong(&c->page->account, &open, GATEWAY))
        return open == WORKER ? -EALREADY : -EPROTO;
    return 0;
}

/* ---- the worker ---- */

/* Ours alone, and as large as it must be. */
static int check(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0777) != (S_IRUSR | S_IWUSR))
        return -EPERM;
    return st.st_size == (off_t)sizeof(struct page) ? 0 : -EPROTO;
}

static bool is_name(const char *name, size_t len)
{
    return len == SECRET_TOKEN_SIZE - 1 &&
           strspn(name, "0123456789abcdef") == len;
}

/* Revoked already: it has never been joined, and nothing can be claimed. */
static void join(struct claims *c)
{
    uint64_t before = 0;

    c->word = JOINED;
    if (!atomic_compare_exchange_strong(&c->page->word, &before, JOINED))
        c->over = before == REVOKED ? -ECANCELED : -EPROTO;
}

static int open_page(struct page **out, const char *path)
{
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    int err;

    if (fd < 0)
        return -errno;
    err = check(fd);
    if (err == 0)
        err = map(out, fd);
    close(fd);
    return err;
}

int claims_open(
    struct claims **out, const char *prefix, const void *name, size_t len)
{
    struct claims *c = xcalloc(1, sizeof(*c));
    char *path = NULL;
    int err = -EPROTO;

    if (len < sizeof(c->name)) {
        memcpy(c->name, name, len);
        path = path_of(prefix, c->name);
        err = is_name(c->name, len) ? open_page(&c->page, path) : -EPROTO;
    }
    if (err == 0 && c->page->magic != MAGIC) {
        munmap(c->page, sizeof(*c->page));
        err = -EPROTO;
    }
    if (err == 0) {
        unlink(path);
        join(c);
        *out = c;
    } else {
        free(c);
    }
    free(path);
    return err;
}

int claims_begin(struct claims *c, uint32_t number)
{
    uint64_t word = c->word;
    uint64_t next = JOINED | (uint32_t)(word + 1);

    if (c->over != 0)
        return c->over;
    atomic_store_explicit(
        slot(c, (uint32_t)word), number, memory_order_relaxed);
    if (atomic_compare_exchange_strong(&c->page->word, &word, next)) {
        c->word = next;
        return 0;
    }
    c->over = word == (c->word | REVOKED) ? -ECANCELED : -EPROTO;
    return c->over;
}

void claims_join_requests(struct claims *c, uint32_t begun)
{
    uint64_t before = 0;

    c->requests = JOINED | begun;
    atomic_compare_exchange_strong(&c->page->requests, &before, c->requests);
}

/* One that fails will always fail: the page has another word for good. */
bool claims_begin_request(struct claims *c)
{
    uint64_t word = c->requests;
    uint64_t next = JOINED | (uint32_t)(word + 1);

    if (!atomic_compare_exchange_strong(&c->page->requests, &word, next))
        return false;
    c->requests = next;
    return true;
}

struct claims_sent *claims_show_sent(
    struct claims *c, const struct receipt *sent)
{
    uint32_t nobody = NOBODY;

    for (int i = 0; i < RECEIPT_KINDS; i++)
        atomic_store_explicit(
            &c->page->sent.orders[i], sent->orders[i], memory_order_relaxed);
    atomic_compare_exchange_strong(&c->page->account, &nobody, OPEN);
    return &c->page->sent;
}

/* It has lost no fewer than it knows to be run, and no more than it sent. */
static int read_counted(const struct claims *c, const struct receipt *sent,
    struct receipt *confirmed)
{
    struct receipt counted = *confirmed;

    for (int i = RECEIPT_SEND; i < RECEIPT_KINDS; i++) {
        counted.orders[i] =
            atomic_load_explicit(&c->page->counted[i], memory_order_relaxed);
        if (counted.orders[i] - confirmed->orders[i] >
            sent->orders[i] - confirmed->orders[i])
            return -EPROTO;
    }
    *confirmed = counted;
    return 0;
}

int claims_hear_counted(const struct claims *c, const struct receipt *sent,
    struct receipt *confirmed)
{
    uint32_t account = atomic_load(&c->page->account);

    if (account == OPEN)
        return -EAGAIN;
    return account == GATEWAY ? read_counted(c, sent, confirmed) : -EPROTO;
}

int claims_take_account(
    struct claims *c, const struct receipt *sent, struct receipt *confirmed)
{
    uint32_t open = OPEN;

    if (atomic_compare_exchange_strong(&c->page->account, &open, WORKER))
        return 0;
    return claims_hear_counted(c, sent, confirmed);
}

void claims_beat(struct claims *c)
{
    atomic_fetch_add_explicit(&c->page->beats, 1, memory_order_relaxed);
}
