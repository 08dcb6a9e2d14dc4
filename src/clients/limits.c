/* How many connections there are, in all and from each address. A connection
 * is counted before anything is spent on it and given back exactly once, by
 * whoever closes its socket. */

#include "clients/limits.h"

#include <errno.h>
#include <string.h>

#include "util/alloc.h"
#include "util/hash.h"

struct limit {
    uint8_t key[LIMITS_KEY_LEN];
    size_t count;
    UT_hash_handle hh;
};

void limits_make_key(uint8_t key[LIMITS_KEY_LEN], const union addr *peer)
{
    union addr a = *peer;

    addr_unmap(&a);
    memset(key, 0, LIMITS_KEY_LEN);
    if (a.sa.sa_family == AF_INET6) {
        key[0] = 6;
        memcpy(key + 1, &a.in6.sin6_addr, 8);
    } else if (a.sa.sa_family == AF_INET) {
        key[0] = 4;
        memcpy(key + 1, &a.in.sin_addr, 4);
    }
}

int limits_ban(struct limits *l, const union addr *peer, double seconds)
{
    uint8_t key[LIMITS_KEY_LEN];

    limits_make_key(key, peer);
    return bans_set(&l->bans, key, sizeof(key), seconds);
}

bool limits_bans(struct limits *l, const union addr *peer)
{
    uint8_t key[LIMITS_KEY_LEN];

    if (!l->bans.map)
        return false;
    limits_make_key(key, peer);
    return bans_have(&l->bans, key, sizeof(key));
}

int limits_enter(struct limits *l)
{
    if (l->total >= l->max)
        return -EAGAIN;
    l->total++;
    return 0;
}

int limits_count(struct limits *l, const union addr *peer, struct limit **out)
{
    struct limit *limit = NULL;
    uint8_t key[LIMITS_KEY_LEN];

    *out = NULL;
    if (limits_bans(l, peer))
        return -EPERM;
    if (l->max_per_ip == 0)
        return 0;
    limits_make_key(key, peer);
    HASH_FIND(hh, l->map, key, LIMITS_KEY_LEN, limit);
    if (limit == NULL) {
        limit = xcalloc(1, sizeof(*limit));
        memcpy(limit->key, key, LIMITS_KEY_LEN);
        HASH_ADD(hh, l->map, key, LIMITS_KEY_LEN, limit);
    } else if (limit->count >= l->max_per_ip) {
        return -EAGAIN;
    }
    limit->count++;
    *out = limit;
    return 0;
}

void limits_leave(struct limits *l, struct limit *limit)
{
    l->total--;
    if (limit == NULL || --limit->count > 0)
        return;
    HASH_DEL(l->map, limit);
    free(limit);
}

void limits_fini(struct limits *l)
{
    struct limit *limit, *tmp;

    MAP_FOREACH (hh, l->map, limit, tmp) {
        HASH_DEL(l->map, limit);
        free(limit);
    }
    bans_fini(&l->bans);
}
