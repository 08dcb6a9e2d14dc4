/* master.h - the role that keeps the other processes alive and obeys the gwrun
 * command.
 *
 * It knows nothing of what its children do: it spawns "gwrun child ROLE SLOT",
 * hands down their sockets, relays messages and counts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_MASTER_MASTER_H
#define GW_MASTER_MASTER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "wire/ctlmsg.h"

/* Defaults and limits; all but the counts are seconds. */
#define MASTER_STOP_TIMEOUT   10.0 /* before SIGKILL */
#define MASTER_RESTARTS       5    /* in … */
#define MASTER_RESTART_WINDOW 10.0 /* … this time, then back-off 1, 2, … 30 */
#define MASTER_HANG_TIMEOUT   30.0 /* without a heartbeat: SIGKILL */
#define MASTER_START_TIMEOUT  10.0 /* that a start waits for children */

/* Sent to a worker that hangs, a second before SIGKILL: it may say in which
 * event. */
#define MASTER_HANG_SIGNAL SIGXCPU

/* Whether another one takes the place of a child that ends. */
enum master_restart {
    MASTER_ALWAYS,
    MASTER_ON_FAILURE, /* not when it ends with exit status 0 */
    MASTER_NEVER,      /* and it is reloaded by its name only */
};

#define MASTER_CHILD_FDS 4

/* One child process. */
struct master_child_conf {
    const char *role; /* "register", "gateway", "worker", "program", "admin" */
    unsigned slot;    /* unique per role */
    const char *name; /* for people: "ChatGateway" */
    const char *listen; /* for people: "websocket://0.0.0.0:8283", or "" */
    /* Handed down as descriptors 4, 5, 6 and 8; -1 unused. The master keeps
     * them open for restarts. */
    int fds[MASTER_CHILD_FDS];
    enum master_restart restart;
    /* In place of fds[1]: a connection on which it may ask for clients, and
     * have some closed, as the gwrun command does; for nothing else. */
    bool asks;
};

struct master_conf {
    const char *const *argv; /* the command of a child; "child", role and slot
                                are appended */
    const struct master_child_conf *children; /* in the order of starting, role
                                                 by role; stopped from the
                                                 last role to the first */
    size_t nchildren;
    const char *control_path; /* unix socket */
    const char *log_file;     /* where stderr goes (proc/daemon.h), to be opened
                                 again on reopen_logs; NULL: not a file */
    int config_fd;            /* descriptor 7 of every child: the text of the
                                 configuration */
    int pages_fd; /* descriptor 9 of every child, and told to by the master
                     itself (proc/pages.h): one page a child; less than 1: none
                   */
    double stop_timeout;
    double hang_timeout;
};

/* The callbacks about reloads may be NULL. */
struct master_events {
    /* Every child is ready for the first time, or MASTER_START_TIMEOUT is over
     * (master_child_ready() tells which are), or one of them never will be:
     * message says why; then the master is stopping. Not called when
     * master_stop() came first. */
    void (*on_started)(const char *message, void *arg);
    void (*on_stopped)(void *arg);
    /* A reload begins. NULL, or why it must not, which the master frees. */
    char *(*on_reload)(void *arg);
    /* What conf->children[index] is told beside "prepare": a new object, or
     * NULL for nothing. */
    json_t *(*reload_part)(size_t index, void *arg);
    /* It is decided: every child takes what it has prepared, or none does. */
    void (*on_reloaded)(bool taken, void *arg);
};

struct master;

/* Spawn everything. conf outlives it. 0 or -errno with a line in err. */
int master_new(struct master **out, uv_loop_t *loop,
    const struct master_conf *conf, const struct master_events *events,
    void *arg, char err[256]);

/* Stop all children (graceful: wait for clients to leave by themselves), then
 * on_stopped(). */
void master_stop(struct master *m, bool graceful);

/* As "gwrun reload"; the outcome goes to the log. */
void master_reload(struct master *m);

/* Reopen log files here and in all children. */
void master_reopen_logs(struct master *m);

/* Does the child conf->children[index] serve, or has it done what it was to do?
 */
bool master_child_ready(const struct master *m, size_t index);

/* At once, children that still live are killed. Not inside a callback. Its
 * handles close on later turns. */
void master_free(struct master *m);

#endif /* GW_MASTER_MASTER_H */
