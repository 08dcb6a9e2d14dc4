/* gateway.h - the role that holds clients' sockets, sessions, uids and groups.
 *
 * Client events go to workers, commands come from workers and other programs,
 * over the inner port (docs/protocol.md, wire/frame.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_GATEWAY_H
#define GW_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "clients/port.h"
#include "gateway/arrivals.h"
#include "gateway/gateway_conf.h"
#include "proc/pages.h"
#include "util/histogram.h"
#include "wire/client_id.h"

/* One gateway process of a group. */
struct gateway_slot {
    unsigned index; /* 0 …; its inner port is start_port + index */
    int client_fd;  /* bound sockets, not listening; ownership passes */
    int inner_fd;
    int local_fd; /* as inner_fd, a unix socket for the workers that the same
                     master starts; 0: none */
    int ids_fd;   /* file that remembers connection ids over restarts, or -1;
                     ownership passes */
    uint16_t shown_port; /* for tests: what scripts see in place of client_fd's
                            port; 0: the port itself */
};

struct gateway_events { /* each may be NULL */
    /* Clients can connect now (the first worker is ready). */
    void (*on_ready)(void *arg);
    /* After gateway_stop(): every client is closed. */
    void (*on_stopped)(void *arg);
    /* As client_conn_ops.on_repair(). */
    void (*on_repair)(const void *data, size_t len, void *arg);
};

struct gateway_status {
    const char *name;
    unsigned index;
    bool accepting; /* clients can connect */
    size_t clients, workers, groups, uids;
    size_t workers_local;      /* those that one master started beside it */
    size_t workers_stalled;    /* that do not move, … */
    uint64_t worker_stalls;    /* … and how often that was so */
    size_t workers_silent;     /* those that do not acknowledge */
    size_t registers_missing;  /* not connected */
    size_t clients_paused;     /* not read from: their worker is behind, … */
    size_t clients_over_share; /* … or, so many of them, over their share */
    uint64_t over_share;       /* times that a client went over its share */
    struct port_counters port;
    uint64_t events_out; /* events given to workers */
    size_t events_held;  /* events that wait for a worker */
    size_t held_bytes;   /* of them */
    /* Filled by whoever looks once a second: of port.queued and held_bytes. */
    struct histogram queued_sampled, held_sampled;
    size_t events_unbegun; /* given to workers, not begun as far as is known */
    uint64_t events_again; /* given to a second worker: the first was lost */
    uint64_t events_cut_off;   /* begun by a worker that was lost meanwhile */
    uint64_t events_unknown;   /* events that may have been run */
    uint64_t events_dropped;   /* events that no worker got */
    uint64_t sends_lost;       /* commands of lost workers that did not come */
    uint64_t commands_in;      /* commands from workers and other programs */
    uint64_t links_refused;    /* inner connections refused, or closed by us */
    uint64_t dropped;          /* sends to clients that were gone, by command */
    uint64_t sessions_refused; /* too large, or not what may be saved */
    uint64_t groups_refused;   /* joins of clients that are in groups_max */
    uint64_t commands_refused; /* commands that were not valid */
    uint64_t names_left_out;   /* of query strings and cookies */
    size_t book_clients;       /* that have an entry in the book … */
    size_t book_bytes; /* … and its bytes, those of books inherited, too */
    uint64_t book_left_out;  /* clients that it had no room for */
    uint64_t book_cut;       /* changes that it had no room for */
    uint64_t book_garbled;   /* what was not valid in inherited ones */
    size_t closes_inherited; /* clients of earlier processes, still without
                                their onClose */
    uint64_t closes_given;   /* given in place of an earlier process */
    uint64_t requests_again; /* as in struct calls_counters */
    uint64_t requests_lost;  /* answered with 502 */
    struct arrivals_counts arrivals; /* from other cells */
};

struct gateway;

/* 0, or -errno with a line in err; then the caller still has the slot's
 * descriptors. */
int gateway_new(struct gateway **out, uv_loop_t *loop,
    const struct gateway_conf *conf, const struct gateway_slot *slot,
    const struct gateway_events *events, void *arg, char err[256]);

