/* The bytes that a websocket port answers a request with: the 101, with the
 * subprotocol that was chosen, and refusals. Nothing here knows of sockets. */

#include "clients/response.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "util/alloc.h"
#include "util/utf8.h"
#include "wire/httpstatus.h"

/* The header lines that RFC 9110 wants with a status. */
static const char *lines_of(unsigned status)
{
    if (status == 405)
        return "allow: GET, HEAD\r\n";
    if (status == 426)
        return "upgrade: websocket\r\nsec-websocket-version: 13\r\n";
    if (status == 503)
        return "retry-after: 1\r\n";
    return "";
}

/* The second that it is, as a header; written anew when it is another one. */
static void put_date(struct buf *out)
{
    static time_t at;
    static char line[64];
    static size_t len;
    time_t now = time(NULL);
    struct tm tm;

    if (now != at || len == 0) {
        gmtime_r(&now, &tm);
        len = strftime(
            line, sizeof(line), "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        at = now;
    }
    buf_append(out, line, len);
}

void response_put_refusal(
    struct buf *out, unsigned status, const char *reason, bool with_body)
{
    const char *text = reason != NULL ? reason : httpstatus_phrase(status);
    struct buf body = {0};
    char phrase[128];
    size_t n = 0;

    /* In the status line only ASCII may stand. */
    for (; text[n] != '\0' && n < sizeof(phrase) - 1; n++)
        phrase[n] = isprint((uint8_t)text[n]) ? text[n] : '?';
    phrase[n] = '\0';
    utf8_repair(&body, (const uint8_t *)text, strlen(text));
    buf_printf(out, "HTTP/1.1 %u %s\r\nserver: gwrun\r\n", status, phrase);
    put_date(out);
    buf_printf(out,
        "content-type: text/plain; charset=utf-8\r\n"
        "content-length: %zu\r\n%sconnection: close\r\n\r\n",
        body.len, lines_of(status));
    if (with_body)
        buf_append(out, body.data, body.len);
    buf_fini(&body);
}

/* The header lines of a script's answer; NULL: none. but: the name of one that
 * is left out, or NULL. */
static void put_headers_but(
    struct buf *out, const struct answer *said, const char *but)
{
    struct answer_part part;
    size_t at = 0;

    while (said != NULL && answer_next(said, &at, &part)) {
        if (part.kind != ANSWER_HEADER ||
            (but != NULL && answer_is_header(&part, but, NULL)))
            continue;
        buf_append(out, part.data, part.len);
        buf_append_str(out, "\r\n");
    }
}

static void put_headers(struct buf *out, const struct answer *said)
{
    put_headers_but(out, said, NULL);
}

void response_put_answer(
    struct buf *out, const struct answer *said, bool with_body)
{
    const char *phrase = httpstatus_phrase(said->status);
    struct answer_part body;

    if (!answer_find(said, ANSWER_BODY, &body))
        body = (struct answer_part){ANSWER_BODY, phrase, strlen(phrase)};
    if (said->status == 304) /* RFC 9110: never has one */
        body.len = 0;
    buf_printf(out, "HTTP/1.1 %u %s\r\n", said->status, phrase);
    if (!answer_has_header(said, "server"))
        buf_append_str(out, "server: gwrun\r\n");
    if (!answer_has_header(said, "date"))
        put_date(out);
    if (!answer_has_header(said, "content-type") && body.len > 0)
        buf_append_str(out, "content-type: text/plain; charset=utf-8\r\n");
    if (said->status != 503 && !answer_has_header(said, "allow"))
        buf_append_str(out, lines_of(said->status));
    put_headers(out, said);
    buf_printf(
        out, "content-length: %zu\r\nconnection: close\r\n\r\n", body.len);
    if (with_body)
        buf_append(out, body.data, body.len);
}

bool response_has_body(unsigned status)
{
    return status != 204 && status != 304;
}

size_t response_body_len(const struct answer *said, unsigned status)
{
    struct answer_part body;

    if (!response_has_body(status))
        return 0;
    if (said == NULL)
        return strlen(httpstatus_phrase(status));
    return answer_find(said, ANSWER_BODY, &body) ? body.len : 0;
}

static void put_connection(struct buf *out, const struct response_form *form)
{
    if (!form->keep_alive)
        buf_append_str(out, "connection: close\r\n");
    else if (form->is_old)
        buf_append_str(out, "connection: keep-alive\r\n");
}

/* The Fetch standard's: a page of origin may read it, cookies or not. */
static void put_origin(struct buf *out, const char *origin)
{
    buf_printf(out,
        "access-control-allow-origin: %s\r\n"
        "access-control-allow-credentials: true\r\n",
        origin);
}

/* Whether list, of names with commas between them, has name in any case, or
 * "*", which means all. */
static bool lists(const char *list, size_t len, const char *name)
{
    const char *end = list + len;

    while (list < end) {
        size_t n = 0;

        while (list < end && strchr(" \t,", *list) != NULL)
            list++;
        while (list + n < end && strchr(" \t,", list[n]) == NULL)
            n++;
        if ((n == 1 && *list == '*') ||
            (n == strlen(name) && strncasecmp(list, name, n) == 0))
            return true;
        list += n;
    }
    return false;
}

/* What a cache is to tell its requests apart by: what a script says, and what
 * we know, in one line, for not all of them read several. */
static void put_vary(struct buf *out, const struct answer *said,
    const struct response_form *form)
{
    const char *ours[] = {form->encoded ? "Accept-Encoding" : NULL,
        form->varies ? "Origin" : NULL};
    struct answer_part part, value;
    struct buf list = {0};
    size_t at = 0;

    while (said != NULL && answer_next(said, &at, &part)) {
        if (!answer_is_header(&part, "vary", &value))
            continue;
        buf_append_str(&list, list.len > 0 ? ", " : "");
        buf_append(&list, value.data, value.len);
    }
    for (size_t i = 0; i < 2; i++)
        if (ours[i] != NULL &&
            !lists((const char *)list.data, list.len, ours[i]))
            buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", ours[i]);
    buf_printf(out, "vary: %.*s\r\n", (int)list.len, (const char *)list.data);
    buf_fini(&list);
}

/* Nothing in between may keep it, or wait for more of it (nginx). */
static void put_stream_headers(struct buf *out, const struct answer *said)
{
    if (!answer_has_header(said, "content-type"))
        buf_append_str(out, "content-type: text/event-stream\r\n");
    if (!answer_has_header(said, "cache-control"))
        buf_append_str(out, "cache-control: no-store\r\n");
    if (!answer_has_header(said, "x-accel-buffering"))
        buf_append_str(out, "x-accel-buffering: no\r\n");
}

/* What every answer has is written without printf(). */
static void put_number(struct buf *out, uint64_t n)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    buf_append(out, digits + at, sizeof(digits) - at);
}

