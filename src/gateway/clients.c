#include "gateway/clients.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "gateway/ids.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "wire/phpser.h"

#define TABLE_MIN 1024 /* slots of the id table, a power of two */

struct clients {
    struct ids ids;
    struct client **items; /* owned; dense */
    size_t count, cap;
    struct client **table; /* owned; open addressing by id, half empty */
    unsigned table_bits;
    uint32_t mark;
    struct clients_name *uids;   /* owned */
    struct clients_name *groups; /* owned */
};

/* Fibonacci hashing: neighbouring ids, which are the rule, spread evenly. */
static size_t table_home(const struct clients *cs, uint32_t id)
{
    return (id * 2654435769U) >> (32 - cs->table_bits);
}

static size_t table_mask(const struct clients *cs)
{
    return ((size_t)1 << cs->table_bits) - 1;
}

static void table_put(struct clients *cs, struct client *c)
{
    size_t i = table_home(cs, c->id);

    while (cs->table[i])
        i = (i + 1) & table_mask(cs);
    cs->table[i] = c;
}

static void table_grow(struct clients *cs)
{
    cs->table_bits++;
    free(cs->table);
    cs->table = xcalloc((size_t)1 << cs->table_bits, sizeof(struct client *));
    for (size_t i = 0; i < cs->count; i++)
        table_put(cs, cs->items[i]);
}

/* Close the gap behind the removed entry, so that no probe ends early. */
static void table_delete(struct clients *cs, const struct client *c)
{
    size_t mask = table_mask(cs);
    size_t gap = table_home(cs, c->id);
    size_t i;

    while (cs->table[gap] != c)
        gap = (gap + 1) & mask;
    for (i = (gap + 1) & mask; cs->table[i]; i = (i + 1) & mask) {
        size_t home = table_home(cs, cs->table[i]->id);

        if (((i - home) & mask) >= ((i - gap) & mask)) {
            cs->table[gap] = cs->table[i];
            gap = i;
        }
    }
    cs->table[gap] = NULL;
}

int clients_new(struct clients **out, int ids_fd)
{
    struct clients *cs = xcalloc(1, sizeof(*cs));
    int err = ids_init(&cs->ids, ids_fd);

    if (err < 0) {
        free(cs);
        return err;
    }
    while (((size_t)1 << cs->table_bits) < TABLE_MIN)
        cs->table_bits++;
    cs->table = xcalloc(TABLE_MIN, sizeof(struct client *));
    *out = cs;
    return 0;
}

void clients_free(struct clients *cs)
{
    while (cs->count > 0) {
        struct client *c = cs->items[cs->count - 1];

        clients_remove(cs, c);
        c->conn = NULL;
        c->held = 0;
        clients_release(c);
    }
    ids_fini(&cs->ids);
    free(cs->items);
    free(cs->table);
    free(cs);
}

static struct client *new_client(const union addr *peer)
{
    struct client *c = xcalloc(1, sizeof(*c));

    c->peer = *peer;
    list_init(&c->paused_node);
    return c;
}

struct client *clients_revive(uint32_t id, const union addr *peer)
{
    struct client *c = new_client(peer);

    c->id = id;
    c->slot = CLIENTS_OFFLINE;
    c->gone = true;
    return c;
}

struct client *clients_add(struct clients *cs, struct client_conn *conn,
    const union addr *peer, uint32_t now)
{
    struct client *c = new_client(peer);

    assert(cs->count < UINT32_MAX - 1);
    c->conn = conn;
    c->since = c->seen = c->pinged = now;
    do
        c->id = ids_take(&cs->ids);
    while (clients_find(cs, c->id));
    if (cs->count == cs->cap) {
        cs->cap = cs->cap ? cs->cap * 2 : TABLE_MIN;
        cs->items = xrealloc(cs->items, cs->cap * sizeof(struct client *));
    }
    if ((cs->count + 1) * 2 > table_mask(cs) + 1)
        table_grow(cs);
    c->slot = (uint32_t)cs->count;
    cs->items[cs->count++] = c;
    table_put(cs, c);
    return c;
}

