/* The HTTP request that a connection on a websocket or http port begins with:
 * read, judged, shown to the owner, answered. It ends as a client, as one that
 * the owner or a file answers (exchange.c) or as a refusal;
 * nothing in it is trusted before httprequest_read(), and of an upgrade
 * upgrade_guard(), has seen all of it. */

#include "clients/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/access.h"
#include "clients/apigate.h"
#include "clients/client_conn_impl.h"
#include "clients/exchange.h"
#include "clients/files.h"
#include "clients/part.h"
#include "clients/recv.h"
#include "clients/refusal.h"
#include "clients/response.h"
#include "clients/upgrade.h"
#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/httpstatus.h"

struct request {
    size_t len;           /* of the head, once it is whole */
    struct httphead head; /* points into c->part->in; its fields are owned */
    char *path;           /* owned */
    struct client_conn_request shown;
    bool answered; /* the owner did: it goes on at the end of this turn */
    bool is_head;  /* its answer has no body */
    bool skipped;  /* an empty line in front, if there was one */
    struct access_request *access; /* owned, until it is answered; or NULL */
    const char *kind;              /* static; of it, for that */
    void *ask;       /* borrowed; what on_ask() returned, until its end */
    unsigned status; /* its answer; 0 lets it in */
    const struct answer *said; /* borrowed; the same of a script, or NULL */
    char *reason;              /* owned; of a refusal, or NULL */
    char *subprotocol;         /* owned; that was chosen, or NULL */
};

static void free_request(struct client_shared *shared, struct request *r)
{
    if (r->ask != NULL)
        shared->ops->on_ask_end(r->ask, shared->arg);
    if (r->access != NULL)
        access_end(shared->access, r->access,
            &(struct access_answer){.kind = r->kind, .status = ACCESS_LEFT});
    free(r->head.fields);
    free(r->path);
    free(r->reason);
    free(r->subprotocol);
    free(r);
}

static void end(struct client_conn *c)
{
    struct request *r = c->request;

    part_drop(c);
    if (r == NULL)
        return;
    c->request = NULL;
    free_request(c->shared, r);
}

/* It is answered: its line in the access log. One without a head that could be
 * read has a line, too. */
static void note(struct client_conn *c, unsigned status, uint64_t body_bytes)
{
    struct request *r = c->request;
    struct access *log = c->shared->access;
    const struct access_answer answer = {
        .kind = r != NULL ? r->kind : "request",
        .status = status,
        .body_bytes = body_bytes};

    if (log == NULL)
        return;
    access_end(log,
        r != NULL && r->access != NULL ? r->access
                                       : access_begin(log, NULL, &c->peer),
        &answer);
    if (r != NULL)
        r->access = NULL;
}

static void refuse(struct client_conn *c, unsigned status, const char *reason)
{
    bool is_head = c->request != NULL && c->request->is_head;

    note(c, status,
        is_head ? 0
                : strlen(reason != NULL ? reason : httpstatus_phrase(status)));
    refusal_send(c, status, reason, !is_head);
}

static void refuse_with(struct client_conn *c, const struct answer *said)
{
    bool is_head = c->request->is_head;

    note(c, said->status, is_head ? 0 : response_body_len(said, said->status));
    refusal_send_answer(c, said, !is_head);
}

/* Who asks: behind a trusted proxy the one that the request names. */
static union addr find_peer(
    const struct client_conn *c, const struct httphead *head)
{
    union addr peer = c->peer;

    forwarded_read(&c->shared->trust, &peer, head);
    return peer;
}

/* The connection of a proxy stays when one is banned that it speaks for. */
static bool is_banned(const struct client_conn *c, const struct httphead *head)
{
    union addr peer;

    if (c->shared->limits.bans.map == NULL)
        return false;
    peer = find_peer(c, head);
    return limits_bans(&c->shared->limits, &peer);
}

static const char *find_scheme(
    const struct client_conn *c, const struct httphead *head)
{
    return c->sock.ssl != NULL ||
                   forwarded_is_https(&c->shared->trust, &c->peer, head)
               ? "https"
               : "http";
}

