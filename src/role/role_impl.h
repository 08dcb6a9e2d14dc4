/* role_impl.h - what role.c shares with the four kinds of roles.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_ROLE_IMPL_H
#define GW_ROLE_ROLE_IMPL_H

#include "admin/admin.h"
#include "register/register.h"
#include "role/role.h"
#include "worker/program.h"

/* What one tells of itself; which, its table says. */
union role_numbers {
    struct register_status reg;
    struct gateway_status gateway;
    struct worker_status worker;
    struct program_status program;
};

#define ROLE_SAMPLES   2
#define ROLE_SAMPLE_MS 900 /* between two of them, at least */

/* What one kind does; a NULL member: nothing. role.c has checked and keeps the
 * state. */
struct role_ops {
    const char *kind;
    int (*start)(struct role *r, const struct role_slot *slot, char err[256]);
    void (*free_role)(struct role *r);
    void (*stop)(struct role *r, bool graceful, double drain_time);
    int (*prepare)(struct role *r, const json_t *m, char err[256]);
    void (*commit)(struct role *r);
    void (*abort_reload)(struct role *r);
    const struct counter *table; /* of its numbers, or NULL */
    void (*count)(const struct role *r, union role_numbers *out);
    /* about once a second: what there is of what goes up and down */
    void (*sample)(struct role *r, const union role_numbers *numbers);
    /* each link that is not as it should be; NULL: it has none */
    void (*report)(const struct role *r, reach_link_cb each, void *arg);
};

/* register, gateway, worker, program, admin */
#define ROLE_KINDS 5
extern const struct role_ops role_kinds[ROLE_KINDS];

struct role {
    const struct role_ops *ops;
    uv_loop_t *loop;
    unsigned slot;
    const struct config *config; /* borrowed */
    enum role_state state;
    struct role_events events;
    void *arg;
    union { /* owned; by ops */
        struct register_role *reg;
        struct gateway *gateway;
        struct worker *worker;
        struct program *program;
        struct {
            struct admin *admin;
            struct admin_system system; /* its processes are owned */
        };
    };
    struct page *page;      /* borrowed; where it tells its numbers, or NULL */
    uint64_t *before;       /* owned; what the page had then */
    struct histogram turns; /* of its loop, if somebody measures them */
    struct histogram samples[ROLE_SAMPLES]; /* what they are: by ops */
    uint64_t sampled_at;                    /* loop time, ms */
    uv_timer_t later; /* for events that the role does not send itself */
};

/* What a kind tells: the state changes and the owner hears of it. */
void role_tell_ready(struct role *r);
void role_tell_failed(struct role *r, const char *message);
void role_tell_stopped(struct role *r);
void role_tell_prepared(struct role *r, const char *message);

/* role_tell_ready() or, when it is being stopped, role_tell_stopped(), on a
 * later turn. */
void role_tell_later(struct role *r);

#endif /* GW_ROLE_ROLE_IMPL_H */
