/* plan.h - the processes that a configuration asks for, with their sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_PLAN_H
#define GW_ROLE_PLAN_H

#include <sys/types.h>

#include "config/config.h"
#include "master/master.h"
#include "role/rundir.h"

#define PLAN_ERR_SIZE RUNDIR_ERR_SIZE

/* Descriptors of a child (see master_child_conf.fds). */
enum {
    PLAN_FD_CONTROL = 3,
    PLAN_FD_SOCKET = 4,  /* register, admin: its port; gateway: clients' */
    PLAN_FD_SHARED = 4,  /* worker, program: the table that all share */
    PLAN_FD_DESK = 5,    /* admin: where it asks the master */
    PLAN_FD_SOURCES = 5, /* worker: memory that keeps its script */
    PLAN_FD_INNER = 5, /* gateway: workers' port; register: that of all cells */
    PLAN_FD_IDS = 6,   /* gateway: file of connection ids */
    PLAN_FD_KEPT = 6,  /* worker, program: file of the registers' last list,
                          or /dev/null */
    PLAN_FD_CONFIG = 7,
    PLAN_FD_LOCAL = 8, /* gateway: unix socket for workers beside it; may be
                          missing */
    PLAN_FD_PAGES = 9, /* what all tell of themselves (proc/pages.h), where
                          there is an operators' port */
};

/* PLAN_FD_LOCAL, or 0: it was not handed down to this process. */
int plan_local_fd(void);
/* PLAN_FD_KEPT, or 0: nothing is kept. */
int plan_kept_fd(void);

struct plan {
    struct master_child_conf *children; /* owned */
    size_t nchildren;
    int pages_fd; /* owned; pages of all of them, in their order, or -1 */
};

/* Make run_dir, bind all sockets and open all files; the current folder is
 * c->root. Workers get a copy of what their conf.sources_fd keeps (0: nothing).
 * Names are borrowed from c. 0, or -errno with a line in err that names port
 * and setting. plan_free() ends it. */
int plan_make(
    struct plan *out, const struct config *c, char err[PLAN_ERR_SIZE]);
void plan_free(struct plan *p);

/* Show each port that plan_make() binds: its address and the key of the
 * configuration, both borrowed for the call. */
typedef void (*plan_port_cb)(
    const char *address, const char *setting, void *arg);
void plan_each_port(const struct config *c, plan_port_cb show, void *arg);

/* Say in err why binding it gave result (-errno), and what to do. The process
 * that holds it, or 0. */
pid_t plan_explain(char err[PLAN_ERR_SIZE], int result, const char *setting,
    const char *address);

#endif /* GW_ROLE_PLAN_H */
