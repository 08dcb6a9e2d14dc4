/* A probe has the time when it was published, for it may have lain in a socket
 * while the process was stopped: what was published behind it may be lost
 * though it is read now. Sentinels that do not answer are no reason to leave a
 * server that does. */
#include "engine/proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void proof_init(struct proof *p, const struct proof_conf *conf)
{
    struct sentinel_conf sentinels;

    *p = (struct proof){.conf = *conf};
    if (server_sentinels(conf->server, &sentinels))
        p->sentinel = sentinel_open(conf->turn, &sentinels);
}

void proof_fini(struct proof *p)
{
    sentinel_close(p->sentinel);
}

void proof_begin(struct proof *p, uint64_t now)
{
    p->begun_at = p->published_at = p->agreed_at = now;
}

void proof_end(struct proof *p)
{
    if (p->server)
        sentinel_cancel(p->sentinel);
    p->server = NULL;
}

void proof_probe(char out[PROOF_SIZE], uint64_t now)
{
    snprintf(out, PROOF_SIZE, "?%" PRIu64, now);
}

bool proof_take(struct proof *p, const void *data, size_t len)
{
    char text[PROOF_SIZE];

    if (len < 2 || len >= sizeof(text) || *(const char *)data != '?')
        return false;
    memcpy(text, data, len);
    text[len] = '\0';
    p->published_at = strtoull(text + 1, NULL, 10);
    return true;
}

static void on_found(
    int err, const char *host, uint16_t port, const char *why, void *arg)
{
    struct proof *p = arg;
    const struct redis *server = p->server;
    char line[ENGINE_ERROR_SIZE];

    p->server = NULL;
    if (err < 0) {
        p->agreed_at = p->asked_at;
        return;
    }
    if (redis_is_at(server, host, port)) {
        p->agreed_at = p->asked_at;
        snprintf(p->host, sizeof(p->host), "%s", host);
        p->port = port;
        return;
    }
    snprintf(line, sizeof(line), "the sentinels have another master, %s:%u",
        host, port);
    p->conf.on_other(line, p->conf.arg);
}

void proof_ask(struct proof *p, const struct redis *commands, uint64_t now)
{
    if (!p->sentinel || p->server)
        return;
    p->server = commands;
    p->asked_at = now;
    sentinel_ask(p->sentinel, on_found, p);
}

bool proof_is_old(const struct proof *p, uint64_t now, uint64_t age)
{
    return now - p->published_at >= age;
}

uint64_t proof_until(const struct proof *p, const struct redis *commands)
{
    uint64_t until = p->published_at;
    uint64_t agreed =
        p->agreed_at > PROOF_LAG_MS ? p->agreed_at - PROOF_LAG_MS : 0;

    if (p->sentinel && commands && !redis_is_at(commands, p->host, p->port) &&
        agreed < until)
        until = agreed;
    return until > p->begun_at ? until : p->begun_at;
}
