/* server.h - the Redis that a cluster's configuration names, and connections to
 * it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_SERVER_H
#define GW_ENGINE_SERVER_H

#include <stdbool.h>

#include "engine/engine.h"
#include "upstream/redis.h"
#include "upstream/redisurl.h"

#define SERVER_VERSION_MIN 6 /* the oldest major version that will do */

struct server {
    struct redisurl url;    /* owned */
    struct ssl_ctx_st *tls; /* owned; NULL without */
};

/* Read the address. False and a line in err: it is none that joins cells. *out
 * is to be freed in either case. */
bool server_read_url(
    struct redisurl *out, const char *url, char err[ENGINE_ERROR_SIZE]);

/* False and a line in err: the address or ca_file is of no use. */
bool server_init(struct server *s, const struct engine_conf *conf,
    char err[ENGINE_ERROR_SIZE]);
void server_fini(struct server *s);

/* How its connections are made; callbacks may be added. Borrows s. */
struct redis *server_open(
    const struct server *s, struct turn *turn, const struct redis_conf *more);

/* The sentinels that know it, for sentinel_open(). Borrows s. False: there are
 * none. */
bool server_sentinels(const struct server *s, struct sentinel_conf *out);

/* What INFO says of it, which is judged: 0 it serves; -ENOTSUP it is too old;
 * -EROFS it is a replica. Then, or where it serves and has a fault, why is a
 * line; else "". */
int server_judge(const char *info, char why[ENGINE_ERROR_SIZE]);

#endif /* GW_ENGINE_SERVER_H */