/* Fill in what the owner sees. */
static void show(struct request *r)
{
    const char *target = r->head.target;
    const char *query = strchr(target, '?');

    r->path = xstrndup(target, strcspn(target, "?"));
    r->shown = (struct client_conn_request){
        .uri = target,
        .path = r->path,
        .query = query != NULL ? query + 1 : "",
        .headers = r->head.fields,
        .nheaders = r->head.nfields,
    };
}

/* What the script chooses goes before what the port does. False: the client
 * did not offer it, and would hang up. */
static bool choose_subprotocol(struct client_conn *c)
{
    struct request *r = c->request;
    const char *const *ours = c->shared->conf->protocols;
    struct answer_part part;
    char peer[ADDR_TEXT_SIZE];

    if (r->said != NULL && answer_find(r->said, ANSWER_SUBPROTOCOL, &part)) {
        r->subprotocol = xstrndup(part.data, part.len);
        if (!response_offers(&r->head, r->subprotocol)) {
            log_warn("subprotocol was not offered that onHandshake chose, "
                     "refusing peer=%s",
                addr_format(peer, &c->peer));
            return false;
        }
        r->shown.subprotocol = r->subprotocol;
        return true;
    }
    r->subprotocol = response_choose(&r->head, ours);
    if (ours != NULL)
        r->shown.subprotocol = r->subprotocol;
    return true;
}

static void queue_101(struct client_conn *c)
{
    struct request *r = c->request;
    struct buf answer = {0};

    response_put_101(&answer, &r->head, r->subprotocol, r->said);
    client_conn_queue(c, answer.data, answer.len);
    buf_fini(&answer);
}

/* It becomes a client, unless there are too many of its address or the owner
 * does not want it. */
static void let_in(struct client_conn *c)
{
    struct request *r = c->request;
    struct buf bytes = {0}; /* the request, and what is behind it */

    if (!choose_subprotocol(c)) {
        refuse(c, 500, NULL);
        return;
    }
    if (forwarded_trusts(&c->shared->trust, &c->peer)) {
        c->peer = find_peer(c, &r->head);
        if (limits_count(&c->shared->limits, &c->peer, &c->limit) < 0) {
            refuse(c, 503, NULL);
            return;
        }
    }
    buf_swap(&bytes, &c->part->in);
    part_drop(c);
    queue_101(c);
    if (client_conn_open(c, &r->shown) == 0) {
        note(c, 101, 0);
        c->request = NULL;
        c->stage = &recv_stage;
        recv_bytes(c, bytes.data + r->len, bytes.len - r->len);
        free_request(c->shared, r);
    } else {
        refuse(c, 503, NULL);
    }
    buf_fini(&bytes);
}

static void ask(struct client_conn *c)
{
    struct request *r = c->request;
    struct client_shared *shared = c->shared;
    union addr peer = find_peer(c, &r->head);

    client_conn_expect(c, &shared->opening,
        (uint64_t)(shared->conf->handshake_timeout * 1000));
    client_conn_become(c, CLIENT_CONN_ASKING);
    r->ask = shared->ops->on_ask(c, &peer, &r->shown, shared->arg);
    r->shown.ask = r->ask;
    if (r->ask == NULL)
        request_answer(c, 503, "nobody can decide now");
}

/* The rest of it is exchange.c's. file: the answer, or NULL; rights: of who
 * calls the push API, or NULL. */
static void hand_on(struct client_conn *c, const struct httprequest *meaning,
    struct files *file, const char *rights)
{
    struct request *r = c->request;
    const struct exchange_request whole = {.head = r->head,
        .len = r->len,
        .meaning = *meaning,
        .peer = find_peer(c, &r->head),
        .scheme = find_scheme(c, &r->head),
        .file = file,
        .rights = rights,
        .access = r->access};

    c->request = NULL;
    r->access = NULL;
    r->head.fields = NULL;
    free_request(c->shared, r);
    exchange_begin(c, &whole);
}

/* A request that no file answers and nobody else, either. */
static unsigned status_of_nobody(
    const struct client_shared *shared, bool is_page)
{
    if (!is_page)
        return 405;
    return shared->conf->protocol->upgrades && shared->conf->www == NULL ? 426
                                                                         : 404;
}

