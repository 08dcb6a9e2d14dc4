#include "proc/shared.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/hash.h"

#define MAGIC 0x6777727368617231ULL

enum slot_state {
    FREE,    /* never used: a search ends here */
    USED,    /* also when its time is over */
    DELETED, /* may be used; a search goes on */
};

struct slot {
    uint64_t expires; /* ms of CLOCK_MONOTONIC; 0 never */
    uint32_t hash;
    uint8_t state;
    uint8_t writing; /* what was killed now left half a slot */
    uint8_t key_len;
    uint8_t type;
    uint32_t len;
    char key[SHARED_KEY_MAX];
    union {
        int64_t integer;
        double number;
        char text[SHARED_VALUE_MAX];
    };
};

/* What the processes share. */
struct area {
    uint64_t magic;
    pthread_mutex_t mutex;
    uint8_t hash_key[16];
    struct slot slots[SHARED_SLOTS];
};

struct shared {
    struct area *area;   /* mapped */
    const uint64_t *now; /* borrowed; NULL: the machine's clock */
};

/* ---- the area ---- */

static struct area *map(int fd)
{
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void *p =
        mmap(NULL, sizeof(struct area), PROT_READ | PROT_WRITE, flags, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Make zeros a table. */
static int prepare(struct area *area)
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
    area->magic = MAGIC;
    return -err;
}

int shared_create(void)
{
    int fd = memfd_create("gwrun shared", MFD_CLOEXEC);
    struct area *area;
    int err;

    if (fd < 0)
        return -errno;
    area = ftruncate(fd, sizeof(*area)) == 0 ? map(fd) : NULL;
    if (!area) {
        close(fd);
        return -ENOMEM;
    }
    err = prepare(area);
    munmap(area, sizeof(*area));
    if (err < 0)
        close(fd);
    return err < 0 ? err : fd;
}

struct shared *shared_open(int fd)
{
    struct area *area;
    struct shared *s;
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_size != sizeof(*area)))
        return NULL;
    area = map(fd);
    if (!area)
        return NULL;
    if (fd < 0 ? prepare(area) < 0 : area->magic != MAGIC) {
        munmap(area, sizeof(*area));
        return NULL;
    }
    s = xcalloc(1, sizeof(*s));
    s->area = area;
    return s;
}

void shared_use_clock(struct shared *s, const uint64_t *now)
{
    s->now = now;
}

void shared_close(struct shared *s)
{
    if (!s)
        return;
    munmap(s->area, sizeof(*s->area));
    free(s);
}

/* The lock's owner was killed: give up what it was writing. */
static void recover(struct area *area)
{
    for (size_t i = 0; i < SHARED_SLOTS; i++) {
        struct slot *slot = &area->slots[i];

        if (!slot->writing)
            continue;
        slot->state = DELETED;
        slot->writing = 0;
    }
    pthread_mutex_consistent(&area->mutex);
}

static int lock(struct shared *s)
{
    struct timespec until;
    int err = pthread_mutex_trylock(&s->area->mutex);

    if (err == EBUSY) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SHARED_LOCK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        err = pthread_mutex_timedlock(&s->area->mutex, &until);
    }
    if (err == EOWNERDEAD) {
        recover(s->area);
        err = 0;
    }
    return -err;
}

static void unlock(struct shared *s)
{
    pthread_mutex_unlock(&s->area->mutex);
}

/* ---- slots ---- */

