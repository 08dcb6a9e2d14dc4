/* Memory that a flood took goes back to the system. What half sent messages and
 * slow readers needed lies below blocks that stay in use, and the C library
 * gives back by itself only what lies above them all. Asking it costs a look at
 * all that is free, so it is asked once for each flood: when three quarters of
 * what was taken are free again. */
#include "clients/trim.h"

#include <malloc.h>

static size_t taken(const struct client_shared *shared)
{
    return shared->counters.unfinished + shared->counters.queued;
}

void trim_note(struct client_shared *shared)
{
    if (taken(shared) <= shared->most_taken)
        return;
    shared->most_taken = taken(shared);
    if (trim_waits(shared))
        client_shared_start_sweep(shared);
}

void trim_sweep(struct client_shared *shared)
{
    if (!trim_waits(shared) || taken(shared) > shared->most_taken / 4)
        return;
    shared->most_taken = taken(shared);
    malloc_trim(0);
}