struct client *clients_find(const struct clients *cs, uint32_t id)
{
    size_t i = table_home(cs, id);

    while (cs->table[i] && cs->table[i]->id != id)
        i = (i + 1) & table_mask(cs);
    return cs->table[i];
}

size_t clients_count(const struct clients *cs)
{
    return cs->count;
}

struct client *clients_at(const struct clients *cs, size_t i)
{
    return cs->items[i];
}

uint32_t clients_new_mark(struct clients *cs)
{
    if (++cs->mark == 0) { /* wrapped: old marks could be met again */
        for (size_t i = 0; i < cs->count; i++)
            cs->items[i]->mark = 0;
        cs->mark = 1;
    }
    return cs->mark;
}

/* GatewayWorker refuses what PHP calls empty: "" and "0". */
static bool name_is_valid(const char *text, size_t len)
{
    return len > 0 && len <= GATEWAY_NAME_MAX && !(len == 1 && text[0] == '0');
}

static struct clients_name *name_find(
    struct clients_name *index, const void *text, size_t len)
{
    struct clients_name *n = NULL;

    if (len <= GATEWAY_NAME_MAX)
        HASH_FIND(hh, index, text, (unsigned)len, n);
    return n;
}

static struct clients_name *name_get(
    struct clients_name **index, const void *text, size_t len)
{
    struct clients_name *n = name_find(*index, text, len);

    if (n)
        return n;
    n = xcalloc(1, sizeof(*n) + len + 1);
    n->members = &n->first;
    n->cap = 1;
    n->len = (uint32_t)len;
    memcpy(n->text, text, len);
    HASH_ADD_KEYPTR(hh, *index, n->text, n->len, n);
    return n;
}

static struct clients_membership *membership_of(const struct clients_member *m)
{
    return m->slot == CLIENTS_SLOT_UID ? &m->client->uid
                                       : &m->client->groups[m->slot];
}

static void name_add(struct clients_name *n, struct client *c, uint32_t slot)
{
    if (n->count == n->cap) {
        size_t bytes = (size_t)n->cap * 2 * sizeof(*n->members);
        struct clients_member *old =
            n->members == &n->first ? NULL : n->members;

        n->members = xrealloc(old, bytes);
        if (!old)
            n->members[0] = n->first;
        n->cap *= 2;
    }
    n->members[n->count] = (struct clients_member){c, slot};
    *membership_of(&n->members[n->count]) =
        (struct clients_membership){n, n->count};
    n->count++;
}

