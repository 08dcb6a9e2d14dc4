/* refusal.h - the last answer to a request: why it does not become a client.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_REFUSAL_H
#define GW_CLIENTS_REFUSAL_H

#include <stdbool.h>

struct answer;
struct buf;
struct client_conn;

/* Answer with that status and close. reason, a line of text, may be NULL. */
void refusal_send(
    struct client_conn *c, unsigned status, const char *reason, bool with_body);
/* The same as a script said it. */
void refusal_send_answer(
    struct client_conn *c, const struct answer *said, bool with_body);
/* The same in bytes that say all of it; reply is empty afterwards. */
void refusal_send_reply(
    struct client_conn *c, unsigned status, struct buf *reply);

#endif /* GW_CLIENTS_REFUSAL_H */
