/* apigate.h - which requests are calls of the push API, and which of those may
 * go on to a worker.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_APIGATE_H
#define GW_CLIENTS_APIGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "wire/httphead.h"

#define APIGATE_GUESSES   10    /* wrong keys of an address in … */
#define APIGATE_WINDOW    60000 /* … so many ms; further ones get 429 */
#define APIGATE_ADDRESSES 10000 /* that are remembered for it */

struct apigate;

/* What the configuration says. keys NULL: there is no API. */
struct apigate_conf {
    const char *path;         /* "/api" */
    const char *keys_name;    /* of the file */
    const char *keys;         /* its text; the two of a file of apikeys.h */
    const char *const *allow; /* networks, NULL-terminated; NULL: loopback and
                                 private ones */
};

/* conf outlives it, save keys. NULL with a line in err. */
struct apigate *apigate_new(const struct apigate_conf *conf, char err[256]);
void apigate_free(struct apigate *g);

/* Get ready to take other keys, then do, or do not. 0, or -EINVAL with a line
 * in err. */
int apigate_prepare(struct apigate *g, const char *keys, char err[256]);
void apigate_settle(struct apigate *g, bool take);

/* Whether a request with this target is one of the API. */
bool apigate_has(const struct apigate *g, const char *target);

struct apigate_verdict {
    unsigned status; /* 0: it may go on */
    const char *code, *detail;
    const char *rights; /* of its key (apikeys.h); borrowed until settled */
};

/* Judge one by its head; peer is who stands behind trusted proxies, now the
 * time in ms. */
struct apigate_verdict apigate_judge(struct apigate *g,
    const struct httphead *head, const union addr *peer, uint64_t now);

#endif /* GW_CLIENTS_APIGATE_H */
