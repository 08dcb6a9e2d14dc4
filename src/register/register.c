/* Peers live in one of four lists: pending, gateways, workers, and askers, who
 * came by the cluster's port. Gateways'
 * addresses are entries of their own, counted, in order of arrival. A change
 * goes to the workers once per short moment, as one encoded line. */
#include "register/register.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/conn.h"
#include "net/listener.h"
#include "register/beyond.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/list.h"
#include "util/log.h"
#include "util/secret.h"
#include "wire/framing.h"
#include "wire/regmsg.h"

#define REGISTER_LINE_MAX     8192              /* bytes from a peer */
#define REGISTER_QUEUE_MAX    (4 * 1024 * 1024) /* bytes to a worker, unread */
#define REGISTER_BROADCAST_MS 10    /* changes in this time go out together */
#define REGISTER_LOG_MS       10000 /* one line about refusals in this */

/* A gateway's inner address. */
struct entry {
    struct list node; /* in register_role.entries */
    UT_hash_handle hh;
    size_t gateways; /* connections that carry it */
    char text[];     /* "host:port" */
};

struct peer {
    struct list node;           /* in pending, gateways, workers or askers */
    bool outer;                 /* it came by cluster_listen */
    struct register_role *role; /* borrowed; outlives the peer */
    struct conn *conn;          /* owned */
    struct entry *entry;        /* borrowed; gateways only */
    uint64_t deadline;          /* ms, clock_now; pending only */
    uint64_t version;           /* of the list last sent; workers only */
    size_t *counted;            /* the counter of the list it is in */
};

struct register_role {
    const struct register_conf *conf; /* borrowed, outlives the role */
    struct turn *turn;                /* owned */
    struct listener *listener;        /* owned */
    struct listener *outer;           /* owned; of cluster_listen, or NULL */
    struct beyond *beyond;            /* owned; what is told there, or NULL */
    uv_timer_t auth_timer;            /* the oldest pending peer's deadline */
    uv_timer_t broadcast_timer;       /* active while a change is not sent */
    struct list pending;              /* of peers, oldest first */
    struct list gateways;
    struct list workers;
    struct list askers;       /* of peers, that came by cluster_listen */
    struct list entries;      /* in order of arrival */
    struct entry *by_address; /* the same entries by text */
    struct buf line;          /* the list as it goes out; empty: to encode */
    uint64_t version;         /* of the list; every change counts one */
    size_t npending;
    size_t ngateways;
    size_t nworkers;
    size_t naskers;
    uint64_t refused;
    struct log_share refusals;
    int handles; /* not yet closed */
};

static void broadcast(uv_timer_t *timer);

static void list_changed(struct register_role *r)
{
    r->version++;
    buf_clear(&r->line);
    if (!uv_is_active((uv_handle_t *)&r->broadcast_timer))
        uv_timer_start(
            &r->broadcast_timer, broadcast, REGISTER_BROADCAST_MS, 0);
}

/* The entry of an address, one connection more. */
static struct entry *entry_use(struct register_role *r, const char *address)
{
    size_t len = strlen(address);
    struct entry *e;

    HASH_FIND(hh, r->by_address, address, len, e);
    if (!e) {
        e = xcalloc(1, sizeof(*e) + len + 1);
        memcpy(e->text, address, len);
        HASH_ADD_KEYPTR(hh, r->by_address, e->text, len, e);
        list_push_back(&r->entries, &e->node);
        log_notice("gateway joined address=%s", e->text);
        list_changed(r);
    }
    e->gateways++;
    return e;
}

static void entry_unuse(struct register_role *r, struct entry *e)
{
    if (--e->gateways > 0)
        return;
    log_notice("gateway left address=%s", e->text);
    HASH_DELETE(hh, r->by_address, e);
    list_remove(&e->node);
    free(e);
    list_changed(r);
}

/* Move the peer out of whatever list it is in. */
static void leave(struct peer *p)
{
    struct entry *e = p->entry;

    list_remove(&p->node);
    --*p->counted;
    p->entry = NULL;
    if (e)
        entry_unuse(p->role, e);
}

static void enter(struct peer *p, struct list *list, size_t *counter)
{
    list_push_back(list, &p->node);
    p->counted = counter;
    ++*counter;
}

/* Its conn must be closed, or be closing. */
static void free_peer(struct peer *p)
{
    leave(p);
    free(p);
}

static void drop_peer(struct peer *p)
{
    conn_close(p->conn);
    free_peer(p);
}

/* Close a peer that broke the rules and say why; line may be NULL. */
static void refuse(
    struct peer *p, const char *why, const struct framing_message *line)
{
    char text[ADDR_TEXT_SIZE];
    char quoted[LOG_QUOTE_SIZE] = "\"\"";

