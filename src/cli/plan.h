/* plan.h - the processes that a configuration asks for, with their sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_PLAN_H
#define GW_CLI_PLAN_H

#include "cli/config.h"
#include "master/master.h"

#define PLAN_ERR_SIZE 512

/* Descriptors of a child (see master_child_conf.fds). */
enum {
    PLAN_FD_CONTROL = 3,
    PLAN_FD_SOCKET = 4,  /* register: its port; gateway: clients' port */
    PLAN_FD_SHARED = 4,  /* worker: the table that all workers share */
    PLAN_FD_SOURCES = 5, /* worker: memory that keeps its script */
    PLAN_FD_INNER = 5,   /* gateway: workers' port */
    PLAN_FD_IDS = 6,     /* gateway: file of connection ids */
    PLAN_FD_CONFIG = 7,
};

struct plan {
    struct master_child_conf *children; /* owned */
    size_t nchildren;
};

/* Make run_dir and its folder of connection ids, where they are not there yet.
 * 0, or -errno with a line in err. */
int plan_make_folders(const struct config *c, char err[PLAN_ERR_SIZE]);

/* The same, bind all sockets and open all files; the current folder is c->root.
 * Names are borrowed from c. 0, or -errno with a line in err
 * that names port and setting. plan_free() ends it. */
int plan_make(
    struct plan *out, const struct config *c, char err[PLAN_ERR_SIZE]);
void plan_free(struct plan *p);

/* The entry of c->gateways that a gateway's slot belongs to, and its index in
 * it; NULL when there is no such slot. */
const struct config_gateway *plan_gateway(
    const struct config *c, unsigned slot, unsigned *index);

/* run_dir and name, as a path that fits into a unix socket's address when
 * run_dir is in the root folder. The caller frees it. */
char *plan_run_path(const struct config *c, const char *name);

#endif /* GW_CLI_PLAN_H */
