/* response.h - the bytes that a port answers a request with.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_RESPONSE_H
#define GW_CLIENTS_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "wire/answer.h"
#include "wire/httphead.h"

#define RESPONSE_KEY_LEN     24 /* of a key: 16 bytes in base64 */
#define RESPONSE_SUBPROTOCOL "sec-websocket-protocol"

/* Append a refusal, which ends the connection. reason, a line of text, stands
 * in the status line and is the body; NULL: the status's own words. */
void response_put_refusal(
    struct buf *out, unsigned status, const char *reason, bool with_body);
/* The same as the script said it. */
void response_put_answer(
    struct buf *out, const struct answer *said, bool with_body);
/* RFC 9110 sections 6.4.1 and 8.6: some have none, whatever is said. */
bool response_has_body(unsigned status);
/* Bytes of the body of what was said, or (said NULL) of the status's own words.
 */
size_t response_body_len(const struct answer *said, unsigned status);
bool response_offers(const struct httphead *head, const char *subprotocol);
/* The subprotocol for a client: of ours (NULL-terminated) the first that it
 * offers, or where there are none of ours its own first. The caller frees it;
 * NULL: none. */
char *response_choose(const struct httphead *head, const char *const *ours);
/* Append the 101 for a request that passed the guard, with the headers of what
 * the script said. subprotocol and said may be NULL. */
void response_put_101(struct buf *out, const struct httphead *head,
    const char *subprotocol, const struct answer *said);

/* Append the answer to a request: what a script said, or (said NULL) a status
 * of our own with its words. */
struct response_form {
    bool is_head;       /* without a body */
    bool keep_alive;    /* the connection goes on */
    bool is_old;        /* to HTTP/1.0 */
    bool varies;        /* with the page that asks … */
    const char *origin; /* … and this one's may read it; NULL: nobody's */
    bool encoded;       /* or with the encodings that its client takes */
    uint64_t follows;   /* bytes of the body, if said has none */
    bool streams;       /* until the connection ends */
};
void response_put_reply(struct buf *out, const struct answer *said,
    unsigned status, const struct response_form *form);

#endif /* GW_CLIENTS_RESPONSE_H */