    if (line)
        log_quote(quoted, line->data, line->len);
    log_warn("closing a connection, %s peer=%s line=%s", why,
        addr_format(text, conn_peer(p->conn)), quoted);
    p->role->refused++;
    drop_peer(p);
}

/* Close the connection that has been silent longest. There may be many. */
static void refuse_oldest(struct register_role *r, const char *why)
{
    struct peer *p = LIST_ENTRY(r->pending.next, struct peer, node);
    char text[ADDR_TEXT_SIZE];

    if (log_may(&r->refusals, "refused connections", 1, REGISTER_LOG_MS))
        log_warn("closing a connection, %s peer=%s strangers=%zu", why,
            addr_format(text, conn_peer(p->conn)), r->npending);
    r->refused++;
    drop_peer(p);
}

static void encode_list(struct register_role *r)
{
    size_t count = HASH_COUNT(r->by_address);
    const char **addresses = xcalloc(count + 1, sizeof(*addresses));
    struct list *node;
    size_t i = 0;

    LIST_FOREACH (node, &r->entries)
        addresses[i++] = LIST_ENTRY(node, struct entry, node)->text;
    regmsg_put_broadcast_addresses(&r->line, addresses, count);
    free(addresses);
}

static void send_list(struct peer *p)
{
    struct register_role *r = p->role;

    if (conn_is_full(p->conn)) {
        refuse(p, "it does not read", NULL);
        return;
    }
    if (r->line.len == 0)
        encode_list(r);
    buf_append(conn_out(p->conn), r->line.data, r->line.len);
    p->version = r->version;
}

/* A worker that asked since the change has the new list already. */
static void broadcast(uv_timer_t *timer)
{
    struct register_role *r = timer->data;
    struct list *node;
    struct list *tmp;

    LIST_FOREACH_SAFE (node, tmp, &r->workers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->version != r->version)
            send_list(p);
    }
}

static void on_auth_timeout(uv_timer_t *timer)
{
    struct register_role *r = timer->data;
    uint64_t now = clock_now(timer->loop);

    while (!list_empty(&r->pending)) {
        struct peer *p = LIST_ENTRY(r->pending.next, struct peer, node);

        if (p->deadline > now) {
            uv_timer_start(timer, on_auth_timeout, p->deadline - now, 0);
            return;
        }
        refuse_oldest(r, "it did not say who it is in time");
    }
}

static void handle_gateway(struct peer *p, const char *address)
{
    struct register_role *r = p->role;
    struct entry *e = entry_use(r, address); /* before the old one goes */

    leave(p);
    p->entry = e;
    enter(p, &r->gateways, &r->ngateways);
}

static void send_beyond(struct peer *p)
{
    const struct buf *line = beyond_line(p->role->beyond);

    if (conn_is_full(p->conn))
        refuse(p, "it does not read", NULL);
    else
        buf_append(conn_out(p->conn), line->data, line->len);
}

static void on_beyond(void *arg)
{
    struct register_role *r = arg;
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &r->askers)
        send_beyond(LIST_ENTRY(node, struct peer, node));
}

static void handle_worker(struct peer *p)
{
    struct register_role *r = p->role;

    leave(p);
    if (p->outer) {
        enter(p, &r->askers, &r->naskers);
        send_beyond(p);
        return;
    }
    enter(p, &r->workers, &r->nworkers);
    send_list(p);
}

/* NULL, or why the message must not be obeyed. */
static const char *find_fault(const struct peer *p, const struct regmsg *m)
{
    const struct register_role *r = p->role;
    union addr addr;

    if (m->event == REGMSG_PING)
        return NULL;
    if (m->event == REGMSG_BROADCAST_ADDRESSES)
        return "only a register sends this";
    if (!secret_is_one_of(
            m->secret_key, r->conf->secret_key, r->conf->secret_key_also))
        return "wrong secret key";
    if (m->event == REGMSG_GATEWAY_CONNECT && p->outer)
        return "gateways register at register.listen of their cell";
    if (m->event == REGMSG_GATEWAY_CONNECT &&
        (addr_parse(&addr, m->address) < 0 || addr_port(&addr) == 0))
        return "the address is not host:port";
    return NULL;
}

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct peer *p = arg;
    struct framing_message line = framing_line_message(packet, len);
    struct regmsg m;
    const char *fault;

    if (regmsg_parse(&m, line.data, line.len) < 0) {
        refuse(p, "not a message", &line);
        return;
    }
    fault = find_fault(p, &m);
    if (fault) /* the line may hold a key that is nearly right: not logged */
        refuse(p, fault, NULL);
    else if (m.event == REGMSG_GATEWAY_CONNECT)
        handle_gateway(p, m.address);
    else if (m.event == REGMSG_WORKER_CONNECT)
        handle_worker(p);
    regmsg_fini(&m);
}

