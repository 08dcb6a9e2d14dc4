/* admin.h - the operators' port: metrics, probes, status, over HTTP.
 *
 * A role of its own, with nothing of the system in its hands but a look at the
 * pages that all processes write (proc/pages.h): a scrape asks nobody, and one
 * that breaks this process breaks nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_ADMIN_H
#define GW_ADMIN_ADMIN_H

#include <uv.h>

#include "admin/admin_conf.h"

struct admin;

/* Bytes of answers that wait to be read; while there are more, a scrape is
 * refused with 503. */
#define ADMIN_WAITING_MAX (8 * 1024 * 1024)

/* What conf->port is to be; files: the folder of the page. Both are borrowed.
 */
void admin_port(
    struct port_conf *out, const struct admin_conf *conf, const char *files);

/* Serve on fd, which is bound, from the next turn on; it becomes the role's on
 * success, as desk_fd does, where the master can be asked (less than 1: nobody
 * can). conf, system and what they point to are borrowed; conf outlives the
 * loop's handles. 0, or -errno with a line in err. */
int admin_new(struct admin **out, uv_loop_t *loop,
    const struct admin_conf *conf, const struct admin_system *system, int fd,
    int desk_fd, char err[256]);

/* Take no new connections. */
void admin_stop(struct admin *a);

/* At once. Not inside a callback. Its handles close on later turns. */
void admin_free(struct admin *a);

#endif /* GW_ADMIN_ADMIN_H */