/* The last member moves into the gap; a name without members vanishes. */
static void name_drop(
    struct clients_name **index, struct clients_name *n, uint32_t pos)
{
    n->count--;
    if (n->count == 0) {
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

int clients_bind_uid(
    struct clients *cs, struct client *c, const void *uid, size_t len)
{
    if (!name_is_valid(uid, len))
        return -EINVAL;
    clients_unbind_uid(cs, c);
    name_add(name_get(&cs->uids, uid, len), c, CLIENTS_SLOT_UID);
    return 0;
}

void clients_unbind_uid(struct clients *cs, struct client *c)
{
    struct clients_membership m = c->uid;

    c->uid.name = NULL;
    if (m.name)
        name_drop(&cs->uids, m.name, m.pos);
}

/* Where group is in c->groups, or ngroups. Looks through the shorter side; a
 * client's own list is bounded by GATEWAY_GROUPS_MAX. */
static uint32_t group_slot(
    const struct client *c, const struct clients_name *group)
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

int clients_join(
    struct clients *cs, struct client *c, const void *group, size_t len)
{
    struct clients_name *n;

    if (!name_is_valid(group, len))
        return -EINVAL;
    n = name_find(cs->groups, group, len);
    if (n && group_slot(c, n) < c->ngroups)
        return 0;
    if (c->ngroups == GATEWAY_GROUPS_MAX)
        return -E2BIG;
    if (c->ngroups == c->groups_cap) {
        c->groups_cap = c->groups_cap ? c->groups_cap * 2 : 1;
        c->groups = xrealloc(c->groups, c->groups_cap * sizeof(*c->groups));
    }
    c->ngroups++;
    name_add(name_get(&cs->groups, group, len), c, c->ngroups - 1U);
    return 0;
}

/* The client's last group moves into the gap. */
static void leave_slot(struct clients *cs, struct client *c, uint32_t slot)
{
    struct clients_membership m = c->groups[slot];

    c->ngroups--;
    if (slot != c->ngroups) {
        struct clients_membership moved = c->groups[c->ngroups];

        c->groups[slot] = moved;
        moved.name->members[moved.pos].slot = slot;
    }
    name_drop(&cs->groups, m.name, m.pos);
    if (c->ngroups == 0) {
        free(c->groups);
        c->groups = NULL;
        c->groups_cap = 0;
    }
}

void clients_leave(
    struct clients *cs, struct client *c, const void *group, size_t len)
{
    struct clients_name *n = name_find(cs->groups, group, len);
    uint32_t slot;

    if (!n)
        return;
    slot = group_slot(c, n);
    if (slot < c->ngroups)
        leave_slot(cs, c, slot);
}

void clients_ungroup(struct clients *cs, const void *group, size_t len)
{
    struct clients_name *n = name_find(cs->groups, group, len);

    for (uint32_t left = n ? n->count : 0; left > 0; left--)
        leave_slot(cs, n->members[left - 1].client, n->members[left - 1].slot);
}

void clients_remove(struct clients *cs, struct client *c)
{
    if (c->slot == CLIENTS_OFFLINE)
        return;
    clients_unbind_uid(cs, c);
    while (c->ngroups > 0)
        leave_slot(cs, c, c->ngroups - 1U);
    table_delete(cs, c);
    cs->count--;
    cs->items[c->slot] = cs->items[cs->count];
    cs->items[c->slot]->slot = c->slot;
    c->slot = CLIENTS_OFFLINE;
}

void clients_release(struct client *c)
{
    if (c->slot != CLIENTS_OFFLINE || c->conn || c->held > 0)
        return;
    free(c->session);
    free(c);
}

const struct clients_name *clients_uid(
    const struct clients *cs, const void *uid, size_t len)
{
    return name_find(cs->uids, uid, len);
}

const struct clients_name *clients_group(
    const struct clients *cs, const void *group, size_t len)
{
    return name_find(cs->groups, group, len);
}

const struct clients_name *clients_first_group(const struct clients *cs)
{
    return cs->groups;
}

const struct clients_name *clients_next_group(const struct clients_name *group)
{
    return group->hh.next;
}

size_t clients_group_count(const struct clients *cs)
{
    return HASH_COUNT(cs->groups);
}

size_t clients_uid_count(const struct clients *cs)
{
    return HASH_COUNT(cs->uids);
}

static int store_session(struct client *c, const void *data, size_t len)
{
    uint8_t *copy;

    if (len > CLIENTS_SESSION_MAX)
        return -E2BIG;
    copy = len > 0 ? xmemdup(data, len) : NULL;
    free(c->session);
    c->session = copy;
    c->session_len = (uint32_t)len;
    return 0;
}

int clients_set_session(struct client *c, const void *data, size_t len)
{
    int err = len > 0 ? phpser_check(data, len) : 0;

    return err < 0 ? err : store_session(c, data, len);
}

int clients_merge_session(struct client *c, const void *data, size_t len)
{
    struct buf merged = {0};
    int err = phpser_merge(&merged, c->session, c->session_len, data, len);

    if (err == 0)
        err = store_session(c, merged.data, merged.len);
    buf_fini(&merged);
    return err;
}
