/* What is in the shared table, and who may touch it: the lock, keys, values. */

#include "proc/shared.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "proc/shared_impl.h"
#include "util/hash.h"

void shared_use_clock(struct shared *s, const uint64_t *now)
{
    s->now = now;
}

/* ---- the lock ---- */

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
        shared_recover(s);
        err = 0;
    }
    return -err;
}

static void unlock(struct shared *s)
{
    pthread_mutex_unlock(&s->area->mutex);
}

/* ---- keys and values ---- */

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

/* A key's place. */
struct place {
    uint64_t now; /* ms, when it was looked for */
    uint32_t hash;
    slot_ref ref;       /* 0: it has no slot yet */
    struct slot *found; /* NULL: there is none, or its time is over */
};

static struct place look(const struct shared *s, const struct shared_key *key)
{
    struct place p = {.now = now_ms(s),
        .hash = (uint32_t)hash_siphash(key->text, key->len, s->area->hash_key)};

    for (p.ref = *shared_bucket(s, p.hash); p.ref;) {
        struct slot *slot = shared_slot(s, p.ref);

        if (slot->hash == p.hash && slot->key_len == key->len &&
            memcmp(slot->key, key->text, key->len) == 0) {
            p.found = is_over(slot, p.now) ? NULL : slot;
            break;
        }
        p.ref = slot->next;
    }
    return p;
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

/* Write the value into the key's slot, or into a new one. */
static int store(struct shared *s, const struct place *p,
    const struct shared_key *key, const struct shared_value *value,
    uint64_t ttl_ms)
{
    slot_ref ref = p->ref ? p->ref : shared_take_slot(s, p->now);
    struct slot *slot;

    if (!ref) {
        s->refused++;
        return -ENOSPC;
    }
    slot = shared_slot(s, ref);
    slot->writing = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    slot->state = USED;
    slot->hash = p->hash;
    slot->key_len = (uint8_t)key->len;
    memcpy(slot->key, key->text, key->len);
    put_value(slot, value);
    if (!p->ref)
        shared_chain(s, ref);
    shared_set_expires(s, ref, ttl_ms > 0 ? p->now + ttl_ms : 0);
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
    err = store(s, &p, key, value, ttl_ms);
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
        result = store(s, &p, key, value, ttl_ms);
    } else {
        if (p.found)
            shared_empty(s, p.ref);
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
        result = store(s, &p, key, &value, ttl_ms);
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
        shared_set_expires(s, p.ref, ttl_ms > 0 ? p.now + ttl_ms : 0);
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
        shared_empty(s, p.ref);
    unlock(s);
    return p.found != NULL;
}

struct shared_status shared_status(const struct shared *s)
{
    return (struct shared_status){
        .keys = s->area->touched - s->area->nfree, .refused = s->refused};
}
