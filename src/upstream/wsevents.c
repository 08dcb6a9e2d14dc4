/* The library calls in the middle of its work: nothing happens here but notes
 * being made, messages collected and what is waiting written. Whose connection
 * it is, its number tells (wshub.h). */
#include "upstream/wsevents.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "upstream/ws_impl.h"
#include "util/alloc.h"
#include "util/utf8.h"

#define WRITES_AT_ONCE 64 /* messages; then others have their turn */

/* ---- what the library tells: the handshake ---- */

static void set_certificate_error(struct ws *ws, int error)
{
    char why[WS_WHY_SIZE];

    snprintf(why, sizeof(why), "the certificate is not accepted: %s",
        X509_verify_cert_error_string(error));
    ws_fail(ws, -EACCES, why);
}

/* The certificate is of the host that was asked for. */
static bool is_of_host(const struct ws *ws, X509 *cert)
{
    union addr addr;

    if (addr_parse_host(&addr, ws->host) == 0)
        return X509_check_ip_asc(cert, ws->host, 0) == 1;
    return X509_check_host(cert, ws->host, 0,
               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

/* One certificate of the chain was looked at, that of the host last. 0: go on.
 */
static int verify(struct ws *ws, X509_STORE_CTX *store, bool good)
{
    if (ws->insecure) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 0;
    }
    if (good && X509_STORE_CTX_get_error_depth(store) == 0 &&
        !is_of_host(ws, X509_STORE_CTX_get_current_cert(store))) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
        good = false;
    }
    if (!good)
        set_certificate_error(ws, X509_STORE_CTX_get_error(store));
    return good ? 0 : 1;
}

/* Add our lines to the request; space is what is left of the buffer. */
static int add_headers(struct ws *ws, char **p, size_t space)
{
    ws->reached = true;
    if (space < ws->headers.len)
        return -1;
    if (ws->headers.len > 0)
        memcpy(*p, ws->headers.data, ws->headers.len);
    *p += ws->headers.len;
    return 0;
}

static int check_status(struct ws *ws, struct lws *wsi)
{
    unsigned status = lws_http_client_http_response(wsi);
    char why[WS_WHY_SIZE];

    if (status == 101)
        return 0;
    snprintf(why, sizeof(why),
        "the server does not speak websocket there: it answers %u", status);
    ws_fail(ws, -EPROTO, why);
    return -1;
}

static void note_protocol(struct ws *ws, struct lws *wsi)
{
    int n = lws_hdr_copy(
        wsi, ws->protocol, sizeof(ws->protocol), WSI_TOKEN_PROTOCOL);

    if (n < 0)
        n = 0;
    ws->protocol[n] = '\0';
}

/* The words of the library, for people. */
static void note_refused(
    struct ws *ws, struct lws *wsi, const char *text, size_t len)
{
    char why[WS_WHY_SIZE];

    if (!text)
        text = "";
    if (!ws->reached && ws->tls && strncmp(text, "connect ", 8) == 0) {
        ws->reached = true;
        ws_fail(ws, -EPROTO, "TLS failed");
    } else if (!ws->reached) {
        ws_fail(ws, -ECONNREFUSED, "nobody answers there");
    } else if (strncmp(text, "HS: ", 4) != 0 && !strstr(text, "header")) {
        ws_fail(ws, -ECONNRESET, "the server hung up on the handshake");
    }
    snprintf(
        why, sizeof(why), "the server's answer is wrong: %.*s", (int)len, text);
    ws_fail(ws, -EPROTO, why);
    /* The library may want to send a Close frame to who is no websocket. */
    shutdown(lws_get_socket_fd(wsi), SHUT_RDWR);
    ws_lose(ws);
}

static void note_open(struct ws *ws)
{
    ws->state = WS_OPEN;
    ws->opened = true;
    ws->heard_at = clock_now(ws->timer.loop);
    ws->pinged_at = ws->heard_at;
    ws_watch(ws);
    ws_note(ws);
}

/* ---- what the library tells: messages ---- */

static void keep(struct ws *ws, const uint8_t *data, size_t len)
{
    struct ws_message *m = xmalloc(sizeof(*m) + len);

    list_init(&m->node);
    m->len = len;
    m->binary = ws->partial_binary;
    if (len > 0)
        memcpy(m->data, data, len);
    list_push_back(&ws->waiting, &m->node);
    ws->waiting_bytes += sizeof(*m) + len;
    ws_note(ws);
}

/* Close it because of what has come; the owner hears of that at once. The
 * library must not be told by the callback's result: it would go on to fill a
 * buffer that it has not emptied then, past its end. */
static void refuse(
    struct ws *ws, struct lws *wsi, int err, unsigned code, const char *why)
{
    ws_fail(ws, err, why);
    ws->code = code;
    ws_watch_close(ws);
    lws_callback_on_writable(wsi);
    ws_note(ws);
}

/* A whole message, in one piece or collected. */
static void take_whole(
    struct ws *ws, struct lws *wsi, const uint8_t *data, size_t len)
{
    if (ws->partial_binary || utf8_valid(data, len))
        keep(ws, data, len);
    else
        refuse(
            ws, wsi, -EPROTO, 1007, "the server sent text that is not UTF-8");
    ws->in_message = false;
    buf_clear(&ws->partial);
    buf_shrink(&ws->partial, 0);
}

/* Some of a frame. Its announced length counts, not what has come of it. */
static void take_part(
    struct ws *ws, struct lws *wsi, const uint8_t *data, size_t len)
{
    size_t more = lws_remaining_packet_payload(wsi);
    bool whole = lws_is_final_fragment(wsi);