static void on_conn_close(struct conn *c, int err, void *arg)
{
    struct peer *p = arg;
    char text[ADDR_TEXT_SIZE];

    if (err == -EMSGSIZE || err == -EPROTO) {
        log_warn("closing a connection, the line is too long peer=%s",
            addr_format(text, conn_peer(c)));
        p->role->refused++;
    }
    free_peer(p);
}

static const struct conn_ops peer_ops = {
    .measure = framing_line_measure,
    .on_packet = on_packet,
    .on_close = on_conn_close,
};

static const struct conn_limits peer_limits = {
    .packet_max = REGISTER_LINE_MAX,
    .high_water = REGISTER_QUEUE_MAX,
};

static bool is_crowded(struct register_role *r)
{
    if (r->ngateways + r->nworkers + r->naskers < REGISTER_MAX_CONNECTIONS)
        return false;
    if (log_may(&r->refusals, "refused connections", 1, REGISTER_LOG_MS))
        log_error("too many connections, refusing more limit=%d",
            REGISTER_MAX_CONNECTIONS);
    return true;
}

static void on_accept(
    struct listener *l, int fd, const union addr *addr, void *arg)
{
    struct register_role *r = arg;
    uint64_t timeout = (uint64_t)(r->conf->auth_timeout * 1000);
    struct peer *p;

    if (is_crowded(r)) {
        r->refused++;
        close(fd);
        return;
    }
    if (r->npending >= REGISTER_MAX_STRANGERS)
        refuse_oldest(r, "one more has come that says nothing");
    p = xcalloc(1, sizeof(*p));
    p->role = r;
    p->outer = l == r->outer;
    p->conn = conn_open(r->turn, fd, &peer_ops, &peer_limits, p);
    if (!p->conn) {
        free(p);
        return;
    }
    p->deadline = clock_now(turn_loop(r->turn)) + timeout;
    enter(p, &r->pending, &r->npending);
    if (!uv_is_active((uv_handle_t *)&r->auth_timer))
        uv_timer_start(&r->auth_timer, on_auth_timeout, timeout, 0);
}

int register_new(struct register_role **out, uv_loop_t *loop,
    const struct register_conf *conf, int fd)
{
    struct register_role *r = xcalloc(1, sizeof(*r));
    int err = listener_open(&r->listener, loop, fd, on_accept, r);

    if (err < 0) {
        free(r);
        return err;
    }
    r->conf = conf;
    r->turn = turn_new(loop);
    list_init(&r->pending);
    list_init(&r->gateways);
    list_init(&r->workers);
    list_init(&r->askers);
    list_init(&r->entries);
    uv_timer_init(loop, &r->auth_timer);
    uv_timer_init(loop, &r->broadcast_timer);
    r->auth_timer.data = r;
    r->broadcast_timer.data = r;
    r->handles = 2;
    log_notice("register is ready listen=%s", conf->listen);
    *out = r;
    return 0;
}

int register_serve_cluster(struct register_role *r, int fd, char err[256])
{
    int result = listener_open(&r->outer, turn_loop(r->turn), fd, on_accept, r);

    if (result < 0) {
        r->outer = NULL;
        snprintf(err, 256, "register on %.200s: %s", r->conf->cluster_listen,
            uv_strerror(result));
        return result;
    }
    r->beyond = beyond_open(r->turn, r->conf->engine, on_beyond, r, err);
    if (r->beyond)
        return 0;
    listener_close(r->outer);
    r->outer = NULL;
    return -EINVAL;
}

static void on_closed(uv_handle_t *handle)
{
    struct register_role *r = handle->data;

    if (--r->handles > 0)
        return;
    buf_fini(&r->line);
    free(r);
}

static void drop_all(struct list *peers)
{
    while (!list_empty(peers))
        drop_peer(LIST_ENTRY(peers->next, struct peer, node));
}

void register_free(struct register_role *r)
{
    listener_close(r->listener);
    if (r->outer)
        listener_close(r->outer);
    drop_all(&r->pending);
    drop_all(&r->workers);
    drop_all(&r->askers);
    beyond_close(r->beyond);
    drop_all(&r->gateways);
    turn_close(r->turn);
    uv_close((uv_handle_t *)&r->auth_timer, on_closed);
    uv_close((uv_handle_t *)&r->broadcast_timer, on_closed);
}

void register_status(const struct register_role *r, struct register_status *out)
{
    out->gateways = HASH_COUNT(r->by_address);
    out->workers = r->nworkers;
    out->pending = r->npending;
    out->refused = r->refused;
}
