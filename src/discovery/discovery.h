/* discovery.h - who is there: where gateways announce themselves, and where
 * workers learn of them.
 *
 * One interface for every way: discovery_register.c asks GatewayWorker's
 * registers, discovery_static.c has a list that never changes. Another way is
 * one more file with its struct discovery_ops, what it needs to know in struct
 * discovery_conf, and its place in the functions of discovery.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_DISCOVERY_DISCOVERY_H
#define GW_DISCOVERY_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>

#include "net/turn.h"

struct discovery;

/* All texts are borrowed for as long as what is opened with them. */
struct discovery_conf {
    /* "host:port" of each register, NULL-terminated; NULL: none. */
    const char *const *registers;
    /* "ip:port" of every gateway there is, NULL-terminated, in place of
     * registers; NULL: registers say. */
    const char *const *gateways;
    /* A file that keeps the registers' list for who comes later and finds none
     * of them; 0: there is none. Borrowed. One that is open to be read only is
     * for others to write. */
    int kept_fd;
};

/* Whether anybody could be found. */
bool discovery_is_possible(const struct discovery_conf *conf);

/* The gateways are others than before: count unique "ip:port" texts, borrowed.
 * Never called before discovery_watch() has returned. */
typedef void (*discovery_changed_cb)(
    const char *const *addresses, size_t count, void *arg);

/* A gateway is here, for workers to dial at address, "ip:port", copied. NULL:
 * there is nobody to tell. */
struct discovery *discovery_announce(struct turn *turn,
    const struct discovery_conf *conf, const char *secret_key,
    const char *address);

/* A worker wants to know of all gateways, now and whenever they change. */
struct discovery *discovery_watch(struct turn *turn,
    const struct discovery_conf *conf, const char *secret_key,
    discovery_changed_cb changed, void *arg);

/* No register has answered, and the caller will not wait longer for that: go by
 * the list that was kept, now. Whether that has any gateway, and this is the
 * first time that it is asked for. changed() is called inside. */
bool discovery_take_kept(struct discovery *d);

/* Sources that cannot be reached at present. */
size_t discovery_missing(const struct discovery *d);

/* Has each source answered, or failed to? */
bool discovery_is_settled(const struct discovery *d);

/* Asynchronous; the callback will not run any more. */
void discovery_close(struct discovery *d);

#endif /* GW_DISCOVERY_DISCOVERY_H */
