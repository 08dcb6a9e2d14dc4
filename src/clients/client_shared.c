/* One timer for all that must happen in time at a port: it runs while something
 * is due, and looks eight times within a handshake's time. */

#include "clients/client_shared.h"

void client_shared_start_sweep(struct client_shared *shared)
{
    double step = shared->conf->handshake_timeout * 1000 / 8;
    uint64_t ms = step < 10 ? 10 : step > 500 ? 500 : (uint64_t)step;

    if (!uv_is_active((uv_handle_t *)&shared->sweep))
        uv_timer_start(&shared->sweep, shared->on_sweep, ms, ms);
}
