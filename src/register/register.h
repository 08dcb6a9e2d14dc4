/* register.h - the role that tells workers where the gateways are.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_REGISTER_REGISTER_H
#define GW_REGISTER_REGISTER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define REGISTER_AUTH_TIMEOUT    10.0  /* seconds to say who one is */
#define REGISTER_MAX_CONNECTIONS 65536 /* gateways and workers */
#define REGISTER_MAX_STRANGERS                                               \
    256 /* connections that have not said who they are; the oldest is closed \
           for one more */

struct engine_conf;

struct register_conf {
    const char *listen;         /* "host:port", for messages */
    const char *cluster_listen; /* the same; NULL: there is no such port */
    const struct engine_conf *engine; /* the cluster; NULL: there is none */
    const char *secret_key;           /* "" for none */
    const char *secret_key_also;      /* that others may have; NULL: none */
    double auth_timeout;              /* seconds */
};

struct register_status {
    size_t gateways; /* unique addresses */
    size_t workers;
    size_t pending; /* connected, not yet known */
    uint64_t refused;
};

struct register_role;

/* Serve on the bound socket fd (ownership passes on success). 0 or -errno. conf
 * outlives it. */
int register_new(struct register_role **out, uv_loop_t *loop,
    const struct register_conf *conf, int fd);

/* On another bound socket answer with the gateways of all cells of the cluster
 * that can be reached: for PHP's GatewayClient. Ownership of fd passes on
 * success. 0 or -errno, and a line in err. */
int register_serve_cluster(struct register_role *r, int fd, char err[256]);

/* At once; handles close on later turns. */
void register_free(struct register_role *r);

void register_status(
    const struct register_role *r, struct register_status *out);

#endif /* GW_REGISTER_REGISTER_H */
