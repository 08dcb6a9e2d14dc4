/* clients.h - the clients of a gateway: by connection id, by uid, by group.
 *
 * Finding, binding, joining and leaving take constant time; the members of a
 * name and all clients lie in dense arrays for iteration. Uids and group names
 * are bytes. A client's session is kept as serialized bytes (wire/phpser.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_CLIENTS_H
#define GW_GATEWAY_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/gateway.h"
#include "net/addr.h"
#include "util/hash.h"
#include "util/list.h"

#define CLIENTS_SESSION_MAX (1024 * 1024) /* bytes; goes with every event */
#define CLIENTS_TICKS       100 /* per second, of the times in struct client */

/* A place in the members of a uid or group. */
struct clients_membership {
    struct clients_name *name; /* borrowed from the index; NULL: none */
    uint32_t pos;              /* in name->members */
};

/* One end user's connection. Freed by clients_release() when its socket is
 * closed and no event of it waits any more. */
struct client {
    struct client_conn *conn; /* borrowed; NULL once the socket is closed */
    uint32_t id;
    uint32_t slot; /* among all clients; CLIENTS_OFFLINE once removed */
    struct clients_membership uid;
    struct clients_membership *groups; /* owned */
    uint8_t *session;                  /* owned; NULL when empty */
    uint32_t session_len;              /* bytes */
    uint16_t ngroups, groups_cap;
    uint32_t mark; /* see clients_new_mark() */
    union addr peer;
    uint32_t since, seen, pinged; /* ticks: arrival, last byte, last ping */
    /* router.c */
    uint32_t worker_serial; /* of the worker it is bound to; 0: none */
    uint16_t worker_slot;
    bool paused;             /* not read from */
    bool gone;               /* its ON_CLOSE is with the router */
    uint32_t held;           /* events that wait for a worker */
    struct list paused_node; /* in the router's list while paused */
};

#define CLIENTS_OFFLINE UINT32_MAX

struct clients_member {
    struct client *client;
    uint32_t slot; /* in client->groups; CLIENTS_SLOT_UID in a uid's members */
};

#define CLIENTS_SLOT_UID UINT32_MAX

/* A uid or a group: exists while it has members. */
struct clients_name {
    UT_hash_handle hh;              /* in order of creation */
    struct clients_member *members; /* owned, or &first */
    struct clients_member first;
    uint32_t count, cap;
    uint32_t len; /* bytes in text */
    char text[];  /* NUL-terminated as well */
};

struct clients;

/* Takes ownership of ids_fd (see ids.h; -1 for none) on success. 0, -EINVAL
 * when the file is damaged, or -errno. */
int clients_new(struct clients **out, int ids_fd);

/* Frees the clients that are still in it, too. */
void clients_free(struct clients *cs);

/* A new client with the next free id. conn is borrowed. */
struct client *clients_add(struct clients *cs, struct client_conn *conn,
    const union addr *peer, uint32_t now);

/* One that has left already, as its events tell of it, to send them again. Ends
 * with clients_release(). */
struct client *clients_revive(uint32_t id, const union addr *peer);

/* Take it out of all indexes: it is offline. The struct stays until
 * clients_release(). Harmless when it is out already. */
void clients_remove(struct clients *cs, struct client *c);

/* Free c if it is offline, without socket and without waiting events. */
void clients_release(struct client *c);

/* NULL when there is none. */
struct client *clients_find(const struct clients *cs, uint32_t id);

/* All clients: at(0) … at(count - 1), oldest first as long as none left. */
size_t clients_count(const struct clients *cs);
struct client *clients_at(const struct clients *cs, size_t i);

/* A number no client is marked with: a set of clients is built by setting
 * their mark to it. The set is lost at the next call. */
uint32_t clients_new_mark(struct clients *cs);

/* One uid a client; the new one replaces the old. 0, or -EINVAL for a name
 * that is empty, "0" or longer than GATEWAY_NAME_MAX. */
int clients_bind_uid(
    struct clients *cs, struct client *c, const void *uid, size_t len);
void clients_unbind_uid(struct clients *cs, struct client *c);

/* 0 (also when it is a member already), -EINVAL as above, or -E2BIG above
 * GATEWAY_GROUPS_MAX. */
int clients_join(
    struct clients *cs, struct client *c, const void *group, size_t len);
void clients_leave(
    struct clients *cs, struct client *c, const void *group, size_t len);

/* Every member leaves. */
void clients_ungroup(struct clients *cs, const void *group, size_t len);

/* NULL when it has no members. Valid until the next bind, join or leave. */
const struct clients_name *clients_uid(
    const struct clients *cs, const void *uid, size_t len);
const struct clients_name *clients_group(
    const struct clients *cs, const void *group, size_t len);

/* The groups in order of creation: first(), then next() until NULL. */
const struct clients_name *clients_first_group(const struct clients *cs);
const struct clients_name *clients_next_group(const struct clients_name *group);
size_t clients_group_count(const struct clients *cs);
size_t clients_uid_count(const struct clients *cs);

/* Replace the session, or merge an array into it as PHP's
 * array_replace_recursive does. 0, -E2BIG over CLIENTS_SESSION_MAX, or as
 * phpser_check() and phpser_merge(); on failure the old one stays. */
int clients_set_session(struct client *c, const void *data, size_t len);
int clients_merge_session(struct client *c, const void *data, size_t len);

#endif /* GW_GATEWAY_CLIENTS_H */
