/* Each program has a timer: its end is dealt with there, outside of its own
 * callbacks, and the next one begins. There is no back-off that grows: whoever
 * develops looks at the log. */
#include "role/programs.h"

#include <stdlib.h>

#include "net/handle.h"
#include "role/role.h"
#include "util/alloc.h"
#include "util/log.h"

struct entry {
    struct programs *ps;               /* borrowed, owns us */
    const struct config_program *conf; /* borrowed */
    unsigned slot;
    struct role *role; /* owned; NULL: none runs */
    uv_timer_t timer;  /* after its end */
    bool again;        /* another one is to begin then */
};

struct programs {
    uv_loop_t *loop;        /* borrowed */
    const struct config *c; /* borrowed */
    struct entry **entries; /* owned; each until its timer is closed */
    size_t count;
};

static void on_timer(uv_timer_t *timer);

/* It has ended; the role is freed on a later turn, not inside its call. */
static void note_end(struct entry *e, int status, const char *error)
{
    enum master_restart restart = e->conf->restart;

    e->again = restart == MASTER_ALWAYS ||
               (restart == MASTER_ON_FAILURE && status != 0);
    log_write(error ? LOG_ERROR : LOG_NOTICE, __FILE__,
        "program ended name=%s exit_status=%d%s", e->conf->conf.name, status,
        e->again ? " restart_in_s=1" : "");
    if (error)
        log_block(LOG_ERROR, error);
    uv_timer_start(&e->timer, on_timer, 0, 0);
}

static void on_ended(int status, void *arg)
{
    note_end(arg, status, NULL);
}

static void on_failed(const char *error, void *arg)
{
    note_end(arg, EXIT_FAILURE, error);
}

static void on_prepared(const char *wrong, void *arg)
{
    struct entry *e = arg;

    if (wrong) {
        log_error("program not begun again, the old one goes on name=%s",
            e->conf->conf.name);
        log_block(LOG_ERROR, wrong);
        return;
    }
    uv_timer_stop(&e->timer);
    role_commit(e->role);
}

static void begin(struct entry *e)
{
    static const struct role_events events = {.on_ended = on_ended,
        .on_failed = on_failed,
        .on_prepared = on_prepared};
    const struct role_slot slot = {.kind = "program", .number = e->slot};
    char err[256];

    role_new(&e->role, e->ps->loop, &slot, e->ps->c, &events, e, err);
}

static void end(struct entry *e)
{
    if (e->role)
        role_free(e->role);
    e->role = NULL;
    uv_timer_stop(&e->timer);
}

static void on_timer(uv_timer_t *timer)
{
    struct entry *e = timer->data;

    if (e->role) {
        end(e);
        if (e->again)
            uv_timer_start(&e->timer, on_timer, PROGRAMS_RESTART_MS, 0);
    } else {
        begin(e);
    }
}

struct programs *programs_open(uv_loop_t *loop, const struct config *c)
{
    struct programs *ps = xcalloc(1, sizeof(*ps));

    ps->loop = loop;
    ps->c = c;
    ps->count = c->nprograms;
    ps->entries = xcalloc(c->nprograms + 1, sizeof(*ps->entries));
    for (size_t i = 0; i < ps->count; i++) {
        struct entry *e = xcalloc(1, sizeof(*e));

        ps->entries[i] = e;
        e->ps = ps;
        e->slot = (unsigned)i;
        e->conf = &c->programs[i];
        uv_timer_init(loop, &e->timer);
        e->timer.data = e;
        begin(e);
    }
    return ps;
}

struct role *programs_role(const struct programs *ps, unsigned slot)
{
    return ps->entries[slot]->role;
}

void programs_reload(struct programs *ps)
{
    char err[256];

    for (size_t i = 0; i < ps->count; i++) {
        struct entry *e = ps->entries[i];

        if (e->conf->restart == MASTER_NEVER)
            continue;
        if (e->role) {
            role_prepare(e->role, NULL, err);
        } else if (e->again) { /* it would begin in a moment anyway */
            uv_timer_stop(&e->timer);
            begin(e);
        }
    }
}

void programs_close(struct programs *ps)
{
    for (size_t i = 0; i < ps->count; i++) {
        struct entry *e = ps->entries[i];

        end(e);
        handle_close(&e->timer, e);
    }
    free(ps->entries);
    free(ps);
}
