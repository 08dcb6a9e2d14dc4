/* worker_conf.h - what the configuration says of a worker group, and the limits
 * that hold where it says nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_WORKER_CONF_H
#define GW_WORKER_WORKER_CONF_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "discovery/discovery.h"

#define WORKER_MEMORY_MAX      (256 * 1024 * 1024) /* bytes of a Lua state */
#define WORKER_HANDLER_TIMEOUT 10.0 /* CPU seconds without a wait */
#define WORKER_SLOW_HANDLER    0.1  /* seconds without a wait */
#define WORKER_QUEUE_MAX       (64 * 1024 * 1024) /* of a gateway's events */
#define WORKER_GATEWAY_HIGH_WATER                         \
    (10 * 1024 * 1024)           /* bytes queued per link \
                                  */
#define WORKER_DRAIN_TIME   30.0 /* seconds an old script may finish in */
#define WORKER_GATEWAY_LOST 60.0 /* seconds without a gateway's machine */

struct faults;
struct timings;
struct series;
struct shared;
struct tallies;
struct engine_conf;

/* A gateway that the same master starts. */
struct worker_neighbour {
    uint32_t ip; /* host order */
    uint16_t port;
    char path[108]; /* of its unix socket, as the kernel takes it */
};

/* The worker group of the configuration. Borrowed; outlives the workers. */
struct worker_conf {
    const char *name;
    const char *script;        /* path of events.lua */
    const char *script_text;   /* instead of what is in that file, for tests;
                                  NULL: the file */
    const char *event_handler; /* global table with the callbacks: "Events" */
    struct discovery_conf discovery;
    const struct engine_conf *engine; /* the cluster; NULL: there is none */
    uint32_t loopback_ip;   /* what gateways with a loopback address have in
                               client ids instead; 0: that address */
    const char *secret_key; /* "" for none */
    const char
        *machine;       /* at random; those that say the same run on one
                           machine, started by one master. NULL: nobody knows */
    const char *claims; /* claims_prefix() of the pages that gateways beside
                           it make (proc/claims.h); NULL: it takes none */
    /* Gateways with a unix socket, the last one has port 0; NULL: none. */
    const struct worker_neighbour *neighbours;
    const char *book_folder; /* of their books; NULL: they keep none */
    size_t memory_max;
    double handler_timeout;
    double slow_handler; /* longer is a line in the log; 0: never */
    size_t queue_max;    /* bytes that wait, of each gateway */
    double drain_time;
    double gateway_lost; /* seconds; then a gateway's clients are given up */
    size_t packet_max;   /* bytes, from and to gateways; 0: FRAME_MAX_LEN */
    size_t gateway_high_water; /* bytes queued per gateway link */
    /* NULL, or the words that a program gets as its arguments:
     * worker/program.h; NULL-terminated */
    const char *const *words;
    /* Of a program that is kept running: what it prints are lines of the log,
     * and it waits for a gateway before it begins. */
    bool supervised;
    const char *lua_dir; /* folder of the Lua files shipped with gwrun */
    int sources_fd;      /* memory that keeps the script (sources.h); 0: none */
    struct faults *faults;   /* proc/faults.h; NULL: nobody looks */
    struct timings *timings; /* proc/timings.h; NULL: nobody looks */
    struct tallies *tallies; /* util/tallies.h; NULL: nobody looks */
    struct series *series;   /* proc/series.h; NULL: each state has its own */
    bool measures;           /* how long events take */
    struct shared *shared;   /* proc/shared.h; NULL: each state has its own */
    size_t shared_keys;      /* room in it */
    /* Open gwrun's libraries in a new state (lualib/linit.h); runs protected,
     * with vm_of(L) set. */
    void (*open_libs)(lua_State *L);
    /* Told of each message that a script sends and that is not UTF-8, with the
     * traceback of the call; NULL: nobody looks. */
    void (*on_bytes)(
        const void *data, size_t len, const char *traceback, void *arg);
    void *on_bytes_arg;
    /* NULL, or what looks at the state of a script that was loaded, before its
     * callbacks are checked (gwrun check). Runs protected. callbacks: their
     * names, NULL-terminated. */
    void (*inspect)(lua_State *L, const char *const *callbacks);
};

#endif /* GW_WORKER_WORKER_CONF_H */
