/* master_impl.h - what the files of the master share.
 *
 * master.c: start, stop, heartbeat. bulletin.c: what others may see.
 * children.c: processes and what they say. reload.c: prepare everywhere, then
 * commit or abort. standing.c: what stands for gateways to come. control.c: the
 * gwrun command.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_MASTER_MASTER_IMPL_H
#define GW_MASTER_MASTER_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "master/master.h"
#include "net/listener.h"
#include "net/turn.h"
#include "proc/ctl.h"
#include "proc/pages.h"
#include "util/list.h"

/* Between two pings; a child that is later by more is "not answering". */
#define MASTER_HEARTBEAT_MS 1000

/* The gateways' TLS session tickets are sealed with a key that they share. */
#define MASTER_TICKET_KEY_LEN 80        /* bytes, as OpenSSL wants it */
#define MASTER_TICKET_KEY_MS  86400000u /* then there is a new one */

#define MASTER_BACKOFF_MAX  30.0 /* seconds between two starts of a child */
#define MASTER_REPLACE_MS   1000 /* between two starts of one that wears out */
#define MASTER_CONTROLS_MAX 32   /* gwrun commands connected at once */

/* How long the children may take, in ms. */
#define MASTER_RELOAD_MAX_MS      60000 /* to prepare; then the reload fails */
#define MASTER_COMMIT_MAX_MS      10000 /* to commit; then the answer goes out */
#define MASTER_STATUS_MAX_MS      800   /* then they are "not answering" */
#define MASTER_CONNECTIONS_MAX_MS 10000 /* the same for long lists */

enum child_state {
    CHILD_DOWN,     /* no process, and none will be started */
    CHILD_BACKOFF,  /* no process until restart_at */
    CHILD_STARTING, /* a process that has not said "ready" */
    CHILD_READY,
    CHILD_WORN,     /* ends by itself, another one takes its place */
    CHILD_STOPPING, /* told to stop */
    CHILD_ENDED,    /* ended well, for good (conf->restart) */
    CHILD_FAILED,   /* ended otherwise, for good */
};

/* Is a child to be in a reload? */
enum child_wish {
    WISH_NONE,
    WISH_RELOAD, /* if it runs, or is to */
    WISH_START,  /* in any case: it was asked for by its name */
};

enum child_reload {
    RELOAD_NO_PART,
    RELOAD_AWAITED,  /* to be asked as soon as it is ready */
    RELOAD_ASKED,    /* to prepare, or to commit */
    RELOAD_PREPARED, /* or committed */
};

struct child {
    const struct master_child_conf *conf; /* borrowed */
    struct master *master;                /* borrowed, owns us */
    enum child_state state;
    bool was_ready; /* at least once */
    bool alive;     /* process is open: not yet collected */
    bool killed;    /* by us, because it hung */
    uv_process_t process;
    struct ctl *ctl; /* owned; NULL once the child has closed it */
    char *failure;   /* owned; what it said before it ended, or NULL */
    char *last_end;  /* owned; why another one had to be started, or NULL */
    bool pinged;     /* and has not answered yet */
    uint64_t pinged_at, heard_at, spawned_at; /* ms, clock_now */
    uint64_t deaths[MASTER_RESTARTS];         /* ms; the last ones, a ring */
    unsigned ndeaths, restarts;
    double backoff;      /* seconds; 0: restart at once */
    uint64_t restart_at; /* ms; in CHILD_BACKOFF */
    enum child_reload reload;
    enum child_wish included; /* in the reload that runs */
    enum child_wish awaiting; /* the next one */
};

struct reload {
    enum { RELOAD_IDLE, RELOAD_PREPARING, RELOAD_COMMITTING } phase;
    unsigned run;   /* counts the reloads; in every message of one */
    size_t awaited; /* children that have not answered */
    size_t workers; /* that have a new script */
    size_t programs;
    size_t started; /* which were down */
    uint64_t began; /* ms */
    char *failure;  /* owned; the first one */
    bool again;     /* asked for while this one ran */
    bool all;       /* the one that runs is of everything, … */
    bool again_all; /* … the next one will be */
    unsigned generation;
    uv_timer_t timer;
};

