/* The session of each client.
 *
 * A gateway of gwrun's sends it when somebody else has changed it, and tells us
 * when to forget it; in between the record here is what it has, and our own
 * changes go there as changes of keys. One that crosses an event which brings
 * the session is done again on it: the event says how many had come by then.
 *
 * GatewayWorker's gateways send it with every event and get it whole. A script
 * that saves one may get events that left the gateway before the save arrived
 * there, with old bytes: those must not undo it. So the saved bytes are kept,
 * with the hashes of those they replaced, until an event brings them back (or
 * something else: then somebody changed the session in the gateway, and that
 * counts). */
#include "worker/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "worker/gateways_impl.h"
#include "worker/session_impl.h"
#include "worker/vm_impl.h"

/* A change that the gateway may not have yet. */
struct change {
    struct list node; /* in record->changes, oldest first */
    uint32_t number;
    size_t over_len, gone_len;
    uint8_t data[]; /* over, gone */
};

void session_set_hooks(lua_State *L, const struct session_hooks *hooks)
{
    vm_of(L)->session = hooks;
}

int session_end(lua_State *L, int status, lua_KContext ctx)
{
    struct vm *vm = vm_of(L);

    if (vm->session->end && coro_client(L))
        vm->session->end(L);
    return 0;
}

int session_flush(lua_State *L)
{
    struct vm *vm = vm_of(L);

    if (vm->session->flush && coro_client(L))
        vm->session->flush(L);
    return 0;
}

/* ---- records ---- */

void sessions_init(
    struct sessions *s, const uv_loop_t *loop, struct gateways *gateways)
{
    *s = (struct sessions){.loop = loop, .gateways = gateways};
    list_init(&s->records);
    uv_random(NULL, NULL, s->hash_key, sizeof(s->hash_key), 0, NULL);
}

/* m's running event sees what the record has. */
static void point(struct mailbox *m)
{
    m->session = m->record ? m->record->data : NULL;
    m->session_len = m->record ? m->record->len : 0;
}

static void free_change(struct change *change)
{
    list_remove(&change->node);
    free(change);
}

static void drop_changes(struct session_record *r)
{
    while (!list_empty(&r->changes))
        free_change(LIST_ENTRY(r->changes.next, struct change, node));
}

void session_forget(struct mailbox *m)
{
    struct session_record *r = m->record;

    if (!r)
        return;
    drop_changes(r);
    list_remove(&r->node);
    free(r->data);
    free(r);
    m->record = NULL;
    m->session = NULL;
    m->session_len = 0;
}

void sessions_sweep(struct sessions *s, void (*settle)(struct mailbox *m))
{
    uint64_t now = clock_now(s->loop);
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &s->records) {
        struct session_record *r =
            LIST_ENTRY(node, struct session_record, node);
        struct mailbox *m = r->mailbox;

        if (now - r->saved_at < SESSION_KEEP_MS)
            return;
        if (!mailboxes_is_idle(m))
            continue;
        session_forget(m);
        settle(m);
    }
}

static struct session_record *add_record(struct mailbox *m, bool known)
{
    struct session_record *r = m->record;

    if (r)
        return r;
    r = m->record = xcalloc(1, sizeof(*r));
    list_init(&r->node);
    list_init(&r->changes);
    r->mailbox = m;
    r->known = known;
    r->number = ++m->all->sessions->last;
    return r;
}

static void set_bytes(struct session_record *r, const struct buf *bytes)
{
    uint8_t *data = xmemdup(bytes->data, bytes->len);

    free(r->data);
    r->data = data;
    r->len = bytes->len;
}

/* ---- gateways of gwrun's ---- */

static struct gateways_sessions *gateway_of(const struct mailbox *m)
{
    return gateways_sessions(
        m->all->sessions->gateways, m->key.ip, (uint16_t)m->key.port);
}

/* Forget the changes that the gateway has. */
static void drop_confirmed(struct session_record *r, uint32_t confirmed)
{
    while (!list_empty(&r->changes)) {
        struct change *c = LIST_ENTRY(r->changes.next, struct change, node);

        if ((int32_t)(c->number - confirmed) > 0)
            return;
        free_change(c);
    }
}

