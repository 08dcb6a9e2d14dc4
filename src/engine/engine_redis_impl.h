/* engine_redis_impl.h - an engine on Redis, for the files that make it: how it
 * comes up and goes down (engine_redis.c), what it asks on the way
 * (engine_redis_join.c), what leaves once it is there (engine_redis_bus.c), and
 * what is too large for that (engine_redis_store.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_ENGINE_REDIS_IMPL_H
#define GW_ENGINE_ENGINE_REDIS_IMPL_H

#include <uv.h>

#include "engine/directory.h"
#include "engine/engine.h"
#include "engine/engine_calls.h"
#include "engine/proof.h"
#include "engine/server.h"
#include "engine/subscription.h"
#include "engine/vigil.h"

enum engine_state { AWAY, CLAIMING, SUBSCRIBING, UP, LEFT };

struct engine {
    struct turn *turn;              /* borrowed */
    const struct engine_conf *conf; /* borrowed */
    struct engine_part part;        /* its inbox is owned */
    struct server server;
    struct vigil vigil;
    struct redis *commands;           /* owned */
    struct subscription subscription; /* stopped unless SUBSCRIBING or UP */
    uv_timer_t timer;                 /* the next try, or the next refresh */
    enum engine_state state;
    struct directory *directory; /* owned; NULL: it is no gateway */
    uint64_t progress;           /* of the directory, at the last look */
    bool asking;                 /* the claim or the members are under way */
    bool leaving;                /* engine_tell_leaving() */
    bool was_up, told_away, told_policy;
    unsigned tries;      /* since it was there last */
    uint64_t away_since; /* ms */
    struct proof proof;  /* that it is there */
    struct list findings;
    struct list takings; /* calls of engine_take() */
    struct buf commands_scratch;
    struct engine_counts counts;
};

/* An empty buffer for a command. */
struct buf *engine_scratch(struct engine *e);

/* It is away from now on, and tries to come back; nothing, if it is already. */
void engine_lose(struct engine *e, const char *why);

/* Another system has this one's name: it is away for good. */
void engine_leave(struct engine *e, const char *why);

/* The claims hold and the members are told: hear what comes. */
void engine_subscribe(struct engine *e);

/* Ask what server it is, then for the claim, then for the members. Each of the
 * last two may be asked for later again. The replies lead to one of the three
 * above. */
void engine_ask_server(struct engine *e);
void engine_claim(struct engine *e);
void engine_ask_members(struct engine *e);

/* The calls of engine_take() end with the engine; e->commands is closed. */
void engine_end_takings(struct engine *e);

#endif /* GW_ENGINE_ENGINE_REDIS_IMPL_H */
