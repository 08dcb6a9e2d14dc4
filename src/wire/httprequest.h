/* httprequest.h - what a parsed head says about its request: which target is
 * meant, how long the body is, and whether the connection goes on.
 *
 * Where RFC 9112 leaves a server a choice, what two readers could understand
 * differently is refused: so no proxy in front and this server disagree about
 * where a request ends.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPREQUEST_H
#define GW_WIRE_HTTPREQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/httphead.h"

struct httprequest {
    uint64_t length; /* bytes of the body; 0 when chunked */
    bool chunked;
    bool keep_alive;       /* the connection may go on behind the answer */
    bool expects_continue; /* it waits for a 100 before the body */
};

/* Judge a head that httphead_parse() found good. A target in absolute form
 * becomes one in origin form, in place, and its authority the value of Host. 0,
 * or the status to refuse with; then the connection must end, since nobody
 * knows where the request does. */
unsigned httprequest_read(struct httprequest *r, struct httphead *h);

#endif /* GW_WIRE_HTTPREQUEST_H */
