/* role.h - a role as an object on a loop: started, reloaded in two steps,
 * stopped, whichever it is.
 *
 * gwrun start has one of them in each child process; gwrun dev and gwrun test
 * have all of a configuration on one loop (world.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_ROLE_H
#define GW_ROLE_ROLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "gateway/gateway.h"
#include "master/master.h"
#include "net/turn.h"
#include "wire/ctlmsg.h"
#include "worker/vm.h"
#include "worker/worker.h"

enum role_state {
    ROLE_STARTING,
    ROLE_READY,
    ROLE_PREPARING, /* after role_prepare(), until it has told how that went */
    ROLE_PREPARED,  /* until role_commit() or role_abort() */
    ROLE_FAILED,    /* its script could not be loaded: only to be freed */
    ROLE_STOPPING,
    ROLE_STOPPED, /* or, a program, ended: only to be freed */
};

/* Each may be NULL. The state has changed when one is called. */
struct role_events {
    void (*on_ready)(void *arg);
    void (*on_failed)(const char *message, void *arg);
    void (*on_stopped)(void *arg);
    /* A program has ended by itself, with this exit status. */
    void (*on_ended)(int status, void *arg);
    /* It is of no use any more, message says why: stop it, start another.
     * NULL: it goes on and fails. */
    void (*on_worn)(const char *message, void *arg);
    /* An answer to role_prepare(); message NULL: it worked. */
    void (*on_prepared)(const char *message, void *arg);
    /* Of the operators' port, where roles share its loop: they are to
     * role_tell() now. NULL: they do so by themselves. */
    void (*on_look)(void *arg);
    /* Of a gateway: as client_conn_ops.on_repair(). */
    void (*on_repair)(const void *data, size_t len, void *arg);
};

/* Which role, which of its kind, and what it listens on. */
struct role_slot {
    const char *kind; /* "register", "gateway", "worker", "program"
                         or "admin" */
    unsigned number;  /* as plan.h counts them */
    /* Bound sockets: of a register or admin its port, and of admin where it
     * asks the master, or less than 1; of a gateway those of clients and
     * workers, the file of connection ids or -1, and the unix socket of workers
     * beside it, or less than 1. */
    int fds[MASTER_CHILD_FDS];
    uint16_t shown_port; /* as gateway_slot.shown_port */
};

struct role;

/* Start one. c is borrowed and outlives it; the descriptors are its own on
 * success. 0, or -errno with a line in err. The results come by events, from
 * the loop. */
int role_new(struct role **out, uv_loop_t *loop, const struct role_slot *slot,
    const struct config *c, const struct role_events *events, void *arg,
    char err[256]);

/* At once. Not inside a callback. Handles close on later turns. */
void role_free(struct role *r);

enum role_state role_state(const struct role *r);

/* End in an orderly way, in which clients and handlers get drain_time seconds,
 * then on_stopped(); graceful: when the clients have left by themselves. */
void role_stop(struct role *r, bool graceful, double drain_time);

/* First half of a reload; m is what the master said, NULL where there is none.
 * 1 when a script is being prepared (on_prepared() tells how it went), 0 when
 * there is nothing to wait for, or -errno with a line in err. */
int role_prepare(struct role *r, const json_t *m, char err[256]);

/* The other half: take what was prepared, or drop it. Harmless when nothing
 * was. */
void role_commit(struct role *r);
void role_abort(struct role *r);

/* Numbers for people and programs; a new object. */
json_t *role_status(const struct role *r);

/* Links that are not as they should be, ROLE_LINKS_MAX at most; a new list. */
#define ROLE_LINKS_MAX 64
json_t *role_links(const struct role *r);

/* Tell the same in a page, which is borrowed: now, and with each role_tell().
 * What was counted there before the first time is added. */
void role_share(struct role *r, struct page *page);
void role_tell(struct role *r);

/* Measure the turns of a loop that this role has for itself; turn was the first
 * one on it, and outlives the role. */
void role_measure(struct role *r, struct turn *turn);

/* What it is made of; NULL when it is another role. */
struct gateway *role_gateway(const struct role *r);
struct worker *role_worker(const struct role *r);

/* The serving script of a worker; NULL when there is none. */
struct vm *role_vm(const struct role *r);

/* If it is a gateway: port_set_ticket_key(), of hexadecimal text. */
void role_set_ticket_key(struct role *r, const char *hex);

/* If it is a worker: worker_tell_hanging(). For a signal handler. */
void role_tell_hanging(const struct role *r);

#endif /* GW_ROLE_ROLE_H */
