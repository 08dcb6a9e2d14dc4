/* httpbody.h - reads the body of an HTTP request, of a known length or chunked
 * (RFC 9112 sections 6.2 and 7.1), from bytes as they come.
 *
 * Stricter than the RFC allows, as httphead.h: lines end with CRLF. Extensions
 * of chunks and trailers are checked, bounded and dropped.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPBODY_H
#define GW_WIRE_HTTPBODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "wire/httprequest.h"

#define HTTPBODY_EXTENSION_MAX 256  /* bytes behind a chunk's size */
#define HTTPBODY_TRAILER_MAX   8192 /* bytes of all trailer lines */
#define HTTPBODY_DIGITS_MAX    16   /* of a chunk's size */

struct httpbody {
    uint64_t left; /* bytes of the body, or of this chunk, to come */
    size_t got;    /* bytes of the body so far */
    size_t max;
    size_t count;  /* digits, or bytes of an extension or of the trailers */
    uint8_t state; /* private */
};

/* Begin with the body of r, of which max bytes are taken. 0, or -EMSGSIZE: its
 * length is more already. */
int httpbody_begin(struct httpbody *b, const struct httprequest *r, size_t max);

/* Take from data what belongs to the body and append it to out: the bytes used,
 * which are fewer than len only when the body is whole. Or -EPROTO, or
 * -EMSGSIZE: there are more than max. Where data is cut makes no difference. */
ssize_t httpbody_take(
    struct httpbody *b, struct buf *out, const uint8_t *data, size_t len);

bool httpbody_is_whole(const struct httpbody *b);

#endif /* GW_WIRE_HTTPBODY_H */
