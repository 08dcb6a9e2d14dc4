/* discovery_impl.h - what a way of discovery provides (discovery.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_DISCOVERY_DISCOVERY_IMPL_H
#define GW_DISCOVERY_DISCOVERY_IMPL_H

#include "discovery/discovery.h"

/* As the functions of discovery.h with the same names. */
struct discovery_ops {
    size_t (*missing)(const struct discovery *d);
    bool (*is_settled)(const struct discovery *d);
    bool (*take_kept)(struct discovery *d); /* NULL: there is no list */
    void (*close)(struct discovery *d);
};

/* The first member of what a way keeps. */
struct discovery {
    const struct discovery_ops *ops;
};

/* discovery_register.c: registers is not empty. */
struct discovery *discovery_register_announce(struct turn *turn,
    const char *const *registers, const char *secret_key, const char *address);
struct discovery *discovery_register_watch(struct turn *turn,
    const struct discovery_conf *conf, const char *secret_key,
    discovery_changed_cb changed, void *arg);

/* discovery_kept.c: the addresses that the file fd has from those registers, a
 * line each; NULL: none. The caller frees it. */
char *discovery_kept_read(int fd, const char *const *registers);

/* discovery_kept.c: have the file say that, in place of what it says. */
void discovery_kept_write(int fd, const char *const *registers,
    const char *const *addresses, size_t count);

/* discovery_static.c */
struct discovery *discovery_static_watch(struct turn *turn,
    const char *const *gateways, discovery_changed_cb changed, void *arg);

#endif /* GW_DISCOVERY_DISCOVERY_IMPL_H */
