#include "gateway/client_io_impl.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/log.h"

#define KEY_LEN         24 /* of a Sec-WebSocket-Key: 16 bytes in base64 */
#define SUBPROTOCOL_MAX 63 /* bytes of a subprotocol's name */

enum request_state {
    REQUEST_READING,  /* it is not whole */
    REQUEST_ASKING,   /* the owner has it */
    REQUEST_ANSWERED, /* it goes on at the end of this turn */
};

struct client_request {
    struct buf bytes;     /* what has come: the head, and what is behind it */
    size_t len;           /* of the head, once it is whole */
    struct httphead head; /* points into bytes */
    char *path;           /* owned */
    struct client_io_request shown;
    enum request_state state;
    void *ask;       /* borrowed; what on_ask() returned */
    unsigned status; /* its answer; 0 lets it in */
    char *reason;    /* owned; of a refusal, or NULL */
};

static void free_request(struct client_request *r)
{
    buf_fini(&r->bytes);
    free(r->path);
    free(r->reason);
    free(r);
}

void client_request_end(struct client_conn *c)
{
    struct client_request *r = c->request;

    if (r == NULL)
        return;
    c->request = NULL;
    if (r->state == REQUEST_ASKING)
        c->io->ops->on_ask_end(r->ask, c->io->arg);
    free_request(r);
}

bool client_request_is_asking(const struct client_conn *c)
{
    return c->request != NULL && c->request->state != REQUEST_READING;
}

static const char *phrase_of(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Refused";
    }
}

/* The header lines that RFC 9110 wants with a status. */
static const char *lines_of(unsigned status)
{
    if (status == 405)
        return "allow: GET, HEAD\r\n";
    if (status == 426)
        return "upgrade: websocket\r\nsec-websocket-version: 13\r\n";
    return "";
}

void client_request_refuse(
    struct client_conn *c, unsigned status, const char *reason)
{
    const char *body = reason != NULL ? reason : phrase_of(status);
    bool is_head = c->request != NULL && c->request->len > 0 &&
                   strcmp(c->request->head.method, "HEAD") == 0;
    char peer[ADDR_TEXT_SIZE];
    struct buf answer = {0};
    char phrase[128];
    size_t n = 0;

    c->io->counters.refused++;
    log_info("request refused status=%u peer=%s", status,
        addr_format(peer, &c->peer));
    /* In the status line only ASCII may stand. */
    for (; body[n] != '\0' && n < sizeof(phrase) - 1; n++)
        phrase[n] = isprint((uint8_t)body[n]) ? body[n] : '?';
    phrase[n] = '\0';
    buf_printf(&answer,
        "HTTP/1.1 %u %s\r\nserver: gwrun\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        "content-length: %zu\r\n%sconnection: close\r\n\r\n%s",
        status, phrase, strlen(body), lines_of(status), is_head ? "" : body);
    client_queue_bytes(c, answer.data, answer.len);
    buf_fini(&answer);
    client_request_end(c);
    client_conn_end(c);
}

/* Whether one of these headers, comma-separated lists, names word, in any
 * case. */
static bool lists(
    const struct httphead *head, const char *name, const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i < head->nfields; i++) {
        const char *p = head->fields[i].value;

        if (strcmp(head->fields[i].name, name) != 0)
            continue;
        while (*p != '\0') {
            size_t n;

            p += strspn(p, ", \t");
            n = strcspn(p, ", \t");
            if (n == len && strncasecmp(p, word, len) == 0)
                return true;
            p += strcspn(p, ",");
        }
    }
    return false;
}

/* Browsers always say where a page comes from; others need not. */
static bool is_origin_allowed(
    const struct client_io *io, const struct httphead *head)
{
    const char *const *allowed = io->conf->allowed_origins;
    const char *origin = httphead_find(head, "origin");

    if (allowed == NULL || origin == NULL)
        return true;
    for (; *allowed != NULL; allowed++)
        if (strcasecmp(*allowed, origin) == 0)
            return true;
    return false;
}

static bool is_key(const char *key)
{
    size_t n = 0;

    if (key == NULL)
        return false;
    while (isalnum((uint8_t)key[n]) || key[n] == '+' || key[n] == '/')
        n++;
    return n == KEY_LEN - 2 && strcmp(key + n, "==") == 0;
}

