/* The line is copied and cut where its parts end. */
#include "upstream/redisurl.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

static int refuse(char *err, const char *why)
{
    snprintf(err, REDISURL_ERROR_SIZE, "%s", why);
    return -EINVAL;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Take "%2F" for "/", in place. False: a % that is none, or a NUL. */
static bool unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        if (digit(from[1]) < 0 || digit(from[2]) < 0)
            return false;
        *to = (char)(digit(from[1]) * 16 + digit(from[2]));
        if (*to++ == '\0')
            return false;
        from += 2;
    }
    *to = '\0';
    return true;
}

/* All digits, from 0 to max; -1: no such number. */
static long number(const char *text, long max)
{
    char *end;
    long n;

    if (!isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    n = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && n <= max ? n : -1;
}

/* "user:password", ":password" or "user", without the @. */
static int take_login(struct redisurl *out, char *text, char *err)
{
    char *colon = strchr(text, ':');

    if (colon)
        *colon++ = '\0';
    if (!unescape(text) || (colon && !unescape(colon)))
        return refuse(err, "a % in user or password must be written as %25");
    if (*text)
        out->user = xstrdup(text);
    if (colon && *colon)
        out->password = xstrdup(colon);
    if (out->user && !out->password)
        return refuse(err, "a user needs a password: user:password@");
    return 0;
}

/* "host", "host:port" or "[::1]:port". */
static int take_host(struct redisurl *out, char *text, char *err)
{
    long port = out->master ? SENTINEL_PORT : REDISURL_PORT;
    char *colon = strrchr(text, ':');

    if (*text == '[') {
        char *end = strchr(text, ']');

        if (!end || (end[1] != '\0' && end[1] != ':'))
            return refuse(err, "an IPv6 address needs both brackets");
        *end = '\0';
        text++;
        colon = end[1] ? end + 1 : NULL;
    } else if (colon && strchr(text, ':') != colon) {
        return refuse(err, "an IPv6 address needs brackets: [::1]:6379");
    }
    if (colon) {
        *colon = '\0';
        port = number(colon + 1, UINT16_MAX);
    }
    if (!*text)
        return refuse(err, "the host is missing");
    if (strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789.-_:%") != strlen(text))
        return refuse(err, "the host has a character that no host has; write a "
                           "'/' or '@' of a password as %2F or %40");
    if (port <= 0)
        return refuse(err, "the port must be a number from 1 to 65535");
    if (out->count == SENTINEL_MAX)
        return refuse(err, "more than 16 hosts");
    out->hosts[out->count] = xstrdup(text);
    out->ports[out->count++] = (uint16_t)port;
    return 0;
}

static int take_hosts(struct redisurl *out, char *text, char *err)
{
    int rc;

    do {
        bool several = out->master || out->cluster;
        char *comma = several ? strchr(text, ',') : NULL;

        if (comma)
            *comma++ = '\0';
        rc = take_host(out, text, err);
        text = comma;
    } while (rc == 0 && text);
    return rc;
}

/* What stands behind the hosts: "db", "master" or "master/db". */
static int take_path(struct redisurl *out, char *path, bool sentinel, char *err)
{
    char *db = path;
    long n;

    if (sentinel) {
        db = path ? strchr(path, '/') : NULL;
        if (db)
            *db++ = '\0';
        if (!path || !*path || !unescape(path))
            return refuse(err, "the name of the master is missing: "
                               "redis+sentinel://host:26379/mymaster");
        out->master = xstrdup(path);
    }
    if (!db || !*db)
        return 0;
    n = number(db, INT_MAX);
    if (n < 0)
        return refuse(err, "the database must be a number, as in /0");
    if (out->cluster && n != 0)
        return refuse(err, "a cluster has no database but 0");
    out->db = (int)n;
    return 0;
}

/* Behind the scheme; sentinel and TLS are known. */
static int take_rest(struct redisurl *out, char *rest, bool sentinel, char *err)
{
    char *slash = strchr(rest, '/');
    char *at;
    int rc;

    if (slash)
        *slash++ = '\0';
    at = strrchr(rest, '@');
    if (at)
        *at++ = '\0';
    rc = at ? take_login(out, rest, err) : 0;
    if (rc == 0)
        rc = take_path(out, slash, sentinel, err);
    return rc == 0 ? take_hosts(out, at ? at : rest, err) : rc;
}

static int take_socket(struct redisurl *out, char *rest, char *err)
{
    char *slash = strchr(rest, '/');
    int rc = 0;

    if (!slash || (slash != rest && slash[-1] != '@'))
        return refuse(err, "the path of the socket must begin with a /");
    out->hosts[out->count++] = xstrdup(slash);
    if (slash != rest) {
        slash[-1] = '\0';
        rc = take_login(out, rest, err);
    }
    return rc;
}

int redisurl_parse(
    struct redisurl *out, const char *text, char err[REDISURL_ERROR_SIZE])
{
    static const struct {
        const char *scheme;
        bool tls, sentinel, cluster;
    } schemes[] = {
        {.scheme = "redis://"},
        {.scheme = "rediss://", .tls = true},
        {.scheme = "redis+sentinel://", .sentinel = true},
        {.scheme = "rediss+sentinel://", .tls = true, .sentinel = true},
        {.scheme = "redis+cluster://", .cluster = true},
        {.scheme = "rediss+cluster://", .tls = true, .cluster = true},
    };
    char *copy;
    int rc = -1;

    memset(out, 0, sizeof(*out));
    copy = xstrdup(text);
    if (strncmp(copy, "unix://", 7) == 0)
        rc = take_socket(out, copy + 7, err);
    for (size_t i = 0; rc == -1 && i < sizeof(schemes) / sizeof(*schemes);
         i++) {
        size_t len = strlen(schemes[i].scheme);

        if (strncmp(copy, schemes[i].scheme, len) != 0)
            continue;
        out->tls = schemes[i].tls;
        out->cluster = schemes[i].cluster;
        rc = take_rest(out, copy + len, schemes[i].sentinel, err);
    }
    if (rc == -1)
        rc = refuse(err, "it must begin with redis://, redis+sentinel:// or "
                         "redis+cluster://, with rediss for TLS, or with "
                         "unix://");
    free(copy);
    return rc;
}

void redisurl_fini(struct redisurl *url)
{
    free(url->user);
    free(url->password);
    for (size_t i = 0; i < url->count; i++)
        free(url->hosts[i]);
    free(url->master);
    memset(url, 0, sizeof(*url));
}
