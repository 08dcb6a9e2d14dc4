/* A short list, oldest first: it is looked at when somebody asks, or a worker
 * comes. */
#include "gateway/absent.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

static void forget(struct absent *a, size_t i)
{
    free(a->list[i].key);
    a->count--;
    memmove(&a->list[i], &a->list[i + 1], (a->count - i) * sizeof(a->list[0]));
}

void absent_fini(struct absent *a)
{
    while (a->count > 0)
        forget(a, a->count - 1);
}

void absent_strike(struct absent *a, const char *key)
{
    for (size_t i = a->count; i-- > 0;)
        if (strcmp(a->list[i].key, key) == 0)
            forget(a, i);
}

void absent_add(struct absent *a, const char *key, uint64_t now)
{
    absent_strike(a, key);
    if (a->count == ABSENT_MAX)
        forget(a, 0);
    a->list[a->count++] = (struct absent_worker){xstrdup(key), now};
}

void absent_report(
    struct absent *a, uint64_t now, reach_link_cb each, void *arg)
{
    while (a->count > 0 && now - a->list[0].at >= ABSENT_MS)
        forget(a, 0);
    for (size_t i = 0; i < a->count; i++) {
        const struct reach_link l = {
            .peer = a->list[i].key, .state = "away", .ms = now - a->list[i].at};

        each(&l, arg);
    }
}
