/* The index of a gateway's clients: by id, by uid, by group, with sessions.
 * It owns the structs until roster_release(); a name (uid or group) lives as
 * long as it has a member. */
#include "gateway/roster.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "gateway/ids.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/idmap.h"
#include "wire/phpser.h"

#define ITEMS_MIN 1024 /* room for clients at first */

struct roster {
    struct ids ids;
    struct client **items; /* owned; dense */
    size_t count, cap;
    struct idmap by_id; /* the same clients */
    uint32_t mark;
    size_t session_max; /* bytes */
    unsigned groups_max;
    struct bans bans;                 /* of uids */
    struct roster_name *uids;         /* owned */
    struct roster_name *groups;       /* owned */
    const struct roster_watch *watch; /* borrowed; NULL: nobody looks */
    void *watch_arg;
    const struct roster_names_watch *names_watch; /* likewise */
    void *names_arg;
};

int roster_new(struct roster **out, int ids_fd)
{
    struct roster *roster = xcalloc(1, sizeof(*roster));
    int err = ids_init(&roster->ids, ids_fd);

    if (err < 0) {
        free(roster);
        return err;
    }
    roster->groups_max = GATEWAY_GROUPS_MAX;
    roster->session_max = GATEWAY_SESSION_MAX;
    *out = roster;
    return 0;
}

void roster_watch(
    struct roster *roster, const struct roster_watch *watch, void *arg)
{
    roster->watch = watch;
    roster->watch_arg = arg;
}

void roster_watch_names(
    struct roster *roster, const struct roster_names_watch *watch, void *arg)
{
    roster->names_watch = watch;
    roster->names_arg = arg;
}

static void tell_names(const struct roster *roster, const struct client *c)
{
    if (roster->watch)
        roster->watch->names(c, roster->watch_arg);
}

void roster_limit_groups(struct roster *roster, unsigned max)
{
    roster->groups_max = max;
}

void roster_free(struct roster *roster)
{
    while (roster->count > 0) {
        struct client *c = roster->items[roster->count - 1];

        roster_remove(roster, c);
        c->conn = NULL;
        c->wait = NULL; /* the router has ended */
        roster_release(c);
    }
    bans_fini(&roster->bans);
    ids_fini(&roster->ids);
    free(roster->items);
    idmap_fini(&roster->by_id);
    free(roster);
}

static struct client *new_client(const union addr *peer)
{
    struct client *c = xcalloc(1, sizeof(*c));

    c->peer = *peer;
    return c;
}

struct client *roster_revive(uint32_t id, const union addr *peer)
{
    struct client *c = new_client(peer);

    c->id = id;
    c->slot = ROSTER_OFFLINE;
    c->gone = true;
    return c;
}

struct client *roster_add(struct roster *roster, struct client_conn *conn,
    const union addr *peer, uint32_t now)
{
    struct client *c = new_client(peer);

    assert(roster->count < UINT32_MAX - 1);
    c->conn = conn;
    c->since = c->seen = c->pinged = now;
    do
        c->id = ids_take(&roster->ids);
    while (roster_find(roster, c->id));
    if (roster->count == roster->cap) {
        roster->cap = roster->cap ? roster->cap * 2 : ITEMS_MIN;
        roster->items =
            xrealloc(roster->items, roster->cap * sizeof(struct client *));
    }
    c->slot = (uint32_t)roster->count;
    roster->items[roster->count++] = c;
    idmap_put(&roster->by_id, c->id, c);
    return c;
}

void roster_borrow_ids(
    struct roster *roster, void (*on_low)(void *arg), void *arg)
{
    ids_borrow(&roster->ids, on_low, arg);
}

bool roster_ids_are_low(const struct roster *roster)
{
    return ids_are_low(&roster->ids);
}

void roster_lend_ids(struct roster *roster, uint32_t first, uint32_t count)
{
    ids_lend(&roster->ids, first, count);
}

struct client *roster_find(const struct roster *roster, uint32_t id)
{
    return idmap_get(&roster->by_id, id);
}

uint32_t roster_newest_id(const struct roster *roster)
{
    return roster->ids.next - 1;
}

size_t roster_count(const struct roster *roster)
{
    return roster->count;
}

struct client *roster_at(const struct roster *roster, size_t i)
{
    return roster->items[i];
}

uint32_t roster_new_mark(struct roster *roster)
{
    if (++roster->mark == 0) { /* wrapped: old marks could be met again */
        for (size_t i = 0; i < roster->count; i++)
            roster->items[i]->mark = 0;
        roster->mark = 1;
    }
    return roster->mark;
}

/* GatewayWorker refuses what PHP calls empty: "" and "0". */
static bool name_is_valid(const char *text, size_t len)
{
    return len > 0 && len <= GATEWAY_NAME_MAX && !(len == 1 && text[0] == '0');
}

