/* access.h - the access log of a port: a line for each request that is
 * answered, in the form of Apache's "combined", or as JSON.
 *
 * Values in a query that are nobody's business (redact) never reach it. A full
 * disk or a reader that has stopped costs lines, which are counted, and no
 * time. A port without one pays nothing for it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_ACCESS_H
#define GW_CLIENTS_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/turn.h"
#include "wire/httphead.h"

struct access;         /* the log of a port */
struct access_request; /* one that waits for its answer */

struct access_conf {
    const char *file; /* NULL: there is no log */
    const char *name; /* of the listener */
    bool json;
    /* Names whose values in a query are left out, in any case, NULL-terminated;
     * "*": all. NULL: those of docs/configuration.md. */
    const char *const *redact;
};

/* conf outlives it, and lost, which counts lines that could not be written. 0,
 * or -errno. */
int access_new(struct access **out, struct turn *turn,
    const struct access_conf *conf, uint64_t *lost);
/* Write to what is at the file's path now. 0, or -errno: it goes on as before.
 * Harmless with NULL, as are the others. */
int access_reopen(struct access *a);
void access_free(struct access *a);

/* A request has come from peer; head NULL: it cannot be read. access_end() must
 * follow. NULL: there is no log. */
struct access_request *access_begin(
    struct access *a, const struct httphead *head, const union addr *peer);

struct access_answer {
    const char *kind;    /* "request", "file", "api", "upgrade", "stream" */
    const char *who;     /* of an API's key, to the first space; NULL: nobody */
    unsigned status;     /* ACCESS_LEFT: its client did not wait */
    uint64_t body_bytes; /* that the answer has */
};
#define ACCESS_LEFT 499

/* It is answered; r, which may be NULL, is gone after the call. */
void access_end(struct access *a, struct access_request *r,
    const struct access_answer *answer);

#endif /* GW_CLIENTS_ACCESS_H */
