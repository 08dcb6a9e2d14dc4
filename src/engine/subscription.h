/* subscription.h - what one process hears: a connection that belongs to one
 * time of being there, and is closed before the next begins.
 *
 *   NAME:INBOX   what is for this process alone
 *   NAME:news    that others came or went: look at the members
 *   NAME:all     what is for all gateways
 *
 * Then come the channels of names, which directory.h tells of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_SUBSCRIPTION_H
#define GW_ENGINE_SUBSCRIPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/server.h"
#include "net/turn.h"

enum subscription_channel {
    SUBSCRIPTION_INBOX,
    SUBSCRIPTION_NEWS,
    SUBSCRIPTION_ALL,
    SUBSCRIPTION_NAME, /* one of the directory's */
};

#define SUBSCRIPTION_OWN 3 /* channels that are no names' */

struct subscription_conf {
    const struct server *server; /* borrowed */
    struct turn *turn;           /* borrowed */
    bool hears_all;              /* of a gateway: SUBSCRIPTION_ALL, too */
    /* The server has confirmed our own channels, … */
    void (*on_ready)(void *arg);
    /* … or that we hear (on) the channel of a name, or do not any more. */
    void (*on_name)(const char *channel, size_t len, bool on, void *arg);
    void (*on_message)(enum subscription_channel channel, const uint8_t *data,
        size_t len, void *arg);
    /* It is of no use any more, and to be stopped. */
    void (*on_fault)(const char *why, void *arg);
    void *arg; /* borrowed, handed to all */
};

/* Embedded in an engine. */
struct subscription {
    struct subscription_conf conf;
    char *channels[SUBSCRIPTION_OWN]; /* owned */
    struct redis *redis;              /* owned; NULL: stopped */
    size_t confirmed;                 /* of our own channels */
};

/* Make the names of the channels; nothing is opened yet. */
void subscription_init(struct subscription *s,
    const struct subscription_conf *conf, const char *cluster,
    const char *inbox);
void subscription_fini(struct subscription *s);

/* Connect and subscribe. Nobody waits for an answer here: the caller has a
 * timer. */
void subscription_start(struct subscription *s);

/* At once: no callback will run. A stopped one may be stopped. */
void subscription_stop(struct subscription *s);

#endif /* GW_ENGINE_SUBSCRIPTION_H */