static struct roster_name *name_find(
    struct roster_name *index, const void *text, size_t len)
{
    struct roster_name *n = NULL;

    if (len <= GATEWAY_NAME_MAX)
        HASH_FIND(hh, index, text, (unsigned)len, n);
    return n;
}

static struct roster_name *name_get(struct roster *roster,
    struct roster_name **index, const void *text, size_t len)
{
    struct roster_name *n = name_find(*index, text, len);

    if (n)
        return n;
    n = xcalloc(1, sizeof(*n) + len + 1);
    n->members = &n->first;
    n->cap = 1;
    n->len = (uint32_t)len;
    memcpy(n->text, text, len);
    HASH_ADD_KEYPTR(hh, *index, n->text, n->len, n);
    if (roster->names_watch)
        roster->names_watch->added(
            index == &roster->uids, n->text, n->len, roster->names_arg);
    return n;
}

static struct roster_membership *membership_of(const struct roster_member *m)
{
    return m->slot == ROSTER_SLOT_UID ? &m->client->uid
                                      : &m->client->groups[m->slot];
}

static void name_add(struct roster_name *n, struct client *c, uint32_t slot)
{
    if (n->count == n->cap) {
        size_t bytes = (size_t)n->cap * 2 * sizeof(*n->members);
        struct roster_member *old = n->members == &n->first ? NULL : n->members;

        n->members = xrealloc(old, bytes);
        if (!old)
            n->members[0] = n->first;
        n->cap *= 2;
    }
    n->members[n->count] = (struct roster_member){c, slot};
    *membership_of(&n->members[n->count]) =
        (struct roster_membership){n, n->count};
    n->count++;
}

/* The last member moves into the gap; a name without members vanishes. */
static void name_drop(struct roster *roster, struct roster_name **index,
    struct roster_name *n, uint32_t pos)
{
    n->count--;
    if (n->count == 0) {
        if (roster->names_watch)
            roster->names_watch->removed(
                index == &roster->uids, n->text, n->len, roster->names_arg);
        HASH_DEL(*index, n); /* NOLINT(clang-analyzer-core.NullDereference) */
        if (n->members != &n->first)
            free(n->members);
        free(n);
        return;
    }
    if (pos == n->count)
        return;
    n->members[pos] = n->members[n->count];
    membership_of(&n->members[pos])->pos = pos;
}

static void unbind(struct roster *roster, struct client *c)
{
    struct roster_membership m = c->uid;

    c->uid.name = NULL;
    if (m.name)
        name_drop(roster, &roster->uids, m.name, m.pos);
}

struct bans *roster_bans(struct roster *roster)
{
    return &roster->bans;
}

static bool has_uid(const struct client *c, const void *uid, size_t len)
{
    const struct roster_name *name = c->uid.name;

    return name != NULL && name->len == len &&
           memcmp(name->text, uid, len) == 0;
}

int roster_bind_uid(
    struct roster *roster, struct client *c, const void *uid, size_t len)
{
    if (!name_is_valid(uid, len))
        return -EINVAL;
    if (bans_have(&roster->bans, uid, len))
        return -EPERM;
    if (has_uid(c, uid, len))
        return 0; /* who waits for other cells to know goes on waiting */
    unbind(roster, c);
    name_add(name_get(roster, &roster->uids, uid, len), c, ROSTER_SLOT_UID);
    tell_names(roster, c);
    return 0;
}

void roster_unbind_uid(struct roster *roster, struct client *c)
{
    unbind(roster, c);
    tell_names(roster, c);
}

/* Where group is in c->groups, or ngroups. Looks through the shorter side; a
 * client's own list is bounded by groups_max. */
static uint32_t group_slot(
    const struct client *c, const struct roster_name *group)
{
    if (group->count < c->ngroups) {
        for (uint32_t i = 0; i < group->count; i++)
            if (group->members[i].client == c)
                return group->members[i].slot;
        return c->ngroups;
    }
    for (uint32_t i = 0; i < c->ngroups; i++)
        if (c->groups[i].name == group)
            return i;
    return c->ngroups;
}

int roster_join(
    struct roster *roster, struct client *c, const void *group, size_t len)
{
    struct roster_name *n;

    if (!name_is_valid(group, len))
        return -EINVAL;
    n = name_find(roster->groups, group, len);
    if (n && group_slot(c, n) < c->ngroups)
        return 0;
    if (c->ngroups >= roster->groups_max)
        return -E2BIG;
    if (c->ngroups == c->groups_cap) {
        c->groups_cap = c->groups_cap ? c->groups_cap * 2 : 1;
        c->groups = xrealloc(c->groups, c->groups_cap * sizeof(*c->groups));
    }
    c->ngroups++;
    name_add(name_get(roster, &roster->groups, group, len), c, c->ngroups - 1U);
    tell_names(roster, c);
    return 0;
}

