/* roster.h - the clients of a gateway: by connection id, by uid, by group.
 *
 * Finding, binding, joining and leaving take constant time; the members of a
 * name and all clients lie in dense arrays for iteration. Uids and group names
 * are bytes. A client's session is kept as serialized bytes (wire/phpser.h),
 * whatever is in them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ROSTER_H
#define GW_GATEWAY_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/gateway_conf.h"
#include "net/addr.h"
#include "util/bans.h"
#include "util/hash.h"
#include "util/list.h"
#include "wire/phpser.h"

#define ROSTER_TICKS 100 /* per second, of the times in struct client */

/* A client among the members of a uid or group. */
struct roster_membership {
    struct roster_name *name; /* borrowed from the index; NULL: none */
    uint32_t pos;             /* in name->members */
};

struct router_wait; /* events that wait for a worker */

/* Why a client is not read from; both may be. */
enum roster_pause {
    ROSTER_STALLED = 1, /* its worker has no room */
    ROSTER_OVER = 2,    /* it is over its share */
};

struct client;

/* A client's session. While a worker has a copy, the session is in that
 * worker's list and counted in its sum. */
struct roster_session {
    struct list node;      /* in router_worker.sessions, or alone */
    struct client *client; /* borrowed, owns this */
    size_t *total;         /* borrowed; the sum of the worker, or NULL */
    size_t counted;        /* bytes of it in the sum */
    uint8_t data[];
};

/* One end user's connection. Freed by roster_release() when its socket is
 * closed and no event of it waits any more. */
struct client {
    struct client_conn *conn; /* borrowed; NULL once the socket is closed */
    uint32_t id;
    uint32_t slot; /* among all clients; ROSTER_OFFLINE once removed */
    struct roster_membership uid;
    struct roster_membership *groups; /* owned */
    uint8_t *session;     /* owned, in a roster_session; NULL when empty */
    uint32_t session_len; /* bytes */
    uint16_t ngroups, groups_cap;
    uint32_t mark; /* see roster_new_mark() */
    union addr peer;
    uint32_t since, seen, pinged; /* ticks: arrival, last byte, last ping */
    /* router.c */
    uint32_t worker_serial; /* of its worker, or the last; 0: none yet */
    uint16_t worker_slot;
    uint8_t paused;         /* enum roster_pause; 0: it is read from */
    bool gone : 1;          /* its ON_CLOSE is with the router */
    bool session_known : 1; /* its worker has its session as it is */
    bool streams : 1; /* it has an event stream: its silence says nothing */
    uint8_t book : 5; /* number of the book, and … */
    uint32_t place;   /* … where its entry is (books.h); 0: there is none */
    uint32_t unbegun; /* bytes of its events that workers have not begun */
    struct router_wait *wait; /* owned by the router; NULL: nothing waits */
};

#define ROSTER_OFFLINE UINT32_MAX

/* For a client that has a session. */
static inline struct roster_session *roster_session(const struct client *c)
{
    return LIST_ENTRY(c->session, struct roster_session, data);
}

/* Take the session of c, if any, out of its worker's list and sum. */
void roster_uncount_session(const struct client *c);

struct roster_member {
    struct client *client;
    uint32_t slot; /* in client->groups; ROSTER_SLOT_UID in a uid's members */
};

#define ROSTER_SLOT_UID UINT32_MAX

/* A uid or a group: exists while it has members. */
struct roster_name {
    UT_hash_handle hh;             /* in order of creation */
    struct roster_member *members; /* owned, or &first */
    struct roster_member first;
    uint32_t count, cap;
    uint32_t len; /* bytes in text */
    char text[];  /* NUL-terminated as well */
};

struct roster;

/* Takes ownership of ids_fd (see ids.h; -1 for none) on success. 0, -EINVAL
 * when the file is damaged, or -errno. */
int roster_new(struct roster **out, int ids_fd);

/* Connection ids come in blocks that somebody lends: see ids.h. */
void roster_borrow_ids(
    struct roster *roster, void (*on_low)(void *arg), void *arg);
bool roster_ids_are_low(const struct roster *roster);
void roster_lend_ids(struct roster *roster, uint32_t first, uint32_t count);

