/* request.h - the HTTP request that a connection on a websocket port begins
 * with.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_REQUEST_H
#define GW_CLIENTS_REQUEST_H

#include "wire/answer.h"

struct client_conn;

/* The owner's answer to on_ask(): status 0 lets it in, on_open() follows on a
 * later turn unless the request is not valid; otherwise it is refused with that
 * status (400 to 599) and the reason, a line of text, or NULL. A second answer
 * is ignored, and one that comes too late. */
void request_answer(struct client_conn *c, unsigned status, const char *reason);

/* The same as a script says it: with status, headers, body and subprotocol of
 * an answer that answer_parse() found good. Borrowed until on_ask_end(). One
 * that chooses a subprotocol which was not offered is refused with 500. */
void request_answer_with(struct client_conn *c, const struct answer *said);

/* What has a connection until it is a client. */
extern const struct client_stage request_stage;

#endif /* GW_CLIENTS_REQUEST_H */