/* Accept nobody any more, tell every client goodbye (Close 1001), wait for
 * their queues to drain at most drain_time seconds, then on_stopped(). */
void gateway_stop(struct gateway *g, double drain_time);

/* graceful stop: as above, but wait for the clients to leave by themselves. */
void gateway_stop_when_empty(struct gateway *g);

/* The same of a cell that has others beside it: clients are told to come back,
 * with 1012, evenly over drain_time, and what is left 5 seconds later is cut.
 */
void gateway_leave(struct gateway *g, double drain_time);

/* Serve a connected, non-blocking stream socket as if it had been accepted from
 * peer, for tests. Takes ownership of fd on success; -EAGAIN when clients
 * cannot connect (yet). */
int gateway_adopt(struct gateway *g, int fd, const union addr *peer);

/* As port_prepare_tls() and port_settle_tls(). */
int gateway_prepare_tls(
    struct gateway *g, const char *cert, const char *key, char err[256]);
void gateway_settle_tls(struct gateway *g, bool take);

/* As port_prepare_keys() and port_settle_keys(). */
int gateway_prepare_keys(struct gateway *g, const char *keys, char err[256]);
void gateway_settle_keys(struct gateway *g, bool take);

/* As port_set_ticket_key(). */
void gateway_set_ticket_key(
    struct gateway *g, const uint8_t key[CERTIFICATES_TICKET_KEY_LEN]);

/* At once. Not inside a callback of g. Its handles close on later turns. */
void gateway_free(struct gateway *g);

/* Its largest groups, of the GATEWAY_TOPS_SEEN that were made first. */
#define GATEWAY_TOPS_SEEN 20000
void gateway_tops(const struct gateway *g, struct page_tops *out);

/* Which cells there are, as outlook_take(). */
bool gateway_take_cells(struct gateway *g, struct page_cells *out);

void gateway_status(const struct gateway *g, struct gateway_status *out);

/* Each link to a worker that is not as it should be. */
void gateway_report(const struct gateway *g, reach_link_cb each, void *arg);

/* Which clients are meant: those that all of what is given holds for. NULL:
 * it was not given. Borrowed for the call. */
struct gateway_pick {
    const char *client_id;
    const char *uid, *group;
    const char *ip; /* an address or a network, see addr_net_parse() */
};

/* The ids of these clients, for gateway_client_row(). The caller frees *ids. */
size_t gateway_client_ids(
    const struct gateway *g, const struct gateway_pick *pick, uint32_t **ids);

/* Close these clients (Close 1008 with this reason). How many there were. Not
 * inside a callback of g. */
size_t gateway_expel(
    struct gateway *g, const struct gateway_pick *pick, const char *reason);

/* Whoever has this uid, or comes from this address, is closed, and for so many
 * seconds not let in again; 0 lifts that. How many were closed, or -EINVAL,
 * -ENOSPC. */
ssize_t gateway_ban_uid(struct gateway *g, const char *uid, double seconds);
ssize_t gateway_ban_address(
    struct gateway *g, const char *address, double seconds);

/* Take no new clients, or take them again; those who are there stay. */
void gateway_drain(struct gateway *g, bool drained);

/* The id of the client that came last; 0: none came. */
uint32_t gateway_newest_id(const struct gateway *g);

struct gateway_client_row {
    char client_id[CLIENT_ID_LEN + 1];
    char peer[ADDR_TEXT_SIZE];
    const char *uid; /* borrowed until the next turn; "" when unbound */
    int fd;          /* borrowed, of its socket */
    size_t groups, queued;
    uint64_t bytes_in, bytes_out;
    double idle;      /* seconds since its last byte */
    double connected; /* seconds since it came */
};
/* What there is to tell of the client with this id; false: it has left. */
bool gateway_client_row(
    const struct gateway *g, uint32_t id, struct gateway_client_row *out);

/* Its access log was moved away: write to a new one. */
void gateway_reopen_log(struct gateway *g);

#endif /* GW_GATEWAY_GATEWAY_H */