/* The first subprotocol that the client offers, "" for none. false: it is no
 * token, or too long. */
static bool find_subprotocol(
    const struct httphead *head, char out[SUBPROTOCOL_MAX + 1])
{
    const char *p = httphead_find(head, "sec-websocket-protocol");
    size_t len;

    out[0] = '\0';
    if (p == NULL)
        return true;
    p += strspn(p, ", \t");
    len = strcspn(p, ", \t");
    if (len == 0 || len > SUBPROTOCOL_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((uint8_t)p[i]) && strchr("-._", p[i]) == NULL)
            return false;
    memcpy(out, p, len);
    out[len] = '\0';
    return true;
}

static bool has_body(const struct httphead *head)
{
    return httphead_find(head, "content-length") != NULL ||
           httphead_find(head, "transfer-encoding") != NULL;
}

/* A NUL in a URL only ever means harm. */
static bool is_target_valid(const struct httphead *head)
{
    return head->target[0] == '/' && strstr(head->target, "%00") == NULL;
}

/* Whether an upgrade request may become a client (RFC 6455 section 4.2.1): 0,
 * or the status to refuse with. */
static unsigned guard_upgrade(
    const struct client_io *io, const struct httphead *head)
{
    const char *version = httphead_find(head, "sec-websocket-version");
    char subprotocol[SUBPROTOCOL_MAX + 1];

    if (strcmp(head->method, "GET") != 0)
        return 405;
    if (version == NULL || strcmp(version, "13") != 0)
        return 426;
    if (!is_key(httphead_find(head, "sec-websocket-key")))
        return 400;
    if (!is_origin_allowed(io, head))
        return 403;
    if (has_body(head) || head->minor != 1 || !is_target_valid(head) ||
        httphead_find(head, "host") == NULL ||
        !lists(head, "connection", "upgrade") ||
        !find_subprotocol(head, subprotocol))
        return 400;
    return 0;
}

/* The same for any other request; what else it wants to upgrade to is not
 * offered. */
static unsigned guard_page(
    const struct client_io *io, const struct httphead *head)
{
    if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0)
        return 405;
    if (has_body(head) || !is_target_valid(head))
        return 400;
    return io->conf->www == NULL ? 426 : 0;
}

/* Who asks: behind a trusted proxy the one that the request names. A proxy may
 * add its line behind one that the client has made up, so all of them count. */
static union addr find_peer(
    const struct client_conn *c, const struct httphead *head)
{
    const char *real_ip = httphead_find(head, "x-real-ip");
    union addr peer = c->peer;
    struct buf list = {0};

    if (!client_io_forwards(c->io, &peer))
        return peer;
    for (size_t i = 0; i < head->nfields; i++)
        if (strcmp(head->fields[i].name, "x-forwarded-for") == 0)
            buf_printf(
                &list, "%s%s", list.len > 0 ? "," : "", head->fields[i].value);
    buf_append_byte(&list, '\0');
    forwarded_find(&c->io->trust, &peer, (const char *)list.data,
        real_ip != NULL ? real_ip : "");
    buf_fini(&list);
    return peer;
}

/* Fill in what the owner sees. */
static void show(struct client_request *r)
{
    const char *target = r->head.target;
    const char *query = strchr(target, '?');

    r->path = xstrndup(target, strcspn(target, "?"));
    r->shown = (struct client_io_request){
        .uri = target,
        .path = r->path,
        .query = query != NULL ? query + 1 : "",
        .headers = r->head.fields,
        .nheaders = r->head.nfields,
    };
}

/* The answer to a Sec-WebSocket-Key (RFC 6455 section 4.2.2), as text. */
static void make_accept(char out[32], const char *key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_LEN + sizeof(guid)];
    uint8_t digest[EVP_MAX_MD_SIZE];
    int len = snprintf(text, sizeof(text), "%s%s", key, guid);

    EVP_Digest(text, (size_t)len, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((uint8_t *)out, digest, 20);
}

