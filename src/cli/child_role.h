/* child_role.h - what a child process does with its role object.
 *
 * One table a role; cmd_child.c knows messages, child_role.c knows roles.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_CHILD_ROLE_H
#define GW_CLI_CHILD_ROLE_H

#include <stdbool.h>
#include <uv.h>

#include "cli/config.h"
#include "gateway/gateway.h"
#include "wire/ctlmsg.h"
#include "worker/vm.h"

struct child_role_events {
    void (*on_ready)(void *arg);
    void (*on_failed)(const char *message, void *arg);
    void (*on_stopped)(void *arg);
    /* An answer to child_role_prepare(); message NULL: it worked. */
    void (*on_prepared)(const char *message, void *arg);
};

struct child_role;

/* Start role number slot with the sockets that plan.h describes. NULL with a
 * line in err. The results come by events, from the loop. */
struct child_role *child_role_new(uv_loop_t *loop, const char *role,
    unsigned slot, const struct config *c,
    const struct child_role_events *events, void *arg, char err[256]);

/* Not inside a callback. Handles close on later turns. */
void child_role_free(struct child_role *r);

/* End in an orderly way, then on_stopped(); graceful: when the clients have
 * left by themselves. */
void child_role_stop(struct child_role *r, bool graceful);

/* First half of a reload. 1 when a script is being prepared (on_prepared()
 * follows), 0 when there is nothing to do, or -errno with a line in err. */
int child_role_prepare(struct child_role *r, char err[256]);
void child_role_commit(struct child_role *r);
void child_role_abort(struct child_role *r);

/* Numbers for people and programs; a new object. */
json_t *child_role_status(const struct child_role *r);

/* NULL when it is another role. */
const struct gateway *child_role_gateway(const struct child_role *r);

/* If it is a gateway: client_io_set_ticket_key(), of hexadecimal text. */
void child_role_set_ticket_key(struct child_role *r, const char *hex);

/* The serving script of a worker; NULL when there is none. */
struct vm *child_role_vm(const struct child_role *r);

/* Text of any bytes (an error of a script, a uid) as a JSON string: what is not
 * UTF-8 loses its non-ASCII bytes to "?". Never NULL. */
json_t *child_role_text(const char *text);

#endif /* GW_CLI_CHILD_ROLE_H */
