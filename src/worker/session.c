/* A session travels with every event. A script that saves one may get events
 * that left the gateway before the save arrived there, with old bytes: those
 * must not undo it. So the saved bytes are kept, with the hashes of those they
 * replaced, until an event brings them back (or something else: then somebody
 * changed the session in the gateway, and that counts). */
#include "worker/session.h"

#include <string.h>

#include "net/clock.h"
#include "util/log.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways.h"

void session_set_hooks(lua_State *L, const struct session_hooks *hooks)
{
    vm_of(L)->session = *hooks;
}

int session_end(lua_State *L, int status, lua_KContext ctx)
{
    struct vm *vm = vm_of(L);

    if (vm->session.flush && coro_client(L))
        vm->session.flush(L);
    return 0;
}

static uint64_t hash_session(
    const struct dispatch *d, const uint8_t *data, size_t len)
{
    return hash_siphash(data, len, d->hash_key);
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

void session_begin(struct mailbox *m)
{
    const struct frame *f = &m->event->f;
    struct session_record *r = m->record;

    m->session = f->ext;
    m->session_len = f->ext_len;
    if (!r)
        return;
    if (is_stale(r, hash_session(m->d, f->ext, f->ext_len))) {
        m->session = r->data;
        m->session_len = r->len;
    } else {
        session_forget(m);
    }
}

void session_keep(struct mailbox *m)
{
    if (m->record && m->session == m->record->data)
        return;
    buf_clear(&m->waiting_session);
    buf_append(&m->waiting_session, m->session, m->session_len);
    m->session = m->waiting_session.data;
}

void session_forget(struct mailbox *m)
{
    if (!m->record)
        return;
    list_remove(&m->record->node);
    free(m->record->data);
    free(m->record);
    m->record = NULL;
}

const uint8_t *session_bytes(lua_State *L, size_t *len)
{
    const struct mailbox *m = dispatch_mailbox(L);

    *len = m ? m->session_len : 0;
    return m ? m->session : NULL;
}

/* What m's running event sees was replaced by data. */
static void remember(struct mailbox *m, const void *data, size_t len)
{
    struct dispatch *d = m->d;
    uint64_t old = hash_session(d, m->session, m->session_len);
    struct session_record *r = m->record;
    uint8_t *copy = xmemdup(data, len);

    if (!r) {
        r = m->record = xcalloc(1, sizeof(*r));
        list_init(&r->node);
    }
    add_stale(r, old);
    list_remove(&r->node);
    list_push_back(&d->records, &r->node);
    r->mailbox = m;
    r->saved_at = clock_now(turn_loop(d->turn));
    free(r->data);
    r->data = copy;
    r->len = len;
    m->session = copy;
    m->session_len = len;
}

void session_save(lua_State *L, const void *data, size_t len)
{
    struct mailbox *m = dispatch_mailbox(L);
    const struct coro_client *client = coro_client(L);
    struct frame f = {.cmd = FRAME_SET_SESSION, .ext = data, .ext_len = len};
    int err;

    if (!client || (m && m->cmd == FRAME_ON_CLOSE))
        return; /* the client and its session are gone */
    f.client_ip = client->client_ip;
    f.client_port = client->client_port;
    f.connection_id = client->id.connection_id;
    f.gateway_port = client->gateway_port;
    err = gateways_send(
        vm_gateways(vm_of(L)), client->id.local_ip, client->id.local_port, &f);
    if (err == 0 && m) {
        remember(m, data, len);
    } else if (err < 0) {
        char id[CLIENT_ID_LEN + 1];

        client_id_format(id, &client->id);
        log_warn("session not saved client=%s error=%s", id, uv_strerror(err));
    }
}
