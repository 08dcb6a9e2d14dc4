/* admin_conf.h - what the operators' port is told, and what it looks at.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_ADMIN_CONF_H
#define GW_ADMIN_ADMIN_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "clients/port_conf.h"
#include "proc/counter.h"
#include "proc/pages.h"

#define ADMIN_KEY_MIN 16  /* characters of the key */
#define ADMIN_KEY_MAX 255 /* the same */

/* How an address begins that is a unix socket's path. */
#define ADMIN_UNIX "unix:"

struct admin_conf {
    const char *listen;       /* "127.0.0.1:9283", or with ADMIN_UNIX in front
                                 a path; NULL: there is no such port */
    const char *key_name;     /* of the file with the key, or NULL */
    const char *key;          /* its first line, or NULL */
    struct port_conf port;    /* admin_port() */
    const char *const *hosts; /* names that requests may be for, beside
                                 the address and localhost; or NULL */
    const char *const *trusted_proxies; /* networks whose X-Forwarded-For and
                                           X-Forwarded-Proto count; or NULL */
    bool has_cluster;                   /* the system is one cell of several */
};

/* One process, in the order of the pages. */
struct admin_process {
    const char *role;
    unsigned slot;
    const char *name;   /* for people */
    const char *listen; /* the same, or "" */
    /* What its page has, in this order: what every process tells, and what its
     * role does, or NULL. */
    const struct counter *tables[2];
};

/* What is looked at; borrowed, with all that it points to. */
struct admin_system {
    struct pages *pages;
    const struct admin_process *processes; /* as many as pages */
    /* Called before each look, or NULL: where roles share this loop they tell
     * their numbers now. */
    void (*refresh)(void *arg);
    void *arg;
};

#endif /* GW_ADMIN_ADMIN_CONF_H */