struct master {
    uv_loop_t *loop;
    const struct master_conf *conf; /* borrowed, outlives us */
    struct master_events events;
    void *arg;
    struct turn *turn;      /* owned */
    struct child *children; /* owned; conf->nchildren */
    size_t alive;           /* processes not yet collected */
    size_t unready;         /* children that never were ready */
    bool started;           /* on_started has been called, or never will be */
    bool stopping, graceful, stopped, freed;
    size_t stop_from;          /* children[stop_from …] were told to stop */
    bool stop_is_late;         /* half of stop_timeout is over */
    uint64_t began, ticked_at; /* ms */
    uv_timer_t tick, restart_timer, start_timer, stop_timer;
    uv_idle_t look;   /* active from a tick until the sockets have been read */
    bool polled;      /* they have */
    unsigned handles; /* open; they hold the memory of m, as processes do */
    struct reload reload;
    struct pages *pages;      /* owned; NULL: there are none */
    struct listener *control; /* owned */
    struct list commands;     /* of struct command, control.c */
    size_t ncommands;         /* of these, but for the desks of children */
    unsigned gathers;         /* numbers the questions to children */
    json_t
        *orders; /* owned; standing ones, for gateways to come (standing.c) */
    char ticket_key[2 * MASTER_TICKET_KEY_LEN + 1]; /* hexadecimal */
    uint64_t ticket_key_at;                         /* ms */
};

/* children.c */

/* "gateway/0". Returns out. */
#define CHILD_TITLE_SIZE 48
const char *child_title(char out[CHILD_TITLE_SIZE], const struct child *c);
void child_spawn(struct child *c);
/* Send a message of the child's; gives up the reference. */
void child_send(struct child *c, json_t *m);
/* If it is a gateway, which may ignore it. */
void child_send_ticket_key(struct child *c);
/* Tell it to stop; a child in back-off is down at once. */
void child_stop(struct child *c, bool graceful);
void child_kill(struct child *c);
/* It hangs: let it speak if it can; the second time, do not. */
void child_end_hanging(struct child *c);
/* Kill and let go, for master_free(). */
void child_forget(struct child *c);
/* A process serves, begins to, or ends in an orderly way. */
bool child_runs(const struct child *c);
bool child_is(const struct child *c, const char *role);
bool child_answers(const struct child *c);
const char *child_state_name(const struct child *c);
/* Start what is in back-off and due. */
void children_restart(struct master *m);

/* master.c */

void master_child_up(struct master *m, struct child *c);
/* It ended before it was ever ready. */
void master_child_lost(struct master *m, struct child *c, const char *why);
/* A process was collected: go on stopping. */
void master_child_down(struct master *m);
/* After master_free(): the memory, once no handle is left. */
void master_release(struct master *m);

/* bulletin.c */

/* Write down how all children are, for the operators' port. */
void bulletin_write(const struct master *m);

/* reload.c */

void reload_init(struct master *m);
/* Ask for a reload of everything, or of workers or the program of that name
 * only. The number of the run that will answer it; 0: there are none. */
unsigned reload_request(struct master *m, const char *name);
void reload_child_up(struct master *m, struct child *c);
void reload_child_down(struct master *m, struct child *c);
/* "prepared" and "committed". */
void reload_on_answer(struct master *m, struct child *c, const json_t *answer);
void reload_cancel(struct master *m, const char *why);

/* standing.c */

#define MASTER_ORDERS_MAX 4096 /* standing ones; one more is refused */

void standing_init(struct master *m);
void standing_fini(struct master *m);

/* What is wrong with an order of a command, static; or NULL: it may be handed
 * on, and is kept if it stands. */
const char *standing_take(struct master *m, const json_t *order);

/* Does an order concern this child? */
bool standing_concern(const json_t *order, const struct child *c);

/* Tell a process that has just begun all orders that stand. */
void standing_repeat(struct child *c);

/* Is it a gateway that takes no new clients, by order? */
bool standing_drain(const struct child *c);

/* control.c */

int control_open(struct master *m, char err[256]);
/* The other end of a new connection for a child that may ask little
 * (master_child_conf.asks), or -1. */
int control_desk(struct master *m);
void control_close(struct master *m);
/* The answer to the commands that wait for the run; borrowed. */
void control_reloaded(struct master *m, unsigned run, json_t *answer);
/* "status" and "connections". */
void control_on_answer(struct master *m, struct child *c, const json_t *answer);
void control_child_down(struct master *m, struct child *c);

#endif /* GW_MASTER_MASTER_IMPL_H */