/* Told whenever names (uid or groups) or session of a client have changed. */
struct roster_watch {
    void (*names)(const struct client *c, void *arg);
    void (*session)(const struct client *c, void *arg);
};
void roster_watch(
    struct roster *roster, const struct roster_watch *watch, void *arg);

/* Told when a uid or group has its first member, or none any more. Both are
 * borrowed. */
struct roster_names_watch {
    void (*added)(bool uid, const char *name, size_t len, void *arg);
    void (*removed)(bool uid, const char *name, size_t len, void *arg);
};
void roster_watch_names(
    struct roster *roster, const struct roster_names_watch *watch, void *arg);

/* Instead of GATEWAY_GROUPS_MAX; at most ROSTER_GROUPS_LIMIT. */
#define ROSTER_GROUPS_LIMIT 32768 /* twice as many overflow groups_cap */
void roster_limit_groups(struct roster *roster, unsigned max);

/* Frees the clients that are still in it, too. */
void roster_free(struct roster *roster);

/* A new client with the next free id. conn is borrowed. */
struct client *roster_add(struct roster *roster, struct client_conn *conn,
    const union addr *peer, uint32_t now);

/* A client that has left already, made from its events so that they can be sent
 * again. It is in no index; end it with roster_release(). */
struct client *roster_revive(uint32_t id, const union addr *peer);

/* Take c out of all indexes: from here on it is offline. The struct stays until
 * roster_release(). Harmless when c is out already. */
void roster_remove(struct roster *roster, struct client *c);

/* Free c if it is offline, without socket and without waiting events. */
void roster_release(struct client *c);

/* The client with this id, or NULL. */
struct client *roster_find(const struct roster *roster, uint32_t id);

/* The id of the client that came last; 0: none came. */
uint32_t roster_newest_id(const struct roster *roster);

/* All clients: at(0) … at(count - 1), oldest first as long as none left. */
size_t roster_count(const struct roster *roster);
struct client *roster_at(const struct roster *roster, size_t i);

/* A number no client is marked with: a set of clients is built by setting
 * their mark to it. The set is lost at the next call. */
uint32_t roster_new_mark(struct roster *roster);

/* The uids that nobody may have. */
struct bans *roster_bans(struct roster *roster);

/* One uid a client; the new one replaces the old. 0, -EINVAL for a name that is
 * empty, "0" or longer than GATEWAY_NAME_MAX, or -EPERM: it is banned. */
int roster_bind_uid(
    struct roster *roster, struct client *c, const void *uid, size_t len);
void roster_unbind_uid(struct roster *roster, struct client *c);

/* 0 (also when c is a member already), -EINVAL as above, or -E2BIG: c is in as
 * many groups as it may be. */
int roster_join(
    struct roster *roster, struct client *c, const void *group, size_t len);
void roster_leave(
    struct roster *roster, struct client *c, const void *group, size_t len);

/* Every member of the group leaves it. */
void roster_ungroup(struct roster *roster, const void *group, size_t len);

/* The uid or group with its members; NULL: it has none. Valid until the next
 * bind, join or leave. */
const struct roster_name *roster_uid(
    const struct roster *roster, const void *uid, size_t len);
const struct roster_name *roster_group(
    const struct roster *roster, const void *group, size_t len);

/* The groups in order of creation: first(), then next() until NULL. */
const struct roster_name *roster_first_group(const struct roster *roster);
const struct roster_name *roster_next_group(const struct roster_name *group);
size_t roster_group_count(const struct roster *roster);
size_t roster_uid_count(const struct roster *roster);

/* Larger sessions are refused from now on; at first GATEWAY_SESSION_MAX. */
void roster_limit_sessions(struct roster *roster, size_t max);

/* Replace the session, change keys of it, or merge an array into it as PHP's
 * array_replace_recursive does. 0, -EMSGSIZE over the limit, or as
 * phpser_check(), phpser_apply() and phpser_merge(); on failure the old one
 * stays. It is not known to the client's worker any more. */
int roster_set_session(const struct roster *roster, struct client *c,
    const void *data, size_t len);
int roster_patch_session(const struct roster *roster, struct client *c,
    const struct phpser_patch *patch);
int roster_merge_session(const struct roster *roster, struct client *c,
    const void *data, size_t len);

#endif /* GW_GATEWAY_ROSTER_H */
