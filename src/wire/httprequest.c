/* RFC 9112 on top of a parsed head: the target (section 3.2), the body's length
 * (6), the connection (9.3); and of RFC 9110 Host (7.2) and Expect (10.1.1).
 * Nothing here allocates; an absolute target is rewritten where it lies. */
#include "wire/httprequest.h"

#include <string.h>
#include <strings.h>

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

/* ---- target ---- */

/* A host and perhaps a port, as RFC 3986 spells them, and nobody's name and
 * password in front. */
static bool is_authority(const char *text, size_t len)
{
    static const char marks[] = "-._~%!$&'()*+,;=:[]";

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9');

        if (!plain && (c == '\0' || strchr(marks, c) == NULL))
            return false;
    }
    return true;
}

/* Behind "http://" or "https://"; NULL: it is no absolute target. */
static char *find_authority(char *target)
{
    if (strncasecmp(target, "http://", 7) == 0)
        return target + 7;
    if (strncasecmp(target, "https://", 8) == 0)
        return target + 8;
    return NULL;
}

static void set_host(struct httphead *h, const char *host)
{
    for (size_t i = 0; i < h->nfields; i++)
        if (strcmp(h->fields[i].name, "host") == 0)
            h->fields[i].value = host;
}

/* The authority moves two bytes to the left, over the slashes, which leaves
 * room for its NUL and for the "/" that a target without a path needs. */
static unsigned split_absolute(struct httphead *h, char *authority)
{
    size_t len = strcspn(authority, "/?");
    char *host = authority - 2;
    char *rest = authority + len;

    if (len == 0 || !is_authority(authority, len))
        return 400;
    memmove(host, authority, len);
    host[len] = '\0';
    if (*rest != '/')
        *--rest = '/';
    h->target = rest;
    set_host(h, host);
    return 0;
}

static unsigned read_target(struct httphead *h)
{
    const char *host = httphead_find(h, "host");
    char *target = (char *)h->target; /* the caller's bytes, as of the parser */
    char *authority = find_authority(target);

    if (host == NULL ? h->minor > 0 : !is_authority(host, strlen(host)))
        return 400;
    if (strcmp(h->method, "CONNECT") == 0)
        return 405;
    if (strcmp(target, "*") == 0)
        return strcmp(h->method, "OPTIONS") == 0 ? 0 : 400;
    if (authority != NULL) {
        unsigned status = split_absolute(h, authority);

        if (status != 0)
            return status;
    }
    /* A NUL in a URL only ever means harm. */
    if (h->target[0] != '/' || strstr(h->target, "%00") != NULL)
        return 400;
    return 0;
}

/* ---- body ---- */

/* Names between commas, of which the last must be "chunked": else nobody knows
 * where the body ends. */
static unsigned read_codings(const char *at)
{
    unsigned status = 0;

    for (;;) {
        size_t len = strcspn(at, ", \t");
        bool chunked = is_word(at, len, "chunked");

        if (!httphead_is_token(at, len))
            return 400;
        at += len + strspn(at + len, " \t");
        if (*at == '\0')
            return chunked ? status : 400;
        if (*at++ != ',' || chunked)
            return 400;
        status = 501;
        at += strspn(at, " \t");
    }
}

/* With two lengths, or one that HTTP/1.0 does not know, somebody in between may
 * have taken the other one. */
static unsigned read_transfer(struct httprequest *r, const struct httphead *h)
{
    const char *codings;

    if (h->minor == 0 || httphead_find(h, "content-length") != NULL ||
        !httphead_find_only(h, "transfer-encoding", &codings))
        return 400;
    r->chunked = true;
    return read_codings(codings);
}

static unsigned read_length(struct httprequest *r, const struct httphead *h)
{
    const char *text;

    if (!httphead_find_only(h, "content-length", &text))
        return 400;
    if (text == NULL)
        return 0;
    if (*text == '\0')
        return 400;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return 400;
        if (r->length > (UINT64_MAX - 9) / 10)
            return 413;
        r->length = r->length * 10 + (uint64_t)(*text - '0');
    }
    return 0;
}

static unsigned read_body(struct httprequest *r, const struct httphead *h)
{
    if (httphead_find(h, "transfer-encoding") != NULL)
        return read_transfer(r, h);
    return read_length(r, h);
}

/* ---- connection ---- */

static bool lists(const struct httphead *h, const char *word)
{
    struct httphead_list list = {.head = h, .name = "connection"};
    const char *text;
    size_t len;

    while (httphead_next(&list, &text, &len))
        if (is_word(text, len, word))
            return true;
    return false;
}

static unsigned read_expect(struct httprequest *r, const struct httphead *h)
{
    const char *expect;
    bool once = httphead_find_only(h, "expect", &expect);

    if (h->minor == 0 || (once && expect == NULL))
        return 0;
    if (!once || strcasecmp(expect, "100-continue") != 0)
        return 417;
    r->expects_continue = true;
    return 0;
}

unsigned httprequest_read(struct httprequest *r, struct httphead *h)
{
    unsigned status;

    *r = (struct httprequest){0};
    status = read_body(r, h);
    if (status == 0)
        status = read_target(h);
    if (status == 0)
        status = read_expect(r, h);
    r->keep_alive = status == 0 && !lists(h, "close") &&
                    (h->minor > 0 || lists(h, "keep-alive"));
    return status;
}
