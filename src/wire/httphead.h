/* httphead.h - the head of an HTTP/1.x request: its first line and its headers.
 *
 * Stricter than RFC 9112 allows a server to be: lines end with CRLF, no folded
 * lines, no control characters. What is not accepted here is never shown to a
 * script.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPHEAD_H
#define GW_WIRE_HTTPHEAD_H

#include <stddef.h>
#include <sys/types.h>

#define HTTPHEAD_FIELDS_MAX 128 /* headers; more is -EPROTO */

struct httphead_field {
    const char *name; /* lower-case */
    const char *value;
};

struct httphead {
    const char *method; /* "GET" */
    const char *target; /* "/chat?room=1", as sent */
    unsigned minor;     /* of the version: 1 or 0 */
    struct httphead_field fields[HTTPHEAD_FIELDS_MAX];
    size_t nfields;
};

/* The length of the head at data, its empty line included: > 0, 0 need more
 * bytes, -EMSGSIZE there is no end within max bytes. */
ssize_t httphead_measure(const void *data, size_t len, size_t max);

/* Parse a whole head of len bytes in place: h points into data, whose bytes are
 * changed. 0, or -EPROTO. */
int httphead_parse(struct httphead *h, char *data, size_t len);

/* The first value of that header, or NULL. */
const char *httphead_find(const struct httphead *h, const char *name);

#endif /* GW_WIRE_HTTPHEAD_H */
