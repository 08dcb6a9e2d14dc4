/* httphead.h - the head of an HTTP/1.x request: its first line and its headers.
 *
 * Stricter than RFC 9112 allows a server to be: lines end with CRLF, no folded
 * lines, no control characters. What is not accepted here is never shown to a
 * script. Nor is a header with "_" in its name: as HTTP_X_USER_ID it would pass
 * for another one with "-", which a proxy in front has set (nginx drops it,
 * too).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPHEAD_H
#define GW_WIRE_HTTPHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct httphead_field {
    const char *name; /* lower-case */
    const char *value;
};

struct httphead {
    const char *method;            /* "GET" */
    const char *target;            /* "/chat?room=1", as sent */
    unsigned minor;                /* of the version: 1 or 0 */
    struct httphead_field *fields; /* borrowed; the caller's array … */
    size_t max;                    /* … with room for so many headers */
    size_t nfields;
};

/* The length of the head at data, its empty line included: > 0, 0 need more
 * bytes, -EMSGSIZE there is no end within max bytes. */
ssize_t httphead_measure(const void *data, size_t len, size_t max);

/* Parse a whole head of len bytes in place: h, of which fields and max are set,
 * points into data, whose bytes are changed. 0, -EPROTO, or -EMSGSIZE: more
 * than max headers. */
int httphead_parse(struct httphead *h, char *data, size_t len);

/* The first value of that header, or NULL. */
const char *httphead_find(const struct httphead *h, const char *name);

/* The same, and false with *out NULL when there are several. */
bool httphead_find_only(
    const struct httphead *h, const char *name, const char **out);

/* The elements of a header that is a comma-separated list, all its lines. An
 * element ends at a space. */
struct httphead_list {
    const struct httphead *head;
    const char *name;
    size_t next;    /* the field to look at next */
    const char *at; /* in the field before it; NULL: at the start */
};
/* The next one, at least a byte; false: there is none. */
bool httphead_next(struct httphead_list *l, const char **text, size_t *len);

/* Whether these len > 0 bytes are a token (RFC 9110 section 5.6.2). */
bool httphead_is_token(const char *text, size_t len);

#endif /* GW_WIRE_HTTPHEAD_H */
