/* sentinel.h - asks Redis sentinels which server is the master.
 *
 * One after the other, beginning with the one that answered last; one that does
 * not answer in time, or does not know the master, is passed over. Each
 * question has a connection of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_SENTINEL_H
#define GW_UPSTREAM_SENTINEL_H

#include <stdint.h>

#include "net/turn.h"

#define SENTINEL_MAX    16    /* sentinels of a master */
#define SENTINEL_PORT   26379 /* where none is given */
#define SENTINEL_TRY_MS 1000  /* until the next one is asked */

struct sentinel;
struct ssl_ctx_st;

struct sentinel_conf {
    const char *const *hosts; /* SENTINEL_MAX at most */
    const uint16_t *ports;    /* as many */
    size_t count;
    const char *master;     /* the name that sentinels know it by */
    const char *user;       /* of the sentinels; NULL: "default" */
    const char *password;   /* of the sentinels; NULL: no AUTH */
    struct ssl_ctx_st *tls; /* see net/trust.h; NULL: without */
    const char *tls_name;   /* of whom certificates must be; NULL: the host */
    uint64_t try_ms;        /* 0: SENTINEL_TRY_MS */
};

/* err 0: host, borrowed, and port. Else -errno, and why. */
typedef void (*sentinel_found_cb)(
    int err, const char *host, uint16_t port, const char *why, void *arg);

/* conf is copied, the context shared. Asks nothing yet. turn is borrowed. */
struct sentinel *sentinel_open(
    struct turn *turn, const struct sentinel_conf *conf);

/* At once; found will not run any more. NULL is allowed. */
void sentinel_close(struct sentinel *s);

/* found runs once, on a later turn, and may ask again or close. One question at
 * a time. */
void sentinel_ask(struct sentinel *s, sentinel_found_cb found, void *arg);

/* Give the question up, if one is under way: found will not run. */
void sentinel_cancel(struct sentinel *s);

#endif /* GW_UPSTREAM_SENTINEL_H */
