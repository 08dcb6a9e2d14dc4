/* answer.h - what a script says to a websocket's handshake or to any other
 * request, from a worker to a gateway: between gwrun's own parts that offer
 * "handshake_answer", or "request".
 *
 * Four bytes of status, 0 to let a client in, or that of the answer; then
 * parts: a byte of kind, four bytes of length, and so many bytes.
 *
 * The worker checks what its script says, to tell it what is wrong; the gateway
 * checks what a worker sends. The rules are the same, and here. Only whether
 * the client offered a subprotocol, how large a session may be and in how many
 * groups a client, others know.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_ANSWER_H
#define GW_WIRE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define ANSWER_HEADERS_MAX     64          /* lines */
#define ANSWER_HEADERS_LEN_MAX (16 * 1024) /* bytes of all of them */
#define ANSWER_BODY_MAX        (64 * 1024) /* bytes */
#define ANSWER_NAME_MAX        255         /* bytes of a uid or group */
#define ANSWER_STATUS_MIN      300         /* of a refusal … */
#define ANSWER_REPLY_MIN       200 /* … and of the answer to a request */
#define ANSWER_STATUS_MAX      599

enum answer_kind {
    /* of both: */
    ANSWER_HEADER = 'h', /* "Set-Cookie: a=1"; any number */
    /* of a refusal, or the answer to a request: */
    ANSWER_BODY = 'b',
    /* of the answer to a request: its body is a file, a path without NUL; */
    ANSWER_FILE = 'f',
    /* or it becomes an event stream, of which the next
     * three say how it begins; no bytes */
    ANSWER_STREAM = 'e',
    /* of one that lets in: */
    ANSWER_SUBPROTOCOL = 'p',
    ANSWER_SESSION = 's', /* a serialized array */
    ANSWER_UID = 'u',
    ANSWER_GROUP = 'g', /* any number */
};

struct answer_part {
    enum answer_kind kind;
    const char *data; /* borrowed; not NUL-terminated */
    size_t len;
};

struct answer {
    unsigned status;      /* 0: let it in */
    const uint8_t *parts; /* borrowed */
    size_t len;
};

void answer_put_status(struct buf *out, unsigned status);
void answer_put(
    struct buf *out, enum answer_kind kind, const void *data, size_t len);
void answer_put_header(struct buf *out, const char *name, size_t name_len,
    const char *value, size_t value_len);

/* A part whose bytes follow: begin, append them, end. answer_end() takes what
 * answer_begin() gave, and returns how many bytes they are. */
size_t answer_begin(struct buf *out, enum answer_kind kind);
size_t answer_end(struct buf *out, size_t start);

/* What has been put into bytes, a status at least; it borrows them. */
struct answer answer_of(const struct buf *bytes);

/* Read an answer that a worker sent; *a borrows data. NULL, or what is wrong
 * with it: static, for the log. */
const char *answer_parse(struct answer *a, const uint8_t *data, size_t len);

/* The same of an answer to a request: its body may have any length. One that
 * makes it an event stream has status 200, and no body. */
const char *answer_parse_reply(
    struct answer *a, const uint8_t *data, size_t len);

/* The part at *at, which begins as 0 and moves on. False: there is none. */
bool answer_next(const struct answer *a, size_t *at, struct answer_part *part);

/* The first of that kind. */
bool answer_find(
    const struct answer *a, enum answer_kind kind, struct answer_part *part);
size_t answer_count(const struct answer *a, enum answer_kind kind);

/* Whether part is the header of that name, in any case; value, which may be
 * NULL, becomes what it is set to. */
bool answer_is_header(const struct answer_part *part, const char *name,
    struct answer_part *value);
/* The first header of that name, likewise. */
bool answer_find_header(
    const struct answer *a, const char *name, struct answer_part *value);
/* Whether the script has set that header. */
bool answer_has_header(const struct answer *a, const char *name);

/* What is wrong with the name of a header, or NULL; static. */
const char *answer_header_fault(const char *name, size_t len);

/* Whether it may be a header's value: no control character but a tab. */
bool answer_is_value(const char *value, size_t len);

#endif /* GW_WIRE_ANSWER_H */
