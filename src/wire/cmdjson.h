/* cmdjson.h - the JSON inside gateway commands: who is meant, who may ask.
 *
 * Source: GatewayWorker src/Gateway.php (onWorkerMessage) and
 * src/Lib/Gateway.php. Objects and lists of ids are both accepted: PHP encodes
 * an array as whichever fits its keys.
 *
 * Each parse fills out and returns 0, or -EPROTO (out needs no _fini then).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_CMDJSON_H
#define GW_WIRE_CMDJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define CMDJSON_MAX_LEN      (16 << 20) /* bytes; more is -EPROTO */
#define CMDJSON_FEATURES_MAX 64 /* extensions in one offer; more is -EPROTO */
#define CMDJSON_TOKEN_MAX    64 /* bytes of each of cmdjson_tokens */

struct cmdjson_name {
    char *data; /* owned; NUL-terminated, may hold NULs */
    size_t len;
    bool is_int; /* was a JSON number; data is its decimal text */
};

struct cmdjson_names {
    struct cmdjson_name *items; /* owned */
    size_t count;
};

struct cmdjson_ids {
    uint32_t *items; /* owned */
    size_t count;
};

/* What gwrun's parts choose at random to know each other by; NULL: not said.
 * More than CMDJSON_TOKEN_MAX bytes are -EPROTO. */
struct cmdjson_tokens {
    const char *process; /* the worker's process */
    const char *pair;    /* the two links of a worker with a gateway */
    const char *machine; /* what one master has started */
};

/* WORKER_CONNECT and GATEWAY_CLIENT_CONNECT. */
struct cmdjson_auth {
    char *worker_key; /* owned; NULL when absent */
    char *secret_key; /* owned; "" when absent */
    int gwrun;        /* version of the gwrun extension offered, 0 none */
    char **features;  /* owned; offered extensions */
    size_t nfeatures;
    char *process, *pair, *machine; /* owned; as in cmdjson_tokens */
};
int cmdjson_parse_auth(struct cmdjson_auth *out, const void *json, size_t len);
void cmdjson_fini_auth(struct cmdjson_auth *a);
bool cmdjson_has_feature(const struct cmdjson_auth *a, const char *name);
/* worker_key NULL for GATEWAY_CLIENT_CONNECT. features: NULL-terminated list,
 * or NULL for none; tokens (only with features) may be NULL. */
void cmdjson_put_auth(struct buf *out, const char *worker_key,
    const char *secret_key, const char *const *features,
    const struct cmdjson_tokens *tokens);

/* SEND_TO_ALL and SEND_TO_GROUP. */
struct cmdjson_target {
    bool has_connections; /* only these, else everybody */
    struct cmdjson_ids connections;
    struct cmdjson_ids exclude;
    struct cmdjson_names groups; /* SEND_TO_GROUP only */
};
/* An empty text is the empty target: everybody. */
int cmdjson_parse_target(
    struct cmdjson_target *out, const void *json, size_t len);
void cmdjson_fini_target(struct cmdjson_target *t);
/* The ext_data as PHP's Gateway::sendToAll writes it: {"connections":{"3":3}}
 * when connections is not NULL, else {"exclude":{"3":3}}, or nothing at all
 * when neither is given. */
void cmdjson_put_all_target(struct buf *out,
    const struct cmdjson_ids *connections, const struct cmdjson_ids *exclude);
/* {"group":["room1",7],"exclude":null or {"3":3}} */
void cmdjson_put_group_target(struct buf *out,
    const struct cmdjson_names *groups, const struct cmdjson_ids *exclude);

/* Lists of uids or groups: SEND_TO_UID, BATCH_… */
int cmdjson_parse_names(
    struct cmdjson_names *out, const void *json, size_t len);
void cmdjson_fini_names(struct cmdjson_names *n);
void cmdjson_put_names(struct buf *out, const struct cmdjson_names *names);

/* SELECT. */
struct cmdjson_select {
    bool session, uid, groups; /* fields asked */
    bool has_where;            /* else every client */
    struct cmdjson_names where_groups;
    struct cmdjson_names where_uids;
    struct cmdjson_ids where_ids;
    bool where_mine; /* those of the worker that asks; only gwrun's know */
};
int cmdjson_parse_select(
    struct cmdjson_select *out, const void *json, size_t len);
void cmdjson_fini_select(struct cmdjson_select *s);
/* As PHP writes it: {"fields":["uid"],"where":{"groups":["room1"]}}. */
void cmdjson_put_select(struct buf *out, const struct cmdjson_select *s);

#endif /* GW_WIRE_CMDJSON_H */
