/* Hosts, origins, the key. Sessions live in this process only: after its
 * restart the key is asked for once more. */
#include "admin/guard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clients/origin.h"
#include "net/addr.h"
#include "util/alloc.h"
#include "util/secret.h"

#define BEARER "Bearer "

struct session {
    char token[SECRET_TOKEN_SIZE]; /* "": none */
    uint64_t until;                /* ms */
};

struct guard {
    const struct admin_conf *conf; /* borrowed */
    char *host;                    /* owned; of the address, or NULL */
    bool any;                      /* the address is all of the machine's */
    struct session sessions[GUARD_SESSIONS];
    size_t next;            /* session to give out */
    uint64_t guesses_since; /* ms */
    unsigned guesses;       /* wrong keys since then */
};

struct guard *guard_new(const struct admin_conf *conf)
{
    struct guard *g = xcalloc(1, sizeof(*g));
    char text[ADDR_TEXT_SIZE];
    union addr a;

    g->conf = conf;
    if (addr_parse(&a, conf->listen) == 0) {
        g->host = xstrdup(addr_format_host(text, &a));
        g->any = addr_is_wildcard(&a);
    }
    return g;
}

void guard_free(struct guard *g)
{
    explicit_bzero(g->sessions, sizeof(g->sessions));
    free(g->host);
    free(g);
}

/* The host of "host:port", without brackets; the caller frees it. */
static char *host_of(const char *text)
{
    const char *end;

    if (*text == '[') {
        end = strchr(++text, ']');
        return xstrndup(text, end ? (size_t)(end - text) : strlen(text));
    }
    return xstrndup(text, strcspn(text, ":"));
}

/* A page can make a name resolve to any address, but it cannot have a number
 * as its own name without being served from there. */
static bool is_number(const char *host)
{
    union addr a;

    return addr_parse_host(&a, host) == 0;
}

static bool is_our_host(const struct guard *g, const char *text)
{
    char *host = host_of(text);
    bool ours = strcasecmp(host, "localhost") == 0 ||
                (g->host && strcasecmp(host, g->host) == 0) ||
                (g->any && is_number(host));

    for (const char *const *h = g->conf->hosts; h && *h && !ours; h++)
        ours = strcasecmp(host, *h) == 0;
    free(host);
    return ours;
}

bool guard_is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

unsigned guard_judge(const struct guard *g, const struct httpcall *request)
{
    const struct httphead *head = &request->head;
    const char *host, *text, *site;

    if (!httphead_find_only(head, "host", &host) || !host ||
        !is_our_host(g, host))
        return 421;
    if (guard_is_safe(head->method) && strcmp(head->target, GUARD_LIVE) != 0)
        return 0;
    if (origin_of(head, NULL, request->tls ? "https" : "http", &text) ==
        ORIGIN_FOREIGN)
        return 403;
    site = httphead_find(head, "sec-fetch-site");
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return 403;
    return 0;
}

bool guard_has_key(const struct guard *g)
{
    return g->conf->key != NULL;
}

/* The session that a cookie of the request names, or NULL. */
static struct session *find_session(
    struct guard *g, const struct httpcall *request)
{
    static const size_t len = SECRET_TOKEN_SIZE - 1;

    for (size_t i = 0; i < request->head.nfields; i++) {
        const struct httphead_field *f = &request->head.fields[i];
        const char *at = f->value;

        if (strcmp(f->name, "cookie") != 0)
            continue;
        while ((at = strstr(at, GUARD_COOKIE "="))) {
            at += strlen(GUARD_COOKIE "=");
            for (size_t k = 0; k < GUARD_SESSIONS; k++)
                if (g->sessions[k].token[0] &&
                    secret_equal(
                        at, strcspn(at, "; "), g->sessions[k].token, len))
                    return &g->sessions[k];
        }
    }
    return NULL;
}

/* Counts a wrong one. */
static bool is_key(struct guard *g, const void *key, size_t len, uint64_t now)
{
    if (secret_equal(key, len, g->conf->key, strlen(g->conf->key)))
        return true;
    if (now - g->guesses_since >= GUARD_GUESSES_MS) {
        g->guesses_since = now;
        g->guesses = 0;
    }
    g->guesses += g->guesses < GUARD_GUESSES;
    return false;
}

bool guard_knows(struct guard *g, const struct httpcall *request, uint64_t now)
{
    const char *said;
    struct session *s;

    if (!g->conf->key)
        return false;
    s = find_session(g, request);
    if (s && s->until > now)
        return true;
    return httphead_find_only(&request->head, "authorization", &said) && said &&
           strncasecmp(said, BEARER, strlen(BEARER)) == 0 &&
           is_key(g, said + strlen(BEARER), strlen(said) - strlen(BEARER), now);
}

unsigned guard_enter(struct guard *g, const struct httpcall *request,
    uint64_t now, struct buf *cookie)
{
    struct session *s = &g->sessions[g->next];

    if (!g->conf->key)
        return 404;
    if (!is_key(g, request->body, request->body_len, now))
        return g->guesses >= GUARD_GUESSES ? 429 : 403;
    g->next = (g->next + 1) % GUARD_SESSIONS;
    secret_new_token(s->token);
    s->until = now + GUARD_SESSION_MS;
    buf_printf(cookie,
        GUARD_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s",
        s->token, GUARD_SESSION_MS / 1000, request->tls ? "; Secure" : "");
    return 0;
}

void guard_leave(struct guard *g, const struct httpcall *request)
{
    struct session *s = find_session(g, request);

    if (s)
        memset(s, 0, sizeof(*s));
}
