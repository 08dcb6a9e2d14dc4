/* A ring of seconds. No clock is read: a gateway that was frozen counts the
 * seconds in which it ran. */
#include "gateway/unheard.h"

void unheard_tick(struct unheard *u)
{
    u->now = (u->now + 1) % UNHEARD_TICKS;
    u->lately[u->now] = 0;
}

uint64_t unheard_end(struct unheard *u)
{
    uint64_t lately = 0;
    uint64_t since = u->speaks ? u->since : 0;

    for (unsigned i = 0; i < UNHEARD_TICKS; i++)
        lately += u->lately[i];
    *u = (struct unheard){0};
    return lately > since ? lately : since;
}