    ws->heard_at = clock_now(ws->timer.loop);
    if (ws->state != WS_OPEN || !ws->turn || ws->err < 0)
        return; /* nobody wants it any more */
    if (!ws->in_message)
        ws->partial_binary = lws_frame_is_binary(wsi);
    if (len > ws->message_max - ws->partial.len ||
        more > ws->message_max - ws->partial.len - len) {
        refuse(ws, wsi, -EMSGSIZE, 1009, "the message is too large");
        return;
    }
    if (whole && !ws->in_message) {
        take_whole(ws, wsi, data, len);
        return;
    }
    ws->in_message = true;
    buf_append(&ws->partial, data, len);
    if (whole)
        take_whole(ws, wsi, ws->partial.data, ws->partial.len);
}

/* The other side's Close frame. 0, or -1: end it without an answer. */
static int note_close(struct ws *ws, const uint8_t *data, size_t len)
{
    size_t text = len > 2 ? len - 2 : 0;

    if (len == 1 || text > sizeof(ws->reason) ||
        (text > 0 && !utf8_valid(data + 2, text))) {
        ws_fail(ws, -EPROTO, "the server sent a malformed Close frame");
        return -1;
    }
    ws->code = len >= 2 ? (unsigned)data[0] << 8 | data[1] : WS_CODE_NONE;
    if (text > 0)
        memcpy(ws->reason, data + 2, text);
    ws->reason_len = text;
    return 0;
}

/* The library ends a connection whose other side goes on with it. */
static bool is_alive(struct lws *wsi)
{
    SSL *ssl = lws_get_ssl(wsi);
    char byte;
    ssize_t n;

    if (ssl && SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN)
        return false;
    n = recv(lws_get_socket_fd(wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* The library has closed an open connection. Why, it does not tell. */
static void note_closed(struct ws *ws, struct lws *wsi)
{
    if (ws->code == 0 && is_alive(wsi))
        ws_fail(ws, -EPROTO, "the server broke the protocol");
    else if (ws->code == 0)
        ws_fail(ws, -ECONNRESET, "the connection was lost");
    ws_lose(ws);
}

/* ---- what the library wants: to write ---- */

static int write_one(struct ws *ws, struct lws *wsi, struct outgoing *o)
{
    int n = lws_write(wsi, o->space + LWS_PRE, o->len,
        o->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);

    list_remove(&o->node);
    ws->writing = WS_OVERHEAD + o->len;
    free(o);
    return n < 0 ? -1 : 0;
}

static int write_ping(struct ws *ws, struct lws *wsi)
{
    uint8_t space[LWS_PRE + 1] = {0};

    ws->ping_due = false;
    return lws_write(wsi, space + LWS_PRE, 0, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* What the library took last is gone. */
static void note_written(struct ws *ws)
{
    ws->queued -= ws->writing;
    ws->writing = 0;
}

/* Framed here: the library, as Debian builds it, ends a connection without the
 * frame that lws_close_reason() prepares. */
static int write_close(struct ws *ws, struct lws *wsi)
{
    uint8_t space[LWS_PRE + 6 + 2 + WS_REASON_MAX];
    uint8_t *frame = space + LWS_PRE, *p = frame + 6;
    size_t len = 2 + ws->reason_len;

    ws->close_sent = true;
    frame[0] = 0x88;
    frame[1] = (uint8_t)(0x80 | len);
    if (uv_random(NULL, NULL, frame + 2, 4, 0, NULL) < 0)
        return -1;
    p[0] = (uint8_t)(ws->code >> 8);
    p[1] = (uint8_t)ws->code;
    memcpy(p + 2, ws->reason, ws->reason_len);
    for (size_t i = 0; i < len; i++)
        p[i] ^= frame[2 + (i & 3)];
    return lws_write(wsi, frame, 6 + len, LWS_WRITE_RAW) < 0 ? -1 : 0;
}

/* The socket takes more. Within a frame that it has taken a part of, nothing
 * may be written. */
static int write_some(struct ws *ws, struct lws *wsi)
{
    note_written(ws);
    if (ws->close_sent)
        return 0;
    if (ws->err < 0)
        return lws_partial_buffered(wsi) ? 0 : write_close(ws, wsi);
    if (ws->ping_due && write_ping(ws, wsi) < 0)
        return -1;
    for (int i = 0; i < WRITES_AT_ONCE && !list_empty(&ws->queue) &&
                    !lws_partial_buffered(wsi);
         i++) {
        note_written(ws);
        if (write_one(
                ws, wsi, LIST_ENTRY(ws->queue.next, struct outgoing, node)) < 0)
            return -1;
    }
    if (!list_empty(&ws->queue) || lws_partial_buffered(wsi)) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    note_written(ws);
    return ws->state == WS_CLOSING ? write_close(ws, wsi) : 0;
}

static int on_shaking(struct ws *ws, struct lws *wsi,
    enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
        ws->reached = true;
        return verify(ws, user, len != 0);
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return add_headers(ws, in, len);
    case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
        return check_status(ws, wsi);
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        note_protocol(ws, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        note_refused(ws, wsi, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        note_open(ws);
        return 0;
    default:
        return 0;
    }
}

/* The library calls. Whose connection it is stands in its opaque data. */
int wsevents_take(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
    struct ws *ws = wshub_owner(wsi);

    if (!ws)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_RECEIVE:
        take_part(ws, wsi, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        ws->heard_at = clock_now(ws->timer.loop);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return write_some(ws, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return ws->close_sent ? -1 : note_close(ws, in, len);
    case LWS_CALLBACK_CLIENT_CLOSED:
        note_closed(ws, wsi);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        ws_fail(ws, -ECONNRESET, "the connection was lost");
        ws_lose(ws);
        return 0;
    default:
        return on_shaking(ws, wsi, reason, user, in, len);
    }
}
