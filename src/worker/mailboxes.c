/* Clients by id, and what waits of each. Mailboxes come and go with every
 * event, so that those that are not needed are kept for the next. */
#include "worker/mailboxes.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "worker/coro_impl.h"

#define SPARE_SESSION_MAX 4096 /* bytes of session kept in a spare mailbox */

void mailboxes_init(struct mailboxes *all, struct sessions *sessions,
    struct gateways *gateways, size_t queue_max,
    void (*handled)(struct mailbox *m, const char *error))
{
    *all = (struct mailboxes){.sessions = sessions, .handled = handled};
    list_init(&all->spare);
    backlogs_init(&all->backlogs, gateways, queue_max);
}

static struct mailboxes_key key_of(const struct client_id *id)
{
    return (struct mailboxes_key){
        id->local_ip, id->connection_id, id->local_port};
}

/* Gateways count their clients, so that nobody chooses a key: no need for the
 * keyed hash that other tables have, at 400 instructions a look-up. */
static uint32_t hash_of(const struct mailboxes_key *key)
{
    uint64_t bits = (uint64_t)key->ip << 32 | key->connection_id;

    return (uint32_t)(((bits ^ key->port) * 0x9e3779b97f4a7c15u) >> 32);
}

struct mailbox *mailboxes_find(
    struct mailboxes *all, const struct client_id *id)
{
    struct mailboxes_key key = key_of(id);
    struct mailbox *m;

    HASH_FIND_BYHASHVALUE(hh, all->by_key, &key, sizeof(key), hash_of(&key), m);
    return m;
}

struct mailbox *mailboxes_take(
    struct mailboxes *all, const struct client_id *id)
{
    struct mailbox *m;

    if (list_empty(&all->spare)) {
        m = xcalloc(1, sizeof(*m));
        m->all = all;
        list_init(&m->node);
        list_init(&m->queue);
        list_init(&m->watches);
    } else {
        m = LIST_ENTRY(all->spare.prev, struct mailbox, node); /* last used */
        list_remove(&m->node);
        all->nspare--;
    }
    m->key = key_of(id);
    return m;
}

void mailboxes_file(struct mailbox *m)
{
    if (m->filed)
        return;
    HASH_ADD_BYHASHVALUE(
        hh, m->all->by_key, key, sizeof(m->key), hash_of(&m->key), m);
    m->filed = true;
}

static void unfile(struct mailbox *m)
{
    if (m->filed)
        HASH_DELETE(hh, m->all->by_key, m);
    m->filed = false;
}

static void free_mailbox(struct mailbox *m)
{
    buf_fini(&m->waiting_session);
    free(m);
}

void mailboxes_release(struct mailbox *m)
{
    struct mailboxes *all = m->all;

    unfile(m);
    list_remove(&m->node);
    buf_clear(&m->waiting_session);
    buf_shrink(&m->waiting_session, SPARE_SESSION_MAX);
    if (all->nspare >= MAILBOXES_SPARE_MAX) {
        free_mailbox(m);
        return;
    }
    list_push_back(&all->spare, &m->node);
    all->nspare++;
}

static struct gateways_address gateway_of(const struct event *e)
{
    return (struct gateways_address){e->f.local_ip, e->f.local_port};
}

void mailboxes_enqueue(
    struct mailbox *m, const struct event *e, uint32_t number)
{
    bool known = e->f.flag & FRAME_FLAG_SESSION; /* session_arrive() took it */
    size_t ext_len = known ? 0 : e->f.ext_len;
    size_t size = sizeof(*e) + ext_len + e->f.body_len;
    struct event *copy = xmalloc(size);
    uint8_t *p = copy->data;

    *copy = *e;
    copy->size = size;
    copy->number = number;
    list_init(&copy->node);
    if (ext_len > 0)
        memcpy(p, e->f.ext, ext_len);
    copy->f.ext = p;
    copy->f.ext_len = ext_len;
    p += ext_len;
    if (e->f.body_len > 0)
        memcpy(p, e->f.body, e->f.body_len);
    copy->f.body = p;
    list_push_back(&m->queue, &copy->node);
    mailboxes_file(m);
    backlogs_add(&m->all->backlogs, gateway_of(copy), size);
}

struct event *mailboxes_unqueue(struct mailbox *m, struct list *node)
{
    struct event *e = LIST_ENTRY(node, struct event, node);

    list_remove(node);
    backlogs_remove(&m->all->backlogs, gateway_of(e), e->size);
    return e;
}

struct event *mailboxes_next(struct mailbox *m)
{
    return mailboxes_unqueue(m, m->queue.next);
}

void mailboxes_fini(struct mailboxes *all)
{
    struct mailbox *m, *tmp;

    all->backlogs.stopped = true; /* nothing is read because queues end */
    MAP_FOREACH (hh, all->by_key, m, tmp) {
        unfile(m);
        while (!list_empty(&m->queue))
            free(mailboxes_next(m));
        free_mailbox(m);
    }
    while (!list_empty(&all->spare)) {
        m = LIST_ENTRY(all->spare.next, struct mailbox, node);
        list_remove(&m->node);
        free_mailbox(m);
    }
}

void mailboxes_on_done(const char *error, void *m)
{
    struct mailbox *of = m;

    of->all->handled(of, error);
}

struct mailbox *mailboxes_of(lua_State *L)
{
    return coro_done_arg(L, mailboxes_on_done);
}
