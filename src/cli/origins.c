/* The hook of gwrun dev that asks Lua where the running call stands. The header
 * says it all. */
#include "cli/origins.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/hash.h"

void origins_note(
    struct origins *o, const void *data, size_t len, const char *traceback)
{
    struct origin *at = &o->kept[o->next++ % ORIGINS_KEPT];

    free(at->traceback);
    *at = (struct origin){hash_bytes(data, len), len, xstrdup(traceback)};
}

const char *origins_find(const struct origins *o, const void *data, size_t len)
{
    uint32_t hash = hash_bytes(data, len);

    for (size_t i = 1; i <= ORIGINS_KEPT && i <= o->next; i++) {
        const struct origin *at = &o->kept[(o->next - i) % ORIGINS_KEPT];

        if (at->hash == hash && at->len == len)
            return at->traceback;
    }
    return NULL;
}

void origins_fini(struct origins *o)
{
    for (size_t i = 0; i < ORIGINS_KEPT; i++)
        free(o->kept[i].traceback);
}
