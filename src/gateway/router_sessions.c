/* Which clients' sessions a worker has, so that they need not travel with every
 * event.
 *
 * What a worker was sent with an event, or saved itself, it keeps until this
 * gateway tells it on the event link to forget it. All of it is said in the
 * order of that link, so that both sides know at each event the same.
 *
 * A worker's own changes may cross an event that leaves with the session as it
 * was: such an event says how many of them the gateway had got by then, and the
 * worker does the later ones again. */
#include "gateway/router_impl.h"
#include "util/log.h"
#include "wire/bigendian.h"

#define KNOWN_COST 512 /* bytes that a kept session takes beside its own */

/* An answer to so many changes, at the latest, lets the worker forget them. */
#define CONFIRM_COUNT 32
#define CONFIRM_BYTES (64 * 1024)

/* Tell w how large a session may be, and how many of its changes have come. */
static void confirm(const struct router *r, struct router_worker *w)
{
    uint8_t body[8];
    struct frame f = {.cmd = FRAME_SESSION, .body = body, .body_len = 8};

    put32(body, (uint32_t)r->conf.session_max);
    put32(body + 4, w->changes);
    router_put(r, w, &f);
    w->confirmed = w->changes;
    w->confirmed_bytes = 0;
}

void router_begin_sessions(const struct router *r, struct router_worker *w)
{
    confirm(r, w);
}

static void forget(
    const struct router *r, struct router_worker *w, uint32_t connection_id)
{
    struct frame f = {.cmd = FRAME_SESSION, .connection_id = connection_id};

    if (w->conn)
        router_put(r, w, &f);
}

/* Count that w has the session of c. Above session_cache w is told to forget
 * the sessions that were used least lately. */
static void count(
    const struct router *r, struct router_worker *w, struct client *c)
{
    struct roster_session *session;

    roster_uncount_session(c);
    if (!c->session)
        return;
    session = roster_session(c);
    session->total = &w->sessions_bytes;
    session->counted = c->session_len + KNOWN_COST;
    w->sessions_bytes += session->counted;
    while (w->sessions_bytes > r->conf.session_cache &&
           !list_empty(&w->sessions)) {
        struct client *oldest =
            LIST_ENTRY(w->sessions.next, struct roster_session, node)->client;

        forget(r, w, oldest->id);
        roster_uncount_session(oldest);
        oldest->session_known = false;
    }
    list_push_back(&w->sessions, &session->node);
}

void router_put_session(struct router *r, struct router_worker *w,
    struct client *c, struct frame *f)
{
    bool last = f->cmd == FRAME_ON_CLOSE;

    if (w->features.session && c->session_known &&
        !(last && c->session_len > 0)) {
        if (c->session) {
            list_remove(&roster_session(c)->node);
            list_push_back(&w->sessions, &roster_session(c)->node);
        }
        return;
    }
    f->ext = c->session;
    f->ext_len = c->session_len;
    if (!w->features.session)
        return;
    f->flag |= FRAME_FLAG_SESSION;
    f->changes = w->changes;
    w->confirmed = w->changes;
    w->confirmed_bytes = 0;
    if (last)
        return; /* the worker forgets it behind this event */
    c->session_known = true;
    count(r, w, c);
}

void router_forget_session(
    const struct router *r, struct router_worker *w, struct client *c)
{
    if (w->features.session && !c->gone)
        forget(r, w, c->id);
    roster_uncount_session(c);
    c->session_known = false;
}

void router_forget_sessions(struct router_worker *w)
{
    while (!list_empty(&w->sessions))
        roster_uncount_session(
            LIST_ENTRY(w->sessions.next, struct roster_session, node)->client);
}

void router_session_changed(
    struct router *r, const struct client *c, bool known)
{
    struct router_worker *w = router_bound_worker(r, c);
    struct frame f = {.cmd = FRAME_SESSION,
        .flag = FRAME_FLAG_SESSION,
        .connection_id = c->id,
        .ext = c->session,
        .ext_len = c->session_len};

    if (!w || !w->features.session)
        return;
    f.changes = w->changes;
    if (c->unbegun > 0)
        router_put(r, w, &f);
    else if (known)
        forget(r, w, c->id);
}

bool router_keeps_sessions(const struct router_worker *w)
{
    return w->features.session;
}

int router_patch_session(struct router *r, struct router_worker *w,
    const struct roster *roster, const struct frame *f)
{
    const struct phpser_patch patch = {
        f->ext, f->ext_len, f->body, f->body_len};
    struct client *c = roster_find(roster, f->connection_id);
    bool bound = c && c->worker_serial == w->serial;
    bool known = bound && c->session_known;
    int err = c ? roster_patch_session(roster, c, &patch) : 0;

    w->changes++;
    w->confirmed_bytes += f->ext_len + f->body_len;
    if (!w->conn)
        return err; /* it leaves */
    if (!bound) {
        forget(r, w, f->connection_id);
    } else if (err == 0) {
        c->session_known = known;
        if (known)
            count(r, w, c);
    }
    if (w->changes - w->confirmed >= CONFIRM_COUNT ||
        w->confirmed_bytes >= CONFIRM_BYTES)
        confirm(r, w);
    return err;
}
