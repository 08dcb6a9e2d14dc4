/* proof.h - until when an engine was there for certain: what it had published
 * came back to it, and the sentinels, where there are any, named the server
 * that it publishes to. A server that was frozen or cut off is still a master
 * to those who are connected to it after another one has taken its place.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_PROOF_H
#define GW_ENGINE_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/server.h"

#define PROOF_SIZE 24 /* bytes of a probe, with the NUL */
/* A sentinel may hear of a new master so much later than others do: they tell
 * each other every 2 s. */
#define PROOF_LAG_MS 3000

struct proof_conf {
    const struct server *server; /* borrowed */
    struct turn *turn;           /* borrowed */
    /* The sentinels have another master. */
    void (*on_other)(const char *why, void *arg);
    void *arg; /* borrowed */
};

struct proof {
    struct proof_conf conf;
    struct sentinel *sentinel;  /* owned; NULL: there are none */
    const struct redis *server; /* borrowed; asked about; NULL: nobody asks */
    char host[256];             /* what they agreed to last; "" nothing */
    uint16_t port;
    uint64_t asked_at; /* ms */
    uint64_t begun_at;
    uint64_t published_at; /* when the last probe that came back was */
    uint64_t agreed_at;    /* when sentinels were right about it */
};

void proof_init(struct proof *p, const struct proof_conf *conf);
void proof_fini(struct proof *p);

/* The engine is there from now (ms) on. */
void proof_begin(struct proof *p, uint64_t now);

/* It is away: on_other() will not run. */
void proof_end(struct proof *p);

/* What to publish to ourselves. No envelope begins so. */
void proof_probe(char out[PROOF_SIZE], uint64_t now);

/* Something came for us. True: it was a probe. */
bool proof_take(struct proof *p, const void *data, size_t len);

/* Ask the sentinels whether the server of these commands is the master; one
 * question at a time. on_other() runs on a later turn, or not. */
void proof_ask(struct proof *p, const struct redis *commands, uint64_t now);

/* Has nothing come back for so long (ms)? */
bool proof_is_old(const struct proof *p, uint64_t now, uint64_t age);

/* Until when (ms) it was there for certain, now that it is again, by these
 * commands' server; NULL: it is not yet. */
uint64_t proof_until(const struct proof *p, const struct redis *commands);

#endif /* GW_ENGINE_PROOF_H */