static void put_status_line(
    struct buf *out, unsigned status, const char *phrase)
{
    buf_append_str(out, "HTTP/1.1 ");
    put_number(out, status);
    buf_append_byte(out, ' ');
    buf_append_str(out, phrase);
    buf_append_str(out, "\r\n");
}

static void put_length(struct buf *out, uint64_t len)
{
    buf_append_str(out, "content-length: ");
    put_number(out, len);
    buf_append_str(out, "\r\n");
}

void response_put_reply(struct buf *out, const struct answer *said,
    unsigned status, const struct response_form *form)
{
    const char *phrase = httpstatus_phrase(status);
    struct answer_part body = {ANSWER_BODY, phrase, strlen(phrase)};

    if (said != NULL && !answer_find(said, ANSWER_BODY, &body))
        body.len = 0;
    put_status_line(out, status, phrase);
    if (said == NULL || !answer_has_header(said, "server"))
        buf_append_str(out, "server: gwrun\r\n");
    if (said == NULL || !answer_has_header(said, "date"))
        put_date(out);
    if (said == NULL)
        buf_append_str(out, "content-type: text/plain; charset=utf-8\r\n");
    if (said == NULL && status == 503)
        buf_append_str(out, "retry-after: 1\r\n");
    if (form->varies || form->encoded) {
        put_headers_but(out, said, "vary");
        put_vary(out, said, form);
    } else {
        put_headers(out, said);
    }
    if (form->origin != NULL &&
        (said == NULL ||
            !answer_has_header(said, "access-control-allow-origin")))
        put_origin(out, form->origin);
    put_connection(out, form);
    if (form->streams)
        put_stream_headers(out, said);
    else if (response_has_body(status))
        put_length(out, body.len + form->follows);
    buf_append_str(out, "\r\n");
    if (!form->is_head && response_has_body(status))
        buf_append(out, body.data, body.len);
}

bool response_offers(const struct httphead *head, const char *subprotocol)
{
    struct httphead_list list = {.head = head, .name = RESPONSE_SUBPROTOCOL};
    const char *text;
    size_t len;

    while (httphead_next(&list, &text, &len))
        if (len == strlen(subprotocol) && memcmp(text, subprotocol, len) == 0)
            return true;
    return false;
}

char *response_choose(const struct httphead *head, const char *const *ours)
{
    struct httphead_list list = {.head = head, .name = RESPONSE_SUBPROTOCOL};
    const char *text;
    size_t len;

    if (ours == NULL)
        return httphead_next(&list, &text, &len) ? xstrndup(text, len) : NULL;
    for (; *ours != NULL; ours++)
        if (response_offers(head, *ours))
            return xstrdup(*ours);
    return NULL;
}

/* The answer to a Sec-WebSocket-Key (RFC 6455 section 4.2.2), as text. */
static void make_accept(char out[32], const char *key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[RESPONSE_KEY_LEN + sizeof(guid)];
    uint8_t digest[EVP_MAX_MD_SIZE];
    int len = snprintf(text, sizeof(text), "%s%s", key, guid);

    EVP_Digest(text, (size_t)len, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((uint8_t *)out, digest, 20);
}

void response_put_101(struct buf *out, const struct httphead *head,
    const char *subprotocol, const struct answer *said)
{
    char accept[32];

    make_accept(accept, httphead_find(head, "sec-websocket-key"));
    buf_printf(out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
        accept);
    if (subprotocol != NULL)
        buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    put_headers(out, said);
    buf_append_str(out, "\r\n");
}
