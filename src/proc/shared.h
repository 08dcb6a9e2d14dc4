/* shared.h - a small table in memory that all workers of a machine share.
 *
 * For counters, rate limits, locks with a time limit and the like: a number of
 * keys, each operation whole and in no order but that of a lock. A process that
 * is killed at any point leaves it usable; one that is stopped while it holds
 * the lock makes the others' operations fail after SHARED_LOCK_MS. A key whose
 * time is over makes room at once for one that needs it, and what an operation
 * costs does not depend on how many there are. Memory is taken for the keys
 * that have been there at a time, about 520 bytes each.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_SHARED_H
#define GW_PROC_SHARED_H

#include <stddef.h>
#include <stdint.h>

#define SHARED_KEYS      65536 /* by default; one more is -ENOSPC */
#define SHARED_KEYS_MAX  (16 * 1024 * 1024)
#define SHARED_KEY_MAX   64  /* bytes; more is -EMSGSIZE */
#define SHARED_VALUE_MAX 400 /* bytes; more is -EMSGSIZE */
#define SHARED_LOCK_MS   100 /* then -ETIMEDOUT */

struct shared;

/* A table of 1 … SHARED_KEYS_MAX keys for processes to come: a file descriptor
 * to hand down. Or -errno. */
int shared_create(size_t keys);

/* Use the table of fd, which stays the caller's. NULL when fd is no such table.
 */
struct shared *shared_open(int fd);

/* One of our own. NULL when there is no memory. */
struct shared *shared_new(size_t keys);

/* Keys end by *now, in ms, instead of the machine's clock: for tests. Borrowed
 * until shared_close(). */
void shared_use_clock(struct shared *s, const uint64_t *now);

/* NULL is allowed. */
void shared_close(struct shared *s);

enum shared_type { SHARED_INTEGER, SHARED_FLOAT, SHARED_TEXT };

struct shared_value {
    enum shared_type type;
    int64_t integer;
    double number;
    size_t len;
    char text[SHARED_VALUE_MAX];
};

struct shared_key {
    const char *text;
    size_t len;
};

/* All return -errno when they could not do it; ttl_ms 0 is for ever. */

/* 1 and *out, or 0: there is none. */
int shared_get(
    struct shared *s, const struct shared_key *key, struct shared_value *out);

int shared_set(struct shared *s, const struct shared_key *key,
    const struct shared_value *value, uint64_t ttl_ms);

/* 1, or 0: there is one already. */
int shared_add(struct shared *s, const struct shared_key *key,
    const struct shared_value *value, uint64_t ttl_ms);

/* 1, or 0: it is not old (NULL: there is one). value NULL: delete it. */
int shared_cas(struct shared *s, const struct shared_key *key,
    const struct shared_value *old, const struct shared_value *value,
    uint64_t ttl_ms);

/* Add by to an integer; to 0, with ttl_ms, when there is none. -EINVAL: it is
 * no integer; -ERANGE: it would not fit. */
int shared_incr(struct shared *s, const struct shared_key *key, int64_t by,
    uint64_t ttl_ms, int64_t *out);

/* Let it end in ttl_ms from now. 1, or 0: there is none. */
int shared_expire(
    struct shared *s, const struct shared_key *key, uint64_t ttl_ms);

/* 1, or 0: there was none. */
int shared_delete(struct shared *s, const struct shared_key *key);

struct shared_status {
    size_t keys;      /* in use; also those whose time is over, until their room
                         is needed */
    uint64_t refused; /* operations of this process: -ENOSPC */
};

struct shared_status shared_status(const struct shared *s);

#endif /* GW_PROC_SHARED_H */
