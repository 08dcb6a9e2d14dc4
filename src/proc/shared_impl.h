/* shared_impl.h - what the two files of shared have in common: shared_slots.c
 * knows which slots of the table are in use, and until when; shared.c what is
 * in them. The functions here are for who holds the lock.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_SHARED_IMPL_H
#define GW_PROC_SHARED_IMPL_H

#include <pthread.h>
#include <stdint.h>

#include "proc/shared.h"

/* A slot's place + 1, so that zeros are an empty table. 0 is none. */
typedef uint32_t slot_ref;

enum slot_state {
    FREE, /* in the list of those, or never used */
    USED, /* also when its time is over */
};

struct slot {
    uint64_t expires; /* ms of CLOCK_MONOTONIC; 0 never */
    uint32_t hash;
    slot_ref next;   /* of its bucket, or free */
    uint32_t due_at; /* place in the heap + 1; 0: not there */
    uint32_t len;
    uint8_t state;
    uint8_t writing; /* what was killed now left half a slot */
    uint8_t key_len;
    uint8_t type;
    char key[SHARED_KEY_MAX];
    union {
        int64_t integer;
        double number;
        char text[SHARED_VALUE_MAX];
    };
};

/* When a slot's time is over. */
struct due {
    uint64_t expires;
    slot_ref ref;
};

/* What the processes share: this, the buckets, the heap, the slots. The slots
 * are what counts; all else is made from them anew when a process was killed
 * while it held the lock. */
struct area {
    uint64_t magic;
    uint64_t keys; /* slots */
    pthread_mutex_t mutex;
    uint8_t hash_key[16];
    uint32_t touched; /* slots that have been used, from the first on */
    slot_ref free;    /* the first of those that are free again */
    uint32_t nfree;
    uint32_t ndue; /* entries of the heap */
};

struct shared {
    struct area *area; /* mapped */
    size_t size;       /* bytes of it */
    slot_ref *buckets; /* chains by hash; as many as a power of two */
    uint32_t mask;     /* buckets - 1 */
    struct due *due;   /* a heap: the first is over first */
    struct slot *slots;
    uint64_t refused;    /* operations of this process: no room */
    const uint64_t *now; /* borrowed; NULL: the machine's clock */
};

static inline struct slot *shared_slot(const struct shared *s, slot_ref ref)
{
    return &s->slots[ref - 1];
}

static inline slot_ref *shared_bucket(const struct shared *s, uint32_t hash)
{
    return &s->buckets[hash & s->mask];
}

/* A slot for a new key; the caller fills it, with writing set, and calls
 * shared_chain(). 0: all are in use. */
slot_ref shared_take_slot(struct shared *s, uint64_t now);

/* Let the slot be found by its hash. */
void shared_chain(struct shared *s, slot_ref ref);

/* Give the slot up, and the key in it. */
void shared_empty(struct shared *s, slot_ref ref);

void shared_set_expires(struct shared *s, slot_ref ref, uint64_t expires);

/* The last holder of the lock was killed: give up what he was writing, and make
 * everything but the slots anew. */
void shared_recover(struct shared *s);

#endif /* GW_PROC_SHARED_IMPL_H */
