/* desk.h - what the operators' port asks the master about clients.
 *
 * The master hands such a connection to this process and takes two things from
 * it: which clients there are, and whom to close. One question at a time; the
 * others wait.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_DESK_H
#define GW_ADMIN_DESK_H

#include <stddef.h>

#include "net/turn.h"
#include "wire/ctlmsg.h"

#define DESK_ROWS_MAX    200 /* clients in an answer */
#define DESK_WAITING_MAX 64  /* questions */

struct desk;
struct desk_question;

/* Takes ownership of the connected socket fd. NULL when it is none. */
struct desk *desk_open(struct turn *turn, int fd);

/* No callback any more. */
void desk_close(struct desk *d);

/* answer is new, and the callee's: "rows" and "more" of "connections",
 * "clients" of an "order"; or "error", a line. */
typedef void (*desk_answer_cb)(json_t *answer, void *arg);

/* Ask; takes the reference to question. The answer comes on a later turn. NULL:
 * too many wait, or the master is gone. */
struct desk_question *desk_ask(
    struct desk *d, json_t *question, desk_answer_cb answer, void *arg);

/* Nobody waits for the answer any more. */
void desk_forget(struct desk_question *q);

#endif /* GW_ADMIN_DESK_H */
