/* router.h - which worker gets a client's events, and what happens to them
 * while no worker can take them.
 *
 * A client is bound to one worker while that worker lives; its first event
 * chooses it. When no worker is there, or so much lies unread in its link, the
 * client is no longer read from and its events wait here, in order; they go
 * out, and reading goes on, when a worker comes or the link drains. An ON_CLOSE
 * always waits; above ROUTER_HELD_MAX clients of which most waits are closed.
 *
 * A client of which a worker that acknowledges has more than its share and has
 * not begun it is no longer read from, until it has; others are. What would be
 * more than the worker's high-water mark waits here, but for a little of each
 * client.
 *
 * With GATEWAY_ROUTER_HASH_UID a client is routed by its address until a uid
 * is bound and by the uid from the next event on: that may be another worker,
 * and then what the first one has not run yet is not waited for.
 *
 * A worker whose script wants it is told of each client that it gets from
 * another one, in front of the client's next event; of those that are silent
 * within seconds after that one was lost (router_bind_orphans()).
 *
 * What a worker that acknowledges was given and has not begun is kept. When the
 * worker is lost, its clients' later events wait until it is certain what it
 * began; then the rest goes to others, in front of them.
 *
 * Only workers of the gateway's kind are here (inner_conf.workers).
 *
 * With GATEWAY_ROUTER_FUNCTION the configuration chooses: once for each binding
 * of a client, among the workers that have room.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_ROUTER_H
#define GW_GATEWAY_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/books.h"
#include "gateway/gateway_conf.h"
#include "gateway/roster.h"
#include "net/conn.h"
#include "net/reach.h"
#include "wire/frame.h"
#include "wire/receipt.h"

#define ROUTER_WORKERS_MAX 4096               /* more are refused */
#define ROUTER_HELD_MAX    (64 * 1024 * 1024) /* bytes that wait, all clients */

struct turn;

struct router_conf {
    enum gateway_router mode;
    gateway_choose_cb choose; /* GATEWAY_ROUTER_FUNCTION */
    void *choose_arg;
    uint32_t local_ip; /* host order; of the heads of all events */
    uint16_t local_port;
    uint16_t gateway_port;
    /* Bytes that a worker was given and has not begun, */
    size_t high_water;    /* of all clients, */
    size_t client_share;  /* and of one that still is read from */
    size_t session_max;   /* bytes of one; told to workers */
    size_t session_cache; /* bytes of sessions that a worker may keep */
    const char *claims; /* claims_prefix() of pages for workers of this machine;
                           NULL: they get none */
    struct books *books; /* borrowed */
    struct turn *turn;   /* borrowed; tells when events came, if a worker wants
                            to know */
    uint32_t begin_window; /* events that a worker of another machine may have
                              begun and not told; 0: any number */
};

/* What a worker understands beyond GatewayWorker's protocol. */
struct router_features {
    bool close_info;    /* the body of ON_CLOSE */
    bool client_addr;   /* FRAME_FLAG_IPV6 */
    bool handshake;     /* FRAME_HANDSHAKE */
    bool requests;      /* FRAME_REQUEST; with acks only */
    bool bound;         /* FRAME_BOUND; with acks only */
    unsigned callbacks; /* of enum router_callback, that its script has */
    bool answers;       /* wire/answer.h, in FRAME_HANDSHAKE */
    bool acks;          /* FRAME_ACK; it ends with router_settle() */
    bool claims;        /* FRAME_CLAIMS; with acks only */
    bool window;        /* FRAME_WINDOW; with acks and without claims only */
    bool session;       /* FRAME_SESSION; with acks only */
    bool types;         /* FRAME_FLAG_TYPES, which it is told */
    bool is_local;      /* it runs on this machine: one master started both */
    bool book;          /* FRAME_FLAG_BOOK; with is_local and acks only */
    bool arrived;  /* FRAME_ARRIVED; with is_local only: it has our clock */
    bool far_book; /* FRAME_KEEPS; with acks and without book only */
    bool others;   /* FRAME_BOOK_OTHER */
    bool stalls;   /* it beats, and takes another page; with claims only */
};

/* What a script, or a worker of ours, may have that decides who is asked. */
enum router_callback {
    ROUTER_ON_HANDSHAKE = 1,
    ROUTER_ON_REQUEST = 2,
    ROUTER_API = 4, /* it runs calls of the push API, whatever its script */
    ROUTER_ON_BOUND = 8, /* it is told of clients that it gets from others */
};

