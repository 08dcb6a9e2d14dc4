#include "gateway/client_io_impl.h"

#include <ctype.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/log.h"

#define KEY_LEN 24 /* of a Sec-WebSocket-Key: 16 bytes in base64 */

static int refuse(struct client_conn *c, struct lws *wsi, unsigned status)
{
    char peer[ADDR_TEXT_SIZE];

    c->io->counters.refused++;
    log_info("request refused status=%u peer=%s", status,
        addr_format(peer, &c->peer));
    lws_return_http_status(wsi, status, NULL);
    return -1;
}

/* Refuse as the owner wants it. The reason goes into the status line, where
 * only ASCII may stand, and into the body. */
static int refuse_with(
    struct client_conn *c, struct lws *wsi, unsigned status, const char *reason)
{
    char peer[ADDR_TEXT_SIZE];
    struct buf answer = {0};
    char phrase[128];
    size_t n = 0;

    for (; reason[n] != '\0' && n < sizeof(phrase) - 1; n++)
        phrase[n] = isprint((uint8_t)reason[n]) ? reason[n] : '?';
    phrase[n] = '\0';
    c->io->counters.refused++;
    log_info("handshake refused status=%u peer=%s", status,
        addr_format(peer, &c->peer));
    buf_printf(&answer,
        "HTTP/1.1 %u %s\r\nserver: gwrun\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        "content-length: %zu\r\nconnection: close\r\n\r\n%s",
        status, phrase, strlen(reason), reason);
    lws_write(wsi, answer.data, answer.len, LWS_WRITE_RAW);
    buf_fini(&answer);
    return -1;
}

static bool has(struct lws *wsi, enum lws_token_indexes token)
{
    return lws_hdr_total_length(wsi, token) > 0;
}

/* Copy a header into out; "" when it is absent or does not fit. */
static const char *header(
    struct lws *wsi, enum lws_token_indexes token, char *out, int size)
{
    if (lws_hdr_copy(wsi, out, size, token) <= 0)
        out[0] = '\0';
    return out;
}

/* Whether a comma-separated list names word, in any case. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);

    while (*list != '\0') {
        size_t n;

        list += strspn(list, ", \t");
        n = strcspn(list, ",");
        while (n > 0 && (list[n - 1] == ' ' || list[n - 1] == '\t'))
            n--;
        if (n == len && strncasecmp(list, word, len) == 0)
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

/* Browsers always say where a page comes from; others need not. */
static bool origin_allowed(const struct client_io *io, struct lws *wsi)
{
    const char *const *allowed = io->conf->allowed_origins;
    char origin[512];

    if (allowed == NULL || !has(wsi, WSI_TOKEN_ORIGIN))
        return true;
    header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof(origin));
    for (; *allowed != NULL; allowed++)
        if (strcasecmp(*allowed, origin) == 0)
            return true;
    return false;
}

/* Answer with the first subprotocol that the client offers. false: it is no
 * token or too long for lws. */
static bool choose_subprotocol(struct client_io *io, struct lws *wsi)
{
    char list[128];
    const char *p = list;
    size_t len;

    io->subprotocol[0] = '\0';
    if (!has(wsi, WSI_TOKEN_PROTOCOL))
        return true;
    header(wsi, WSI_TOKEN_PROTOCOL, list, sizeof(list) - 1);
    p += strspn(p, ", \t");
    len = strcspn(p, ", \t");
    if (len == 0 || len >= sizeof(io->subprotocol))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((uint8_t)p[i]) && strchr("-._", p[i]) == NULL)
            return false;
    memcpy(io->subprotocol, p, len);
    io->subprotocol[len] = '\0';
    return true;
}

/* The guard: 0, or the status to refuse with. The order is that of
 * docs/libwebsockets.md. */
