/* trim.h - memory that a flood took goes back to the system.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_TRIM_H
#define GW_CLIENTS_TRIM_H

#include "clients/client_shared.h"

#define TRIM_MIN (32 << 20) /* bytes; less is kept for the next ones */

/* Is there memory to give back, now or later? */
static inline bool trim_waits(const struct client_shared *shared)
{
    return shared->most_taken >= TRIM_MIN;
}
/* Clients have taken more of it. */
void trim_note(struct client_shared *shared);
/* Give back what is free by now. */
void trim_sweep(struct client_shared *shared);

#endif /* GW_CLIENTS_TRIM_H */
