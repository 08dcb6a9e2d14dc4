/* Names that are not let in for some time. A ban that is over stays until
 * somebody asks for its name, or until there is no room for another one. */
#include "util/bans.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/alloc.h"
#include "util/hash.h"

struct ban {
    UT_hash_handle hh;
    uint64_t until; /* ms, monotonic */
    char name[];
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void drop(struct bans *b, struct ban *ban)
{
    HASH_DEL(b->map, ban);
    free(ban);
}

static struct ban *find(const struct bans *b, const void *name, size_t len)
{
    struct ban *ban = NULL;

    HASH_FIND(hh, b->map, name, len, ban);
    return ban;
}

static void drop_past(struct bans *b, uint64_t now)
{
    struct ban *ban, *tmp;

    MAP_FOREACH (hh, b->map, ban, tmp) {
        if (ban->until <= now)
            drop(b, ban);
    }
}

int bans_set(struct bans *b, const void *name, size_t len, double seconds)
{
    struct ban *ban = find(b, name, len);
    uint64_t now = now_ms();

    if (seconds <= 0) {
        if (ban)
            drop(b, ban);
        return 0;
    }
    if (!ban) {
        if (HASH_COUNT(b->map) >= BANS_MAX)
            drop_past(b, now);
        if (HASH_COUNT(b->map) >= BANS_MAX)
            return -ENOSPC;
        ban = xcalloc(1, sizeof(*ban) + len);
        memcpy(ban->name, name, len);
        HASH_ADD(hh, b->map, name, len, ban);
    }
    ban->until = now + (uint64_t)(seconds * 1000);
    return 0;
}

bool bans_have(struct bans *b, const void *name, size_t len)
{
    struct ban *ban = b->map ? find(b, name, len) : NULL;

    if (!ban)
        return false;
    if (ban->until > now_ms())
        return true;
    drop(b, ban);
    return false;
}

void bans_fini(struct bans *b)
{
    drop_past(b, UINT64_MAX);
}
