/* A book's file: how it is made, found, locked, grown and removed. A file has
 * its name only once its lock is held and its head is written, so whoever finds
 * it unlocked knows that its process has ended. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/book_impl.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/secret.h"

#define TRIES 10 /* to make a file */

/* Which boot of the machine this is; "" where the kernel does not say. */
static void read_boot(char out[sizeof(((struct book_head *)0)->boot)])
{
    const char *pretended = getenv(BOOK_TEST_BOOT);
    int fd;

    memset(out, 0, sizeof(((struct book_head *)0)->boot));
    if (pretended) {
        strncpy(out, pretended, sizeof(((struct book_head *)0)->boot) - 1);
        return;
    }
    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, out, sizeof(((struct book_head *)0)->boot) - 1) < 0)
        out[0] = '\0';
    close(fd);
}

int book_folder(const char *path)
{
    struct stat st;
    int fd;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 077) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

uint64_t book_where(int folder, const char *path)
{
    static const uint8_t key[16];
    char boot[sizeof(((struct book_head *)0)->boot)];
    struct stat st = {0};
    char *text;
    uint64_t where;

    read_boot(boot);
    (void)fstat(folder, &st);
    text = xasprintf(
        "%.*s %ju %s", (int)sizeof(boot), boot, (uintmax_t)st.st_dev, path);
    where = hash_siphash(text, strlen(text), key);
    free(text);
    return where;
}

bool book_is_of(const char *name, const char *slot)
{
    size_t len = strlen(slot);

    return strncmp(name, slot, len) == 0 && name[len] == '.' &&
           strlen(name) < BOOK_NAME_MAX;
}

static void free_book(struct book *b)
{
    if (b->base)
        munmap(b->base, b->mapped);
    if (b->fd >= 0)
        close(b->fd);
    if (b->folder >= 0)
        close(b->folder);
    free(b->places.back);
    for (size_t i = 0; i < BOOK_CLASSES; i++)
        free(b->cells[i].back);
    free(b);
}

static struct book *new_book(int folder, const char *name)
{
    struct book *b = xcalloc(1, sizeof(*b));

    b->fd = -1;
    b->folder = fcntl(folder, F_DUPFD_CLOEXEC, 0);
    snprintf(b->name, sizeof(b->name), "%s", name);
    return b;
}

/* Addresses for at least size bytes; those behind the end of the file are not
 * touched before it has grown. */
static int map(struct book *b, size_t size)
{
    size_t mapped = b->mapped > 0 ? b->mapped : 16 * BOOK_BLOCK;
    void *base;

    while (mapped < size)
        mapped *= 2;
    if (mapped == b->mapped)
        return 0;
    base = b->base ? mremap(b->base, b->mapped, mapped, MREMAP_MAYMOVE)
                   : mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED,
                         b->fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    b->base = base;
    b->mapped = mapped;
    return 0;
}

/* A file with a hole would be a SIGBUS when the last page of it is wanted and
 * tmpfs is full: take the memory now. */
static int extend(struct book *b)
{
    size_t size = b->size + BOOK_BLOCK;
    int err;

    if (size > BOOK_SIZE_MAX)
        return -ENOSPC;
    do
        err = posix_fallocate(b->fd, (off_t)b->size, BOOK_BLOCK);
    while (err == EINTR);
    if (err == 0)
        err = -map(b, size);
    if (err == 0)
        b->size = size;
    return -err;
}

uint32_t book_grow(struct book *b, uint32_t kind)
{
    uint32_t block = (uint32_t)(b->size / BOOK_UNIT);

    if (extend(b) < 0)
        return 0;
    *(uint32_t *)book_at(b, block) = kind;
    book_head(b)->blocks = (uint32_t)(b->size / BOOK_BLOCK);
    return block;
}

static int write_head(struct book *b, const char *salt)
{
    struct book_head head = {.magic = BOOK_MAGIC,
        .block = BOOK_BLOCK,
        .place = sizeof(struct book_place),
        .blocks = 1};
    int err = extend(b);

    if (err < 0)
        return err;
    read_boot(head.boot);
    memcpy(head.salt, salt, sizeof(head.salt));
    head.check = book_check_of_head(&head);
    memcpy(b->base, &head, sizeof(head));
    return 0;
}

