/* redisurl.h - the address of a Redis in one line.
 *
 *   redis://[user][:password]@host[:port][/db]       rediss:// the same by TLS
 *   redis+sentinel://[user][:password]@host[:port][,host[:port]…]/master[/db]
 *   rediss+sentinel://                   servers and sentinels by TLS
 *   redis+cluster://[user][:password]@host[:port][,host[:port]…]
 *   rediss+cluster://                    nodes by TLS
 *   unix://[user][:password]@/path/redis.sock
 *
 * User and password are those of the servers. What stands for itself in none of
 * these places (a "/" in a password) is written as %2F.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_REDISURL_H
#define GW_UPSTREAM_REDISURL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upstream/sentinel.h"

#define REDISURL_PORT       6379 /* where none is given */
#define REDISURL_ERROR_SIZE 128

struct redisurl {
    bool tls;
    bool cluster;              /* hosts are some of its nodes */
    char *user;                /* owned, as all here; NULL: none is given */
    char *password;            /* likewise */
    char *hosts[SENTINEL_MAX]; /* or one, which may be a path */
    uint16_t ports[SENTINEL_MAX];
    size_t count;
    char *master; /* NULL: the only host is the server, or a cluster */
    int db;
};

/* 0, or -EINVAL and why. *out is to be freed in either case. */
int redisurl_parse(
    struct redisurl *out, const char *text, char err[REDISURL_ERROR_SIZE]);

void redisurl_fini(struct redisurl *url);

#endif /* GW_UPSTREAM_REDISURL_H */
