/* ctl.h - a connection that carries ctlmsg lines.
 *
 * Between a child and its master (a socket pair), and between the gwrun command
 * and the master (a unix socket).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_CTL_H
#define GW_PROC_CTL_H

#include <stdbool.h>

#include "net/turn.h"
#include "wire/ctlmsg.h"

struct ctl;

struct ctl_ops {
    /* m is borrowed. May call ctl_close(). */
    void (*on_message)(struct ctl *c, const json_t *m, void *arg);
    /* The other side is gone; c is gone after the call. Not called after
     * ctl_close(). */
    void (*on_close)(struct ctl *c, void *arg);
};

/* Takes ownership of the connected unix socket fd. NULL when libuv refuses. */
struct ctl *ctl_open(
    struct turn *turn, int fd, const struct ctl_ops *ops, void *arg);

/* Send m at the end of this turn; gives up the caller's reference. The other
 * side has gone when it leaves too much unread. */
void ctl_send(struct ctl *c, json_t *m);

/* Close, what is queued is sent first (at most 2 s). No callback any more. */
void ctl_close(struct ctl *c);

#endif /* GW_PROC_CTL_H */
