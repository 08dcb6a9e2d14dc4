/* programs.h - the programs of a configuration in this process.
 *
 * For gwrun dev and gwrun test; gwrun start gives each a process, and the
 * master keeps it running.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_PROGRAMS_H
#define GW_ROLE_PROGRAMS_H

#include <uv.h>

#include "config/config.h"

#define PROGRAMS_RESTART_MS 1000 /* from an end to the next beginning */

struct programs;
struct role;

/* Begin all of them; c is borrowed and outlives them. What they say, and how
 * they end, goes to the log. */
struct programs *programs_open(uv_loop_t *loop, const struct config *c);

/* Those that are started again when they end begin again from their files; one
 * whose file does not compile goes on, and the log says why. */
void programs_reload(struct programs *ps);

/* The one of that entry; NULL: it does not run now. Borrowed. */
struct role *programs_role(const struct programs *ps, unsigned slot);

/* At once. Not inside a callback of theirs. Handles close on later turns. */
void programs_close(struct programs *ps);

#endif /* GW_ROLE_PROGRAMS_H */
