/* Which slots of the shared table are in use: a chain for each bucket of
 * hashes, a heap of those that will be over, a list of those that are free
 * again. What a call costs does not depend on how many keys there are, but for
 * the heap, which grows by a level when their number doubles. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/shared_impl.h"
#include "util/alloc.h"

#define MAGIC      0x6777727368617232ULL
#define AREA_ALIGN 64 /* bytes: a line of the cache */

/* ---- the area ---- */

/* Where the parts of an area lie. */
struct layout {
    size_t buckets, due, slots, size; /* bytes from its beginning */
    uint32_t mask;
};

static size_t align(size_t bytes)
{
    return (bytes + AREA_ALIGN - 1) / AREA_ALIGN * AREA_ALIGN;
}

static struct layout lay_out(size_t keys)
{
    struct layout l = {.buckets = align(sizeof(struct area))};
    size_t buckets = 1;

    while (buckets < keys)
        buckets *= 2;
    l.mask = (uint32_t)(buckets - 1);
    l.due = l.buckets + align(buckets * sizeof(slot_ref));
    l.slots = l.due + align(keys * sizeof(struct due));
    l.size = l.slots + keys * sizeof(struct slot);
    return l;
}

static void *map(int fd, size_t size)
{
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Make zeros a table. */
static int prepare(struct area *area, size_t keys)
{
    pthread_mutexattr_t attr;
    int err;

    if (getrandom(area->hash_key, sizeof(area->hash_key), 0) < 0)
        return -errno;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    err = pthread_mutex_init(&area->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    area->keys = keys;
    area->magic = MAGIC;
    return -err;
}

/* Takes the mapping. */
static struct shared *wrap(struct area *area)
{
    struct shared *s = xcalloc(1, sizeof(*s));
    struct layout l = lay_out(area->keys);
    char *base = (char *)area;

    s->area = area;
    s->size = l.size;
    s->mask = l.mask;
    s->buckets = (slot_ref *)(base + l.buckets);
    s->due = (struct due *)(base + l.due);
    s->slots = (struct slot *)(base + l.slots);
    return s;
}

int shared_create(size_t keys)
{
    size_t size = lay_out(keys).size;
    int fd = memfd_create("gwrun shared", MFD_CLOEXEC);
    struct area *area;
    int err;

    if (fd < 0)
        return -errno;
    area = ftruncate(fd, (off_t)size) == 0 ? map(fd, size) : NULL;
    if (!area) {
        close(fd);
        return -ENOMEM;
    }
    err = prepare(area, keys);
    munmap(area, size);
    if (err < 0)
        close(fd);
    return err < 0 ? err : fd;
}

struct shared *shared_open(int fd)
{
    struct area head, *area;
    struct stat st;

    if (fstat(fd, &st) < 0 ||
        pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        head.magic != MAGIC || head.keys > SHARED_KEYS_MAX ||
        (size_t)st.st_size != lay_out(head.keys).size)
        return NULL;
    area = map(fd, (size_t)st.st_size);
    return area ? wrap(area) : NULL;
}

struct shared *shared_new(size_t keys)
{
    size_t size = lay_out(keys).size;
    struct area *area = map(-1, size);

    if (area && prepare(area, keys) == 0)
        return wrap(area);
    if (area)
        munmap(area, size);
    return NULL;
}

void shared_close(struct shared *s)
{
    if (!s)
        return;
    munmap(s->area, s->size);
    free(s);
}

/* ---- which slots are over ---- */

static void put_due(struct shared *s, uint32_t i, struct due due)
{
    s->due[i] = due;
    shared_slot(s, due.ref)->due_at = i + 1;
}

/* Put an entry into the free place i, or above it. */
static void sift_up(struct shared *s, uint32_t i, struct due due)
{
    while (i > 0 && s->due[(i - 1) / 2].expires > due.expires) {
        put_due(s, i, s->due[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put_due(s, i, due);
}

/* The same, or below it. */
static void sift_down(struct shared *s, uint32_t i, struct due due)
{
    uint32_t n = s->area->ndue;

    for (uint32_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && s->due[k + 1].expires < s->due[k].expires)
            k++;
        if (s->due[k].expires >= due.expires)
            break;
        put_due(s, i, s->due[k]);
    }
    put_due(s, i, due);
}

static void remove_due(struct shared *s, struct slot *slot)
{
    uint32_t i = slot->due_at - 1;
    struct due last;

    if (slot->due_at == 0)
        return;
    slot->due_at = 0;
    last = s->due[--s->area->ndue];
    if (i == s->area->ndue)
        return;
    if (i > 0 && s->due[(i - 1) / 2].expires > last.expires)
        sift_up(s, i, last);
    else
        sift_down(s, i, last);
}

void shared_set_expires(struct shared *s, slot_ref ref, uint64_t expires)
{
    struct slot *slot = shared_slot(s, ref);

    if (slot->expires == expires && (expires == 0 || slot->due_at > 0))
        return;
    remove_due(s, slot);
    slot->expires = expires;
    if (expires > 0)
        sift_up(s, s->area->ndue++, (struct due){expires, ref});
}

/* ---- which slots are in use ---- */

void shared_chain(struct shared *s, slot_ref ref)
{
    struct slot *slot = shared_slot(s, ref);
    slot_ref *bucket = shared_bucket(s, slot->hash);

    slot->next = *bucket;
    *bucket = ref;
}

static void unchain(struct shared *s, slot_ref ref)
{
    const struct slot *slot = shared_slot(s, ref);
    slot_ref *link = shared_bucket(s, slot->hash);

    while (*link != ref)
        link = &shared_slot(s, *link)->next;
    *link = slot->next;
}

static void push_free(struct shared *s, slot_ref ref)
{
    shared_slot(s, ref)->next = s->area->free;
    s->area->free = ref;
    s->area->nfree++;
}

void shared_empty(struct shared *s, slot_ref ref)
{
    shared_slot(s, ref)->state = FREE; /* the rest can be made anew */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    unchain(s, ref);
    remove_due(s, shared_slot(s, ref));
    push_free(s, ref);
}

/* First one whose time is over, last one that was never used: memory is taken
 * for what is needed at a time. */
slot_ref shared_take_slot(struct shared *s, uint64_t now)
{
    struct area *area = s->area;
    slot_ref ref;

    if (area->ndue > 0 && s->due[0].expires <= now)
        shared_empty(s, s->due[0].ref);
    ref = area->free;
    if (ref) {
        area->free = shared_slot(s, ref)->next;
        area->nfree--;
    } else if (area->touched < area->keys) {
        ref = ++area->touched;
    }
    return ref;
}

void shared_recover(struct shared *s)
{
    struct area *area = s->area;

    memset(s->buckets, 0, (s->mask + (size_t)1) * sizeof(*s->buckets));
    area->free = 0;
    area->nfree = area->ndue = 0;
    for (slot_ref ref = 1; ref <= area->touched; ref++) {
        struct slot *slot = shared_slot(s, ref);

        slot->due_at = 0;
        if (slot->writing)
            slot->state = FREE;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        slot->writing = 0;
        if (slot->state == FREE) {
            push_free(s, ref);
            continue;
        }
        shared_chain(s, ref);
        if (slot->expires > 0)
            sift_up(s, area->ndue++, (struct due){slot->expires, ref});
    }
    pthread_mutex_consistent(&area->mutex);
}