/* Do again on whole what the gateway had not got. What cannot be done there the
 * gateway refuses, too. */
static void redo_changes(const struct session_record *r, struct buf *whole)
{
    const struct list *node;

    LIST_FOREACH (node, &r->changes) {
        const struct change *c = LIST_ENTRY(node, struct change, node);
        const struct phpser_patch patch = {
            c->data, c->over_len, c->data + c->over_len, c->gone_len};
        struct buf next = {0};

        if (phpser_apply(&next, whole->data, whole->len, &patch) == 0)
            buf_swap(whole, &next);
        buf_fini(&next);
    }
}

/* An event brought the session. */
static void take_session(struct mailbox *m, const struct frame *f)
{
    struct session_record *r = m->record;
    struct buf whole = {0};

    if (r && !r->known)
        session_forget(m);
    r = add_record(m, true);
    drop_confirmed(r, f->changes);
    buf_append(&whole, f->ext, f->ext_len);
    redo_changes(r, &whole);
    r->dropped = r->lost = false;
    r->version = ++m->all->sessions->last;
    if (whole.len > 0)
        set_bytes(r, &whole);
    else
        session_forget(m);
    buf_fini(&whole);
}

void session_arrive(struct mailbox *m, const struct frame *f)
{
    if (!(f->flag & FRAME_FLAG_SESSION))
        return;
    take_session(m, f);
    if (m->vm)
        point(m);
}

void session_settle(struct mailbox *m)
{
    struct session_record *r = m->record;

    if (!r || !r->known || !r->dropped)
        return;
    if (!list_empty(&r->changes)) {
        const struct gateways_sessions *s = gateway_of(m);

        drop_confirmed(r, s ? s->confirmed : 0);
        if (!list_empty(&r->changes))
            return; /* the next event may bring it without them */
    }
    session_forget(m);
}

void session_drop(struct mailbox *m, bool lost)
{
    if (!m->record || !m->record->known)
        return;
    m->record->dropped = true;
    if (lost) {
        m->record->lost = true;
        drop_changes(m->record);
    }
}

/* ---- GatewayWorker's ---- */

static uint64_t hash_session(
    const struct mailbox *m, const uint8_t *data, size_t len)
{
    return hash_siphash(data, len, m->all->sessions->hash_key);
}

static bool is_stale(const struct session_record *r, uint64_t hash)
{
    for (size_t i = 0; i < r->nstale; i++) {
        if (r->stale[i] == hash)
            return true;
    }
    return false;
}

/* Remember that the saved bytes replaced those with this hash. */
static void add_stale(struct session_record *r, uint64_t hash)
{
    if (is_stale(r, hash))
        return;
    if (r->nstale == SESSION_STALE_MAX) {
        r->nstale--;
        memmove(r->stale, r->stale + 1, r->nstale * sizeof(r->stale[0]));
    }
    r->stale[r->nstale++] = hash;
}

/* What m's running event sees was replaced by whole. */
static void remember(struct mailbox *m, const struct buf *whole)
{
    struct sessions *s = m->all->sessions;
    uint64_t old = hash_session(m, m->session, m->session_len);
    struct session_record *r;

    if (m->record && m->record->known)
        session_forget(m);
    r = add_record(m, false);
    add_stale(r, old);
    list_remove(&r->node);
    list_push_back(&s->records, &r->node);
    r->saved_at = clock_now(s->loop);
    set_bytes(r, whole);
    point(m);
}

/* ---- events ---- */

void session_begin(struct mailbox *m)
{
    const struct frame *f = &m->event->f;
    struct session_record *r = m->record;

    if (r && (r->known ? r->lost
                       : !is_stale(r, hash_session(m, f->ext, f->ext_len))))
        session_forget(m);
    if (m->record || (f->flag & FRAME_FLAG_SESSION)) {
        point(m);
    } else {
        m->session = f->ext;
        m->session_len = f->ext_len;
    }
}