static unsigned guard(struct client_conn *c, struct lws *wsi)
{
    char text[128];

    if (strcasecmp(header(wsi, WSI_TOKEN_UPGRADE, text, sizeof(text)),
            "websocket") != 0)
        return 400;
    if (!has(wsi, WSI_TOKEN_GET_URI))
        return 405;
    if (strcmp(header(wsi, WSI_TOKEN_VERSION, text, sizeof(text)), "13") != 0)
        return 426;
    if (lws_hdr_total_length(wsi, WSI_TOKEN_KEY) != KEY_LEN)
        return 400;
    if (!origin_allowed(c->io, wsi))
        return 403;
    if (has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) ||
        has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return 400;
    /* What lws would close without an answer, after on_open(). */
    header(wsi, WSI_TOKEN_CONNECTION, text, sizeof(text));
    if (!has(wsi, WSI_TOKEN_HOST) || !list_has(text, "upgrade") ||
        !choose_subprotocol(c->io, wsi))
        return 400;
    return 0;
}

/* From now on the client counts for the address that the request names. 0, or
 * the status to refuse with. */
static unsigned find_client(
    struct client_conn *c, const struct client_io_request *request)
{
    if (!client_io_forwards(c->io, &c->peer))
        return 0;
    c->peer = client_hold_peer(c, request);
    return client_limits_count(&c->io->limits, &c->peer, &c->limit) < 0 ? 503
                                                                        : 0;
}

int client_http_upgrade(struct client_conn *c, struct lws *wsi)
{
    const struct client_io_request *request;
    const char *reason = NULL;
    unsigned status;

    /* Without the header lws has freed its table (CVE-2025-11677). */
    if (!has(wsi, WSI_TOKEN_UPGRADE))
        return -1;
    status = guard(c, wsi);
    if (status == 0)
        status = client_hold_verdict(c, &request, &reason);
    if (status == 0)
        status = find_client(c, request);
    if (reason != NULL)
        return refuse_with(c, wsi, status, reason);
    if (status != 0)
        return refuse(c, wsi, status);
    if (client_conn_open(c, request) < 0)
        return refuse(c, wsi, 503);
    return 0;
}

int client_http_filter(struct client_conn *c, struct lws *wsi)
{
    if (!has(wsi, WSI_TOKEN_GET_URI) && !has(wsi, WSI_TOKEN_HEAD_URI))
        return refuse(c, wsi, 405);
    if (has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) ||
        has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return refuse(c, wsi, 400);
    if (c->io->www == NULL)
        return refuse(c, wsi, 426);
    return 0;
}

static const char *content_type(const char *path)
{
    static const struct {
        const char *ext, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".wasm", "application/wasm"},
        {".mp3", "audio/mpeg"},
        {".mp4", "video/mp4"},
    };
    const char *ext = strrchr(path, '.');

    for (size_t i = 0; ext != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(ext, types[i].ext) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* The regular file under www that path means, or NULL. Links are followed as
 * long as they stay inside. The caller frees it. */
static char *find_file(const struct client_io *io, const char *path)
{
    size_t len = strlen(path);
    char *joined, *real;
    struct stat st;

    joined = xasprintf(
        "%s%s%s", io->www, path, path[len - 1] == '/' ? "index.html" : "");
    real = realpath(joined, NULL);
    free(joined);
    if (real == NULL)
        return NULL;
    len = strlen(io->www);
    if (strncmp(real, io->www, len) == 0 &&
        (real[len] == '/' || strcmp(io->www, "/") == 0) &&
        stat(real, &st) == 0 && S_ISREG(st.st_mode))
        return real;
    free(real);
    return NULL;
}

int client_http_serve(
    struct client_conn *c, struct lws *wsi, const char *path, size_t len)
{
    static const char headers[] = "cache-control: no-cache\r\n"
                                  "x-content-type-options: nosniff\r\n";
    char *file;
    int rc;

    if (c->io->www == NULL || len == 0 || path[0] != '/' ||
        strnlen(path, len) != len)
        return refuse(c, wsi, 400);
    file = find_file(c->io, path);
    if (file == NULL)
        return refuse(c, wsi, 404);
    list_remove(&c->deadline); /* from here on lws's own, renewed as it goes */
    rc = lws_serve_http_file(
        wsi, file, content_type(file), headers, (int)sizeof(headers) - 1);
    free(file);
    /* After a HEAD lws would wait for the next request. */
    return rc != 0 || has(wsi, WSI_TOKEN_HEAD_URI) ||
                   !has(wsi, WSI_TOKEN_GET_URI)
               ? -1
               : 0;
}