/* The client's last group moves into the gap. */
static void leave_slot(struct roster *roster, struct client *c, uint32_t slot)
{
    struct roster_membership m = c->groups[slot];

    c->ngroups--;
    if (slot != c->ngroups) {
        struct roster_membership moved = c->groups[c->ngroups];

        c->groups[slot] = moved;
        moved.name->members[moved.pos].slot = slot;
    }
    name_drop(roster, &roster->groups, m.name, m.pos);
    if (c->ngroups == 0) {
        free(c->groups);
        c->groups = NULL;
        c->groups_cap = 0;
    }
}

void roster_leave(
    struct roster *roster, struct client *c, const void *group, size_t len)
{
    struct roster_name *n = name_find(roster->groups, group, len);
    uint32_t slot;

    if (!n)
        return;
    slot = group_slot(c, n);
    if (slot >= c->ngroups)
        return;
    leave_slot(roster, c, slot);
    tell_names(roster, c);
}

void roster_ungroup(struct roster *roster, const void *group, size_t len)
{
    struct roster_name *n = name_find(roster->groups, group, len);

    for (uint32_t left = n ? n->count : 0; left > 0; left--) {
        struct roster_member m = n->members[left - 1];

        leave_slot(roster, m.client, m.slot);
        tell_names(roster, m.client);
    }
}

void roster_remove(struct roster *roster, struct client *c)
{
    if (c->slot == ROSTER_OFFLINE)
        return;
    unbind(roster, c);
    while (c->ngroups > 0)
        leave_slot(roster, c, c->ngroups - 1U);
    idmap_remove(&roster->by_id, c->id);
    roster->count--;
    roster->items[c->slot] = roster->items[roster->count];
    roster->items[c->slot]->slot = c->slot;
    c->slot = ROSTER_OFFLINE;
}

void roster_uncount_session(const struct client *c)
{
    struct roster_session *session = c->session ? roster_session(c) : NULL;

    if (!session || !session->total)
        return;
    list_remove(&session->node);
    *session->total -= session->counted;
    session->total = NULL;
    session->counted = 0;
}

/* Afterwards c has no session. */
static void free_session(struct client *c)
{
    roster_uncount_session(c);
    if (c->session)
        free(roster_session(c));
    c->session = NULL;
}

void roster_release(struct client *c)
{
    if (c->slot != ROSTER_OFFLINE || c->conn || c->wait)
        return;
    free_session(c);
    free(c);
}

const struct roster_name *roster_uid(
    const struct roster *roster, const void *uid, size_t len)
{
    return name_find(roster->uids, uid, len);
}

const struct roster_name *roster_group(
    const struct roster *roster, const void *group, size_t len)
{
    return name_find(roster->groups, group, len);
}

const struct roster_name *roster_first_group(const struct roster *roster)
{
    return roster->groups;
}

const struct roster_name *roster_next_group(const struct roster_name *group)
{
    return group->hh.next;
}

size_t roster_group_count(const struct roster *roster)
{
    return HASH_COUNT(roster->groups);
}

size_t roster_uid_count(const struct roster *roster)
{
    return HASH_COUNT(roster->uids);
}

void roster_limit_sessions(struct roster *roster, size_t max)
{
    roster->session_max = max;
}

static void put_session(struct client *c, const void *data, size_t len)
{
    struct roster_session *session = xmalloc(sizeof(*session) + len);

    list_init(&session->node);
    session->client = c;
    session->total = NULL;
    session->counted = 0;
    memcpy(session->data, data, len);
    c->session = session->data;
}

static int store_session(
    const struct roster *roster, struct client *c, const void *data, size_t len)
{
    if (len > roster->session_max)
        return -EMSGSIZE;
    free_session(c);
    c->session_known = false;
    c->session_len = (uint32_t)len;
    if (len > 0)
        put_session(c, data, len);
    if (roster->watch)
        roster->watch->session(c, roster->watch_arg);
    return 0;
}

int roster_set_session(
    const struct roster *roster, struct client *c, const void *data, size_t len)
{
    int err = len > 0 ? phpser_check(data, len) : 0;

    return err < 0 ? err : store_session(roster, c, data, len);
}

int roster_patch_session(const struct roster *roster, struct client *c,
    const struct phpser_patch *patch)
{
    struct buf whole = {0};
    int err = phpser_apply(&whole, c->session, c->session_len, patch);

    c->session_known = false;
    if (err == 0)
        err = store_session(roster, c, whole.data, whole.len);
    buf_fini(&whole);
    return err;
}

int roster_merge_session(
    const struct roster *roster, struct client *c, const void *data, size_t len)
{
    struct buf merged = {0};
    int err = phpser_merge(&merged, c->session, c->session_len, data, len);

    if (err == 0)
        err = store_session(roster, c, merged.data, merged.len);
    buf_fini(&merged);
    return err;
}