void session_keep(struct mailbox *m)
{
    if (m->session_len == 0 || (m->record && m->session == m->record->data))
        return;
    buf_clear(&m->waiting_session);
    buf_append(&m->waiting_session, m->session, m->session_len);
    m->session = m->waiting_session.data;
}

const uint8_t *session_bytes(lua_State *L, size_t *len)
{
    const struct mailbox *m = mailboxes_of(L);

    *len = m ? m->session_len : 0;
    return m ? m->session : NULL;
}

struct session_id session_id(lua_State *L)
{
    const struct mailbox *m = mailboxes_of(L);
    const struct session_record *r = m ? m->record : NULL;

    if (!r || !r->known || r->dropped)
        return (struct session_id){0};
    return (struct session_id){r->number, r->version};
}

static size_t max_of(const struct mailbox *m)
{
    const struct gateways_sessions *s = m ? gateway_of(m) : NULL;

    if (s && s->max > 0)
        return s->max;
    return m ? gateways_packet_max(m->all->sessions->gateways) : FRAME_MAX_LEN;
}

size_t session_max(lua_State *L)
{
    return max_of(mailboxes_of(L));
}

/* ---- saving ---- */

static int send_frame(const struct mailbox *m, struct frame *f)
{
    const struct coro_client *client = &m->client;
    char id[CLIENT_ID_LEN + 1];
    int err;

    f->client_ip = client->client_ip;
    f->client_port = client->client_port;
    f->connection_id = client->id.connection_id;
    f->gateway_port = client->gateway_port;
    err = gateways_send(m->all->sessions->gateways, client->id.local_ip,
        client->id.local_port, f);
    if (err == 0)
        return 0;
    client_id_format(id, &client->id);
    log_warn("session not saved client=%s error=%s", id, uv_strerror(err));
    return err;
}

static int send_whole(struct mailbox *m, const struct buf *whole)
{
    struct frame f = {
        .cmd = FRAME_SET_SESSION, .ext = whole->data, .ext_len = whole->len};
    int err = send_frame(m, &f);

    if (err == 0)
        remember(m, whole);
    return err;
}

static int send_change(struct mailbox *m, struct gateways_sessions *s,
    const struct phpser_patch *patch, const struct buf *whole)
{
    struct frame f = {.cmd = FRAME_PATCH_SESSION,
        .ext = patch->over,
        .ext_len = patch->over_len,
        .body = patch->gone,
        .body_len = patch->gone_len};
    int err = send_frame(m, &f);
    struct session_record *r;
    struct change *c;

    if (err < 0)
        return err;
    if (m->record && !m->record->known)
        session_forget(m);
    r = add_record(m, true);
    drop_confirmed(r, s->confirmed);
    c = xmalloc(sizeof(*c) + patch->over_len + patch->gone_len);
    c->number = ++s->changes;
    c->over_len = patch->over_len;
    c->gone_len = patch->gone_len;
    memcpy(c->data, patch->over, c->over_len);
    if (c->gone_len > 0)
        memcpy(c->data + c->over_len, patch->gone, c->gone_len);
    list_init(&c->node);
    list_push_back(&r->changes, &c->node);
    set_bytes(r, whole);
    point(m);
    return 0;
}

int session_save(lua_State *L, const struct phpser_patch *patch, size_t *size)
{
    struct mailbox *m = mailboxes_of(L);
    struct gateways_sessions *s = gateway_of(m);
    struct buf whole = {0};
    int err;

    *size = 0;
    if (m->cmd == FRAME_ON_CLOSE)
        return 0; /* the client and its session are gone */
    err = phpser_apply(&whole, m->session, m->session_len, patch);
    *size = whole.len;
    if (err == 0 && whole.len > max_of(m))
        err = -EMSGSIZE;
    if (err == 0 && s && s->max > 0)
        err = send_change(m, s, patch, &whole);
    else if (err == 0)
        err = send_whole(m, &whole);
    buf_fini(&whole);
    return err;
}