struct router_counters {
    uint64_t events;     /* given to workers' links */
    uint64_t refused;    /* over ROUTER_HELD_MAX; a client was closed */
    uint64_t lost;       /* still waiting when the router ended, or given to a
                            worker of which nobody knows what it began */
    uint64_t again;      /* given to another worker than the first */
    uint64_t cut_off;    /* begun by a worker that died before it was through */
    uint64_t unknown;    /* given to a worker that was lost and does not
                            acknowledge, or may have begun them; perhaps run */
    uint64_t over;       /* times that a client was over its share */
    uint64_t stalls;     /* times that a worker was stalled */
    uint64_t sends_lost; /* commands of lost workers of this machine that did
                            not come */
};

struct client_conn_end;
struct router;
struct router_worker; /* a worker's link */

struct router *router_new(const struct router_conf *conf);

/* Events still waiting are lost and counted in the log. Their clients, and
 * those paused, must live. */
void router_free(struct router *r);

/* A worker joined. key names it ("ip:name:index"); conn is borrowed. A worker
 * with the same key goes on as this one, with its clients: *replaced gets the
 * conn that it had, else NULL. NULL above ROUTER_WORKERS_MAX. */
struct router_worker *router_add_worker(struct router *r, struct conn *conn,
    const char *key, struct router_features features, struct conn **replaced);

/* The worker with this key, or NULL. */
struct router_worker *router_find_worker(
    const struct router *r, const char *key);

/* The link of w is lost. Its clients find another worker at their next event;
 * or, if w acknowledges, after router_settle(). */
void router_remove_worker(struct router *r, struct router_worker *w);

/* What w says of its events (wire/ack.h). 0; 1: router_grant() is to be called;
 * or -EPROTO: it lies. */
int router_acknowledge(struct router *r, struct router_worker *w,
    const struct roster *roster, const void *body, size_t len);

/* Its FRAME_WANTS: 0, or -EPROTO. Put what more may begin, if it is to be told,
 * into its other link. */
int router_want(struct router_worker *w, const void *body, size_t len);
void router_grant(
    struct router *r, struct router_worker *w, struct conn *commands);

/* The body of a FRAME_HANGS of w. 0, or -EPROTO. */
int router_note_hanging(struct router_worker *w, const void *body, size_t len);

/* What w left, the body of a FRAME_LEFT of its links; whether it has said it.
 */
void router_note_left(struct router_worker *w, const void *body, size_t len);
bool router_has_left(const struct router_worker *w);

/* heir is the same process as w, which was removed, on new links: it gets the
 * clients of w, whose handlers may still run there. */
void router_inherit(struct router_worker *heir, const struct router_worker *w);

/* A worker that acknowledges was removed, and nothing more comes from it. said:
 * what came was all that it said. w is gone after the call. */
void router_settle(struct router *r, struct router_worker *w,
    const struct roster *roster, bool said);

/* A worker's link has room again: events that wait go out, and their clients
 * are read from again. */
void router_drained(struct router *r);

/* Give an event of c to its worker, or let it wait. type is one of
 * FRAME_FLAG_TYPES, or 0. 0, or -ENOBUFS: too much waits already, of nobody
 * more than of c: the event is dropped and c must be closed. */
int router_forward(struct router *r, struct client *c, uint8_t cmd,
    uint8_t type, const void *body, size_t len);

/* The last event of c, which is still in the indexes. Never refused; nothing of
 * c is forwarded afterwards. */
void router_close(
    struct router *r, struct client *c, const struct client_conn_end *end);

/* The same of a client that an earlier process had: c is from roster_revive(),
 * the router ends it; body is borrowed. */
void router_close_inherited(
    struct router *r, struct client *c, const void *body, size_t len);

/* Bind c, which is bound to nobody, to the worker whose key has that hash: 0;
 * -ENOENT: it is not here, or -EAGAIN: it has no room now. */
int router_bind(struct router *r, struct client *c, uint64_t key_hash);

/* There are other books than before. */
void router_tell_books(const struct router *r);

/* The session of c has changed, and not by its worker: tell the worker, so that
 * events which it has not begun see the new one. known: it had the old one. */
