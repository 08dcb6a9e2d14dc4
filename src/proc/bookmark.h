/* bookmark.h - a word in memory that the processes of one machine share: has a
 * client's onConnect begun, and its onClose?
 *
 * A gateway makes the word with the client, a worker changes it before the
 * handler begins, and only one of all workers can. So it is known what has
 * begun, whatever process dies and when; and what a gateway takes back never
 * begins. The word names the client, so that an event which comes too late for
 * its entry finds another name.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_BOOKMARK_H
#define GW_PROC_BOOKMARK_H

#include <stdbool.h>
#include <stdint.h>

enum bookmark {
    BOOKMARK_CONNECTED = 1, /* its onConnect has begun */
    BOOKMARK_CLOSED = 2,    /* its onClose has begun */
};

#define BOOKMARK_BITS (BOOKMARK_CONNECTED | BOOKMARK_CLOSED)

/* The word of a client of which nothing has begun; 0 is nobody's. */
static inline uint64_t bookmark_new(uint32_t id)
{
    return (uint64_t)id << 32;
}

static inline uint32_t bookmark_id(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static inline uint64_t bookmark_get(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* The event that is the bit, of that client, is about to begin. False: it must
 * not. An onConnect begins only as the first of the two. */
static inline bool bookmark_begin(
    uint64_t *word, uint32_t id, enum bookmark bit)
{
    uint64_t old = bookmark_get(word);

    do {
        if (bookmark_id(old) != id || old & BOOKMARK_CLOSED ||
            (bit == BOOKMARK_CONNECTED && old & BOOKMARK_BITS))
            return false;
    } while (!__atomic_compare_exchange_n(
        word, &old, old | bit, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return true;
}

/* Nothing of that client has begun, and nothing shall. False: something has. */
static inline bool bookmark_revoke(uint64_t *word, uint32_t id)
{
    uint64_t old = bookmark_new(id);

    return __atomic_compare_exchange_n(
        word, &old, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* It has not begun after all, and nobody else has the event. */
static inline void bookmark_take_back(uint64_t *word, enum bookmark bit)
{
    __atomic_and_fetch(word, ~(uint64_t)bit, __ATOMIC_ACQ_REL);
}

#endif /* GW_PROC_BOOKMARK_H */