static void answer_call(
    struct client_conn *c, const struct httprequest *meaning)
{
    struct client_shared *shared = c->shared;
    const struct httphead *head = &c->request->head;
    union addr peer = find_peer(c, head);
    struct apigate_verdict verdict =
        apigate_judge(shared->api, head, &peer, clock_now(shared->loop));
    struct buf problem = {0};
    struct answer said;

    if (verdict.status == 0) {
        hand_on(c, meaning, NULL, verdict.rights);
        return;
    }
    shared->counters.api_wrong_keys += verdict.status == 401;
    shared->counters.api_throttled += verdict.status == 429;
    httpstatus_put_problem(
        &problem, verdict.status, verdict.code, verdict.detail);
    said = answer_of(&problem);
    refuse_with(c, &said);
    buf_fini(&problem);
}

/* It does not want to become a client: a file, the owner, or nobody. */
static void answer_page(
    struct client_conn *c, const struct httprequest *meaning)
{
    struct client_shared *shared = c->shared;
    const struct request *r = c->request;
    bool is_page = r->is_head || strcmp(r->head.method, "GET") == 0;
    bool takes = shared->ops->takes_requests != NULL &&
                 shared->ops->takes_requests(shared->arg);
    struct files *file = NULL;
    int rc = is_page ? files_find(&file, shared, &r->head) : -ENOENT;

    if (rc == -EMFILE)
        refuse(c, 503, NULL);
    else if (file != NULL || takes)
        hand_on(c, meaning, file, NULL);
    else
        refuse(c, status_of_nobody(shared, is_page), NULL);
}

/* It passed the guard. */
static void answer_upgrade(struct client_conn *c)
{
    const struct client_conn_ops *ops = c->shared->ops;

    show(c->request);
    if (ops->asks != NULL && ops->asks(c->shared->arg))
        ask(c);
    else
        let_in(c);
}

/* Its line in the access log, where there is one. */
static void begin_line(struct client_conn *c, bool upgrades)
{
    struct client_shared *shared = c->shared;
    struct request *r = c->request;
    union addr peer;

    if (shared->access == NULL)
        return;
    peer = find_peer(c, &r->head);
    r->access = access_begin(shared->access, &r->head, &peer);
    if (upgrades)
        r->kind = "upgrade";
    else if (shared->api != NULL && apigate_has(shared->api, r->head.target))
        r->kind = "api";
}

/* The head is whole. */
static void decide(struct client_conn *c)
{
    struct httphead *head = &c->request->head;
    struct httprequest meaning;
    unsigned status = httprequest_read(&meaning, head);
    bool upgrades =
        c->shared->conf->protocol->upgrades && upgrade_is_wanted(head);

    c->upgrades = upgrades;
    if (status == 0 && is_banned(c, head))
        status = 503;
    begin_line(c, upgrades);
    if (status == 0 && upgrades)
        status = upgrade_guard(c->shared->conf, head, &meaning);
    if (status != 0)
        refuse(c, status, NULL);
    else if (upgrades)
        answer_upgrade(c);
    else if (c->shared->api != NULL &&
             apigate_has(c->shared->api, head->target))
        answer_call(c, &meaning);
    else
        answer_page(c, &meaning);
}

/* Some clients send one behind a body (RFC 9112 section 2.2). */
static void skip_empty_line(struct request *r, struct buf *bytes)
{
    if (r->skipped || bytes->len < 2)
        return;
    r->skipped = true;
    if (memcmp(bytes->data, "\r\n", 2) == 0)
        buf_consume(bytes, 2);
}

/* Whether a line ends without its CR, from seen on: it will never be a head, so
 * that nobody has to wait for its end. */
static bool has_bare_lf(const struct buf *bytes, size_t seen)
{
    const uint8_t *end = bytes->data + bytes->len;
    const uint8_t *at = bytes->data + seen;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        if (at == bytes->data || at[-1] != '\r')
            return true;
        at++;
    }
    return false;
}

/* Append to the head. Its length, 0 or -EMSGSIZE, as httphead_measure(), but
 * what has been searched is not searched again; or -EPROTO. */