void router_session_changed(
    struct router *r, const struct client *c, bool known);

bool router_keeps_sessions(const struct router_worker *w);

/* w, which keeps sessions, changes one. 0, or as roster_patch_session(). */
int router_patch_session(struct router *r, struct router_worker *w,
    const struct roster *roster, const struct frame *f);

/* A uid was bound to c. */
void router_uid_bound(struct router *r, struct client *c);

/* True when so much waits, here or with the workers, that no new client should
 * be taken. */
bool router_is_full(const struct router *r);

/* The script of w has that callback, or not any more. */
void router_set_callback(
    struct router_worker *w, enum router_callback callback, bool has);

/* Whether some worker's script has it or, while there is no worker, one had it
 * before. */
bool router_has_callback(struct router *r, enum router_callback callback);

/* One whose script has it and whose link has room: they take turns. NULL when
 * there is none. Borrowed until the loop runs. */
struct router_worker *router_pick(
    struct router *r, enum router_callback callback);

/* w is given a request: its number, of all that it was given. */
uint32_t router_note_request(struct router_worker *w);

/* Whether w, which was removed and not settled, has begun the request with that
 * number, for all that is known: it may have, unless a page or its last word
 * says that it has not. */
bool router_may_have_begun(const struct router_worker *w, uint32_t number);

/* It knows answers to handshakes that say more than a status. */
bool router_takes_answers(const struct router_worker *w);

/* Send f to w with the address of this gateway. */
void router_put(
    const struct router *r, struct router_worker *w, struct frame *f);

/* The same over a link whose other end is no worker of this router. */
void router_put_on(const struct router *r, struct conn *link, struct frame *f);

/* Whether w says which events it has begun: then router_settle() ends it. */
bool router_acknowledges(const struct router_worker *w);

/* Whether it is known of each event of w, which was removed, if it has begun,
 * whatever else w says. */
bool router_has_claimed(const struct router_worker *w);

/* Its key. Borrowed, as long as w. */
const char *router_key(const struct router_worker *w);

/* Tells w from all others that this router has had. */
uint32_t router_serial(const struct router_worker *w);

/* Bind a batch of the clients whose worker is gone and of which nothing comes
 * just now, where their next worker wants to be told. Whether there may be more
 * in this pass; else the next one may begin after a router_tick(). */
bool router_bind_orphans(struct router *r, const struct roster *roster);

/* Whether c is bound to w. */
bool router_has(const struct router_worker *w, const struct client *c);

/* A worker that does not acknowledge has sent something; or its link has ended:
 * count what it may not have run. With others nothing happens. */
void router_hear(struct router_worker *w);
void router_lose_unheard(struct router *r, struct router_worker *w);

/* The link with the commands of w has ended, on which these were run: count
 * what w has sent besides, as far as it shows that. Logged. */
void router_count_unrun(
    struct router *r, const struct router_worker *w, const struct receipt *run);

/* A second has passed. */
void router_tick(struct router *r);

/* The same, and what has come is read: see which workers of this machine do not
 * move, and take back what they have not begun. */
void router_watch(struct router *r, const struct roster *roster);

/* w goes on with another page, a FRAME_CLAIMS. 0, or -EPROTO: it was not to. */
int router_renewed(struct router *r, struct router_worker *w);

/* Workers that do not move at this moment. */
size_t router_stalled_count(const struct router *r);

/* Each worker that is not as it should be. */
void router_report(const struct router *r, reach_link_cb each, void *arg);

/* PING to every worker. */
void router_ping_workers(struct router *r);

size_t router_worker_count(const struct router *r);

/* Those of them that are router_features.is_local. */
size_t router_local_count(const struct router *r);

/* Those that do not acknowledge. */
size_t router_silent_count(const struct router *r);

size_t router_paused_count(const struct router *r);

/* Clients not read from because they are over their share. */
size_t router_over_count(const struct router *r);

/* Events that wait here, and the bytes that they take. */
size_t router_held_count(const struct router *r);
size_t router_held_bytes(const struct router *r);

/* Events that workers were given and have not begun, as far as they tell. */
size_t router_unbegun_count(const struct router *r);

/* Bytes in the workers' links that the kernel has not taken yet. */
size_t router_queued(const struct router *r);

const struct router_counters *router_counters(const struct router *r);

#endif /* GW_GATEWAY_ROUTER_H */
