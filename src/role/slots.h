/* slots.h - which process is which: its role and slot, its entry in the
 * configuration, its page.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_SLOTS_H
#define GW_ROLE_SLOTS_H

#include <stddef.h>

#include "admin/admin.h"
#include "config/config.h"
#include "proc/pages.h"

#define SLOTS_ADMIN    "Admin" /* names for people */
#define SLOTS_REGISTER "Register"

/* The entry of c->gateways that a gateway's slot belongs to, and its index in
 * it; NULL when there is no such slot. */
const struct config_gateway *slots_gateway(
    const struct config *c, unsigned slot, unsigned *index);

/* The same of workers. */
struct config_workers *slots_workers(
    const struct config *c, unsigned slot, unsigned *index);

/* All processes, in the order of their pages, which is plan_make()'s. How many;
 * the caller frees *out, which borrows from c. */
size_t slots_list(const struct config *c, struct admin_process **out);

/* The page of one of them; NULL: there is none. */
struct page *slots_page(const struct config *c, const struct pages *pages,
    const char *role, unsigned slot);

#endif /* GW_ROLE_SLOTS_H */