static ssize_t collect(struct client_conn *c, const uint8_t *data, size_t len)
{
    struct buf *bytes = &part_need(c)->in;
    size_t seen = bytes->len > 3 ? bytes->len - 3 : 0;
    ssize_t n;

    buf_append(bytes, data, len);
    skip_empty_line(c->request, bytes);
    n = httphead_measure(bytes->data + seen, bytes->len - seen,
        c->shared->conf->head_max - seen);
    if (n == 0 && has_bare_lf(bytes, seen))
        return -EPROTO;
    return n > 0 ? (ssize_t)seen + n : n;
}

/* Room for so many headers as these bytes have lines: few, and no more than
 * are allowed. */
static size_t count_lines(const uint8_t *data, size_t len, size_t max)
{
    const uint8_t *end = data + len;
    size_t n = 0;

    while (
        n < max && (data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        data++;
        n++;
    }
    return n;
}

static int parse(struct client_conn *c, size_t len)
{
    struct request *r = c->request;
    const uint8_t *data = c->part->in.data;
    int rc;

    r->head.max = count_lines(data, len, c->shared->conf->headers_max);
    r->head.fields = xcalloc(r->head.max, sizeof(*r->head.fields));
    rc = httphead_parse(&r->head, (char *)c->part->in.data, len);
    if (rc < 0)
        return rc;
    r->len = len;
    r->is_head = strcmp(r->head.method, "HEAD") == 0;
    return 0;
}

/* Of those behind the first each has its own time. */
static void begin(struct client_conn *c)
{
    const struct port_conf *conf = c->shared->conf;

    c->request = xcalloc(1, sizeof(*c->request));
    c->request->kind = "request";
    if (c->reused)
        client_conn_expect(
            c, &c->shared->opening, (uint64_t)(conf->handshake_timeout * 1000));
}

static void hear(struct client_conn *c, uint8_t *data, size_t len)
{
    ssize_t n;

    if (c->request == NULL)
        begin(c);
    n = collect(c, data, len);
    part_changed(c, false);
    if (n == 0 || c->request == NULL)
        return;
    if (n > 0)
        n = parse(c, (size_t)n);
    if (n == 0)
        decide(c);
    else
        refuse(c, n == -EMSGSIZE ? 431 : 400, NULL);
}

/* An answer has come: it counts at the end of this turn. NULL: too late, or
 * not the first. */
static struct request *take_answer(struct client_conn *c)
{
    struct request *r = c->request;

    if (c->state != CLIENT_CONN_ASKING || r->answered)
        return NULL;
    r->answered = true;
    client_conn_schedule(c);
    return r;
}

void request_answer(struct client_conn *c, unsigned status, const char *reason)
{
    struct request *r = take_answer(c);

    if (r == NULL)
        return;
    r->status = status;
    r->reason = status != 0 && reason != NULL ? xstrdup(reason) : NULL;
}

void request_answer_with(struct client_conn *c, const struct answer *said)
{
    struct request *r = take_answer(c);

    if (r == NULL)
        return;
    r->status = said->status;
    r->said = said;
}

/* Out of the way of clients that talk: it writes answers on the stack. */
__attribute__((noinline)) static void go_on(struct client_conn *c)
{
    struct request *r = c->request;

    if (c->state != CLIENT_CONN_ASKING || !r->answered)
        return;
    if (r->status == 0)
        let_in(c);
    else if (r->said != NULL)
        refuse_with(c, r->said);
    else
        refuse(c, r->status, r->reason);
}

static bool late(struct client_conn *c)
{
    struct client_shared *shared = c->shared;
    char peer[ADDR_TEXT_SIZE];

    if (c->state != CLIENT_CONN_ASKING || c->request->answered)
        return false;
    log_warn("onHandshake did not answer in time, refusing peer=%s",
        addr_format(peer, &c->peer));
    request_answer(c, 503, "no answer in time");
    client_conn_expect(c, &shared->opening,
        (uint64_t)(shared->conf->handshake_timeout * 1000));
    return true;
}

static void crowded(struct client_conn *c)
{
    refuse(c, 503, NULL);
}

const struct client_stage request_stage = {
    .recv = hear,
    .turn = go_on,
    .late = late,
    .crowded = crowded,
    .end = end,
};