static uint64_t now_ms(const struct shared *s)
{
    struct timespec ts;

    if (s->now)
        return *s->now;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool is_over(const struct slot *slot, uint64_t now)
{
    return slot->expires != 0 && slot->expires <= now;
}

/* A key's place: where it is, or where it may go. */
struct place {
    uint64_t now; /* ms, when it was looked for */
    uint32_t hash;
    struct slot *found; /* NULL: there is none */
    struct slot *room;  /* NULL: all are in use */
};

static struct place look(const struct shared *s, const struct shared_key *key)
{
    struct area *area = s->area;
    struct place p = {.now = now_ms(s),
        .hash = (uint32_t)hash_siphash(key->text, key->len, area->hash_key)};

    for (size_t i = 0; i < SHARED_SLOTS; i++) {
        struct slot *slot = &area->slots[(p.hash + i) % SHARED_SLOTS];
        bool alive = slot->state == USED && !is_over(slot, p.now);

        if (alive && slot->hash == p.hash && slot->key_len == key->len &&
            memcmp(slot->key, key->text, key->len) == 0) {
            p.found = slot;
            return p;
        }
        if (!alive && !p.room)
            p.room = slot;
        if (slot->state == FREE)
            break;
    }
    return p;
}

/* Behind the last slot in use searches may end again. */
static void empty(struct area *area, struct slot *slot)
{
    size_t i = (size_t)(slot - area->slots);

    slot->state = DELETED;
    if (area->slots[(i + 1) % SHARED_SLOTS].state != FREE)
        return;
    while (area->slots[i].state == DELETED) {
        area->slots[i].state = FREE;
        i = (i + SHARED_SLOTS - 1) % SHARED_SLOTS;
    }
}

static void put_value(struct slot *slot, const struct shared_value *value)
{
    slot->type = (uint8_t)value->type;
    slot->len = 0;
    if (value->type == SHARED_INTEGER) {
        slot->integer = value->integer;
    } else if (value->type == SHARED_FLOAT) {
        slot->number = value->number;
    } else {
        slot->len = (uint32_t)value->len;
        memcpy(slot->text, value->text, value->len);
    }
}

static void get_value(const struct slot *slot, struct shared_value *out)
{
    out->type = (enum shared_type)slot->type;
    out->len = slot->len <= SHARED_VALUE_MAX ? slot->len : SHARED_VALUE_MAX;
    if (out->type == SHARED_INTEGER)
        out->integer = slot->integer;
    else if (out->type == SHARED_FLOAT)
        out->number = slot->number;
    else
        memcpy(out->text, slot->text, out->len);
}

static bool is_same(const struct slot *slot, const struct shared_value *value)
{
    if (slot->type != value->type)
        return false;
    if (value->type == SHARED_INTEGER)
        return slot->integer == value->integer;
    if (value->type == SHARED_FLOAT)
        return slot->number == value->number;
    return slot->len == value->len &&
           memcmp(slot->text, value->text, value->len) == 0;
}

/* Write the value where the key is or may go. */
static int store(const struct place *p, const struct shared_key *key,
    const struct shared_value *value, uint64_t ttl_ms)
{
    struct slot *slot = p->found ? p->found : p->room;

    if (!slot)
        return -ENOSPC;
    slot->writing = 1;
    slot->hash = p->hash;
    slot->key_len = (uint8_t)key->len;
    memcpy(slot->key, key->text, key->len);
    put_value(slot, value);
    slot->expires = ttl_ms > 0 ? p->now + ttl_ms : 0;
    slot->state = USED;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    slot->writing = 0;
    return 1;
}

/* Check the sizes, lock, find the key. */
static int begin(struct shared *s, const struct shared_key *key,
    const struct shared_value *value, struct place *p)
{
    int err;

    if (key->len > SHARED_KEY_MAX ||
        (value && value->type == SHARED_TEXT && value->len > SHARED_VALUE_MAX))
        return -EMSGSIZE;
    err = lock(s);
    if (err == 0)
        *p = look(s, key);
    return err;
}

/* ---- the public side ---- */

int shared_get(
    struct shared *s, const struct shared_key *key, struct shared_value *out)
{
    struct place p;
    int err = begin(s, key, NULL, &p);

    if (err != 0)
        return err;
    if (p.found)
        get_value(p.found, out);
    unlock(s);
    return p.found != NULL;
}

int shared_set(struct shared *s, const struct shared_key *key,
    const struct shared_value *value, uint64_t ttl_ms)
{
    struct place p;
    int err = begin(s, key, value, &p);

    if (err != 0)
        return err;
    err = store(&p, key, value, ttl_ms);
    unlock(s);
    return err;
}

int shared_add(struct shared *s, const struct shared_key *key,
    const struct shared_value *value, uint64_t ttl_ms)
{
    return shared_cas(s, key, NULL, value, ttl_ms);
}

int shared_cas(struct shared *s, const struct shared_key *key,
    const struct shared_value *old, const struct shared_value *value,
    uint64_t ttl_ms)
{
    struct place p;
    int result = begin(s, key, value, &p);

    if (result != 0)
        return result;
    if (old ? !p.found || !is_same(p.found, old) : p.found != NULL) {
        result = 0;
    } else if (value) {
        result = store(&p, key, value, ttl_ms);
    } else {
        if (p.found)
            empty(s->area, p.found);
        result = 1;
    }
    unlock(s);
    return result;
}

int shared_incr(struct shared *s, const struct shared_key *key, int64_t by,
    uint64_t ttl_ms, int64_t *out)
{
    struct shared_value value = {.type = SHARED_INTEGER, .integer = by};
    struct place p;
    int result = begin(s, key, NULL, &p);

    if (result != 0)
        return result;
    if (!p.found)
        result = store(&p, key, &value, ttl_ms);
    else if (p.found->type != SHARED_INTEGER)
        result = -EINVAL;
    else if (__builtin_add_overflow(p.found->integer, by, &value.integer))
        result = -ERANGE;
    else
        p.found->integer = value.integer; /* one write: never torn */
    unlock(s);
    *out = value.integer;
    return result < 0 ? result : 1;
}

int shared_expire(
    struct shared *s, const struct shared_key *key, uint64_t ttl_ms)
{
    struct place p;
    int err = begin(s, key, NULL, &p);

    if (err != 0)
        return err;
    if (p.found)
        p.found->expires = ttl_ms > 0 ? p.now + ttl_ms : 0;
    unlock(s);
    return p.found != NULL;
}

int shared_delete(struct shared *s, const struct shared_key *key)
{
    struct place p;
    int err = begin(s, key, NULL, &p);

    if (err != 0)
        return err;
    if (p.found)
        empty(s->area, p.found);
    unlock(s);
    return p.found != NULL;
}
