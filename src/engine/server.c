/* Nothing here waits: addresses are read, TLS is made ready, and what a server
 * says of itself is judged. */
#include "engine/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/trust.h"

bool server_read_url(
    struct redisurl *out, const char *url, char err[ENGINE_ERROR_SIZE])
{
    char why[REDISURL_ERROR_SIZE];

    if (redisurl_parse(out, url, why) < 0)
        snprintf(err, ENGINE_ERROR_SIZE, "%s", why);
    else if (out->cluster)
        snprintf(err, ENGINE_ERROR_SIZE,
            "a Redis Cluster cannot join cells: their scripts and messages "
            "need one server; give redis:// or redis+sentinel://");
    else
        return true;
    return false;
}

bool server_init(struct server *s, const struct engine_conf *conf,
    char err[ENGINE_ERROR_SIZE])
{
    struct trust_conf trust = {.ca_file = conf->ca_file};

    *s = (struct server){0};
    if (server_read_url(&s->url, conf->url, err)) {
        if (!s->url.tls)
            return true;
        s->tls = trust_new(&trust, err);
        if (s->tls)
            return true;
    }
    redisurl_fini(&s->url);
    return false;
}

void server_fini(struct server *s)
{
    redisurl_fini(&s->url);
    trust_free(s->tls);
}

bool server_sentinels(const struct server *s, struct sentinel_conf *out)
{
    *out = (struct sentinel_conf){.hosts = (const char *const *)s->url.hosts,
        .ports = s->url.ports,
        .count = s->url.count,
        .master = s->url.master,
        .tls = s->tls};
    return s->url.master != NULL;
}

struct redis *server_open(
    const struct server *s, struct turn *turn, const struct redis_conf *more)
{
    struct sentinel_conf sentinels;
    struct redis_conf conf = *more;

    conf.host = s->url.hosts[0];
    conf.port = s->url.ports[0];
    conf.sentinels = server_sentinels(s, &sentinels) ? &sentinels : NULL;
    conf.tls = s->tls;
    conf.user = s->url.user;
    conf.password = s->url.password;
    conf.db = s->url.db;
    return redis_open(turn, &conf);
}

/* The value of a line "name:value"; "" when there is none. */
static void find(char out[64], const char *info, const char *name)
{
    const char *p = info;
    size_t len = strlen(name);

    *out = '\0';
    while (p && (strncmp(p, name, len) != 0 || p[len] != ':')) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    if (p)
        snprintf(
            out, 64, "%.*s", (int)strcspn(p + len + 1, "\r\n"), p + len + 1);
}

int server_judge(const char *info, char why[ENGINE_ERROR_SIZE])
{
    char version[64], role[64], policy[64];

    find(version, info, "redis_version");
    find(role, info, "role");
    find(policy, info, "maxmemory_policy");
    *why = '\0';
    if (*version && strtol(version, NULL, 10) < SERVER_VERSION_MIN) {
        snprintf(why, ENGINE_ERROR_SIZE,
            "the server is Redis %s, which is too old; it takes %d or newer",
            version, SERVER_VERSION_MIN);
        return -ENOTSUP;
    }
    if (strcmp(role, "slave") == 0) {
        snprintf(why, ENGINE_ERROR_SIZE,
            "READONLY: the server is a replica; give the master's address, or "
            "redis+sentinel://");
        return -EROFS;
    }
    if (*policy && strcmp(policy, "noeviction") != 0)
        snprintf(why, ENGINE_ERROR_SIZE,
            "the server's maxmemory-policy is %s: short of memory it evicts "
            "keys, and with them cells of the cluster; set it to noeviction",
            policy);
    return 0;
}