/* -EAGAIN: somebody was faster. */
static int make(struct book *b, const char *slot)
{
    char token[SECRET_TOKEN_SIZE];
    char fresh[BOOK_NAME_MAX + 8];
    int err;

    secret_new_token(token);
    snprintf(b->name, sizeof(b->name), "%.64s.%.16s", slot, token);
    snprintf(fresh, sizeof(fresh), "%s.new", b->name);
    b->fd = openat(b->folder, fresh,
        O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (b->fd < 0)
        return errno == EEXIST ? -EAGAIN : -errno;
    err = flock(b->fd, LOCK_EX | LOCK_NB) < 0 ? -EAGAIN
                                              : write_head(b, token + 16);
    if (err == 0 && renameat(b->folder, fresh, b->folder, b->name) < 0)
        err = errno == ENOENT ? -EAGAIN : -errno;
    if (err < 0)
        unlinkat(b->folder, fresh, 0);
    return err;
}

int book_create(struct book **out, int folder, const char *slot)
{
    int err = -EAGAIN;

    for (int i = 0; i < TRIES && err == -EAGAIN; i++) {
        struct book *b = new_book(folder, slot);

        err = make(b, slot);
        if (err == 0)
            *out = b;
        else
            free_book(b);
    }
    return err;
}

void book_sign(struct book *b, uint64_t family, uint16_t gateway_port)
{
    struct book_head *head = book_head(b);

    head->gateway_port = gateway_port;
    head->family = family;
    head->check = book_check_of_head(head);
}

uint64_t book_family(const struct book *b)
{
    return book_head(b)->family;
}

uint16_t book_gateway_port(const struct book *b)
{
    return book_head(b)->gateway_port;
}

/* Its name is still there: it was not removed while this process waited. */
static bool has_name(const struct book *b, const struct stat *st)
{
    struct stat named;

    return fstatat(b->folder, b->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_ino == st->st_ino && named.st_dev == st->st_dev;
}

static bool is_fresh(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && strcmp(name + len - 4, ".new") == 0;
}

/* 0; -EPROTO; -ENOENT: nobody can be in it; or another -errno: it stays. */
static int check(struct book *b, const struct stat *st)
{
    struct book_head *head, own;
    int err;

    if (is_fresh(b->name))
        return -ENOENT;
    if (!S_ISREG(st->st_mode) || st->st_size < BOOK_BLOCK ||
        (uint64_t)st->st_size > BOOK_SIZE_MAX)
        return -EPROTO;
    b->size = (size_t)st->st_size / BOOK_BLOCK * BOOK_BLOCK;
    err = map(b, b->size);
    if (err < 0)
        return err;
    assert(b->base);
    head = book_head(b);
    if (memcmp(head->magic, BOOK_MAGIC, sizeof(head->magic)) != 0 ||
        head->block != BOOK_BLOCK || head->place != sizeof(struct book_place))
        return -EPROTO;
    if (head->check != book_check_of_head(head)) /* or it was not signed yet */
        return b->size > BOOK_BLOCK || head->blocks > 1 ? -EPROTO : -ENOENT;
    read_boot(own.boot);
    b->old = memcmp(head->boot, own.boot, sizeof(head->boot)) != 0;
    book_sift(b);
    return 0;
}

/* The lock is held for a moment: whoever wants it then tries again. */
int book_probe(int folder, const char *name, uint64_t *family)
{
    struct book_head head;
    int err = 0;
    int fd;

    if (is_fresh(name))
        return -ENOENT;
    fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        err = errno == EWOULDBLOCK ? -EAGAIN : -errno;
    else if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
             memcmp(head.magic, BOOK_MAGIC, sizeof(head.magic)) != 0)
        err = -EPROTO;
    else
        *family = head.family;
    close(fd);
    return err;
}

int book_inherit(struct book **out, int folder, const char *name)
{
    struct book *b = new_book(folder, name);
    struct stat st;
    int err = 0;

    b->fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (b->fd < 0)
        err = -errno;
    else if (flock(b->fd, LOCK_EX | LOCK_NB) < 0)
        err = errno == EWOULDBLOCK ? -EAGAIN : -errno;
    else if (fstat(b->fd, &st) < 0 || !has_name(b, &st))
        err = -ENOENT;
    else if ((err = check(b, &st)) == -EPROTO || err == -ENOENT)
        unlinkat(folder, name, 0);
    if (err < 0)
        free_book(b);
    else
        *out = b;
    return err;
}

void book_close(struct book *b)
{
    if (b->count == 0)
        unlinkat(b->folder, b->name, 0);
    free_book(b);
}

bool book_is_old(const struct book *b)
{
    return b->old;
}

size_t book_garbled(const struct book *b)
{
    return b->garbled;
}

const char *book_name(const struct book *b)
{
    return b->name;
}

size_t book_count(const struct book *b)
{
    return b->count;
}

size_t book_size(const struct book *b)
{
    return b->size;
}

/* ---- a worker's side ---- */

struct bookmarks {
    int fd; /* without the lock */
    uint8_t *base;
    size_t size; /* bytes mapped; all in the file */
    char name[BOOK_NAME_MAX];
};

/* The file only grows while it is in use. */
static int look_again(struct bookmarks *m)
{
    struct stat st;
    size_t size;
    void *base;

    if (fstat(m->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > BOOK_SIZE_MAX)
        return -EPROTO;
    size = (size_t)st.st_size / BOOK_BLOCK * BOOK_BLOCK;
    if (size <= m->size)
        return m->size > 0 ? 0 : -EPROTO;
    base = m->base
               ? mremap(m->base, m->size, size, MREMAP_MAYMOVE)
               : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    m->base = base;
    m->size = size;
    return 0;
}

int bookmarks_open(struct bookmarks **out, int folder, const char *name)
{
    struct bookmarks *m;
    int err;

    if (strchr(name, '/') || strlen(name) >= BOOK_NAME_MAX)
        return -EINVAL;
    m = xcalloc(1, sizeof(*m));
    snprintf(m->name, sizeof(m->name), "%s", name);
    m->fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    err = m->fd < 0 ? -errno : look_again(m);
    if (err == 0 && memcmp(m->base, BOOK_MAGIC,
                        sizeof(((struct book_head *)0)->magic)) != 0)
        err = -EPROTO;
    if (err < 0)
        bookmarks_close(m);
    else
        *out = m;
    return err;
}

void bookmarks_close(struct bookmarks *m)
{
    if (m->base)
        munmap(m->base, m->size);
    if (m->fd >= 0)
        close(m->fd);
    free(m);
}

const char *bookmarks_name(const struct bookmarks *m)
{
    return m->name;
}

bool bookmarks_begin(
    struct bookmarks *m, uint32_t place, uint32_t id, enum bookmark bit)
{
    struct book_place *p;

    if ((size_t)place * BOOK_UNIT >= m->size)
        look_again(m);
    if (!book_is_place(m->base, m->size, place))
        return false;
    p = (void *)(m->base + (size_t)place * BOOK_UNIT);
    return bookmark_begin(&p->mark, id, bit);
}
