/* admin_impl.h - what the files of the operators' port share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ADMIN_ADMIN_IMPL_H
#define GW_ADMIN_ADMIN_IMPL_H

#include "admin/admin.h"
#include "admin/desk.h"
#include "admin/guard.h"
#include "admin/live.h"
#include "clients/exchange.h"
#include "clients/port.h"
#include "net/turn.h"
#include "util/log.h"

struct admin {
    uv_loop_t *loop;
    const struct admin_system *system; /* borrowed */
    struct turn *turn;                 /* owned */
    struct port *port;                 /* owned; NULL while it begins */
    struct guard *guard;               /* owned */
    struct desk *desk;        /* owned; NULL: there is no master to ask */
    struct live *live;        /* owned */
    struct log_share guesses; /* of the key */
    bool has_cluster;
    size_t scraped; /* bytes of scrapes that leave with this turn */
};

/* A request, until it is answered. */
struct call {
    struct turn_task task;          /* at the end of a turn it is */
    struct admin *admin;            /* borrowed */
    struct client_conn *c;          /* borrowed, until on_request_end() */
    struct desk_question *question; /* borrowed; it waits for that, or NULL */
    union addr peer;                /* who stands behind trusted proxies */
    json_t *said;      /* owned; what it asked for, for the log; or NULL */
    struct buf answer; /* see wire/answer.h */
    size_t scraped;    /* bytes of it, of a scrape; counted in admin */
};

/* ---- answers.c ---- */

void answers_put_header(struct call *call, const char *name, const char *value);

/* Status, type, if not NULL, and the headers of every answer. */
void answers_put_head(struct call *call, unsigned status, const char *type);
void answers_put(struct call *call, unsigned status, const char *type,
    const void *body, size_t len);
void answers_put_text(struct call *call, unsigned status, const char *text);

/* Takes the reference to value. */
void answers_put_json(struct call *call, unsigned status, json_t *value);

/* A file of the page. */
void answers_put_file(struct call *call, const char *name);

/* ---- what answers a path; the request is valid, and may be answered ---- */

typedef void admin_answer(struct call *call, const struct httpcall *request);

/* views.c: for everybody */
admin_answer views_metrics, views_status, views_livez, views_readyz, views_live;

/* An event for pages that watch; arg: struct admin. */
json_t *views_make_event(void *arg);

/* keyed.c: for who has given the key, and giving it */
admin_answer keyed_session, keyed_login, keyed_logout, keyed_groups,
    keyed_clients, keyed_kick;

#endif /* GW_ADMIN_ADMIN_IMPL_H */