static void queue_101(struct client_conn *c, const struct httphead *head)
{
    char subprotocol[SUBPROTOCOL_MAX + 1];
    struct buf answer = {0};
    char accept[32];

    make_accept(accept, httphead_find(head, "sec-websocket-key"));
    find_subprotocol(head, subprotocol);
    buf_printf(&answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
        accept);
    if (subprotocol[0] != '\0')
        buf_printf(&answer, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    buf_append_str(&answer, "\r\n");
    client_queue_bytes(c, answer.data, answer.len);
    buf_fini(&answer);
}

/* It becomes a client, unless there are too many of its address or the owner
 * does not want it. */
static void let_in(struct client_conn *c)
{
    struct client_request *r = c->request;

    if (client_io_forwards(c->io, &c->peer)) {
        c->peer = find_peer(c, &r->head);
        if (client_limits_count(&c->io->limits, &c->peer, &c->limit) < 0) {
            client_request_refuse(c, 503, NULL);
            return;
        }
    }
    queue_101(c, &r->head);
    if (client_conn_open(c, &r->shown) < 0) {
        client_request_refuse(c, 503, NULL);
        return;
    }
    c->request = NULL;
    client_recv(c, r->bytes.data + r->len, r->bytes.len - r->len);
    free_request(r);
}

static void ask(struct client_conn *c)
{
    struct client_request *r = c->request;
    struct client_io *io = c->io;
    union addr peer = find_peer(c, &r->head);

    client_conn_expect(
        c, &io->opening, (uint64_t)(io->conf->handshake_timeout * 1000));
    r->state = REQUEST_ASKING;
    r->ask = io->ops->on_ask(c, &peer, &r->shown, io->arg);
    if (r->ask == NULL)
        client_answer(c, 503, "nobody can decide now");
}

/* The request is whole. */
static void decide(struct client_conn *c)
{
    const struct client_io_ops *ops = c->io->ops;
    struct client_request *r = c->request;
    bool upgrades = lists(&r->head, "upgrade", "websocket");
    unsigned status =
        upgrades ? guard_upgrade(c->io, &r->head) : guard_page(c->io, &r->head);

    if (status != 0) {
        client_request_refuse(c, status, NULL);
    } else if (!upgrades) {
        client_files_serve(c, &r->head);
    } else {
        show(r);
        if (ops->asks != NULL && ops->asks(c->io->arg))
            ask(c);
        else
            let_in(c);
    }
}

void client_request_recv(struct client_conn *c, uint8_t *data, size_t len)
{
    struct client_request *r = c->request;
    ssize_t head_len;

    if (r == NULL)
        r = c->request = xcalloc(1, sizeof(*r));
    buf_append(&r->bytes, data, len);
    head_len =
        httphead_measure(r->bytes.data, r->bytes.len, CLIENT_HEADERS_MAX);
    if (head_len == 0)
        return;
    if (head_len < 0) {
        client_request_refuse(c, 431, NULL);
        return;
    }
    if (httphead_parse(&r->head, (char *)r->bytes.data, (size_t)head_len) < 0) {
        client_request_refuse(c, 400, NULL);
        return;
    }
    r->len = (size_t)head_len;
    decide(c);
}

void client_answer(struct client_conn *c, unsigned status, const char *reason)
{
    struct client_request *r = c->request;

    if (r == NULL || r->state != REQUEST_ASKING)
        return;
    r->state = REQUEST_ANSWERED;
    r->status = status;
    r->reason = status != 0 && reason != NULL ? xstrdup(reason) : NULL;
    client_conn_schedule(c);
}

void client_request_turn(struct client_conn *c)
{
    struct client_request *r = c->request;

    if (r->state != REQUEST_ANSWERED)
        return;
    if (r->status == 0)
        let_in(c);
    else
        client_request_refuse(c, r->status, r->reason);
}

bool client_request_timeout(struct client_conn *c)
{
    struct client_io *io = c->io;
    char peer[ADDR_TEXT_SIZE];

    if (c->request == NULL || c->request->state != REQUEST_ASKING)
        return false;
    log_warn("onHandshake did not answer in time, refusing peer=%s",
        addr_format(peer, &c->peer));
    io->ops->on_ask_end(c->request->ask, io->arg);
    client_answer(c, 503, "no answer in time");
    client_conn_expect(
        c, &io->opening, (uint64_t)(io->conf->handshake_timeout * 1000));
    return true;
}
