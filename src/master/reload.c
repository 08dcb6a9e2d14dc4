#include <stdlib.h>

#include "master/master_impl.h"
#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"

static void begin(struct master *m);

void reload_init(struct master *m)
{
    m->reload.generation = 1;
}

static void ask(struct master *m, struct child *c, const char *type)
{
    c->reload = RELOAD_ASKED;
    child_send(
        c, json_pack("{s:s,s:i}", "type", type, "run", (int)m->reload.run));
}

static void fail(struct master *m, const struct child *c, const char *why)
{
    char title[CHILD_TITLE_SIZE];

    if (!m->reload.failure)
        m->reload.failure = xasprintf("%s: %s", child_title(title, c), why);
}

static void on_again(uv_timer_t *timer)
{
    begin(timer->data);
}

/* Tell those who asked, and go on with the next one if there is one. */
static void finish(struct master *m)
{
    struct reload *r = &m->reload;
    uint64_t ms = clock_now(m->loop) - r->began;
    json_t *answer;

    uv_timer_stop(&r->timer);
    r->phase = RELOAD_IDLE;
    if (r->failure) {
        log_error("reload failed, the old script stays");
        log_block(LOG_ERROR, r->failure);
        answer = json_pack("{s:s,s:b,s:s}", "type", "reloaded", "ok", 0,
            "message", r->failure);
    } else {
        log_notice("reloaded workers=%zu ms=%llu generation=%u", r->workers,
            (unsigned long long)ms, r->generation);
        answer = json_pack("{s:s,s:b,s:I,s:I,s:i}", "type", "reloaded", "ok", 1,
            "workers", (json_int_t)r->workers, "ms", (json_int_t)ms,
            "generation", (int)r->generation);
    }
    control_reloaded(m, r->run, answer);
    json_decref(answer);
    if (r->again && !m->stopping)
        uv_timer_start(&r->timer, on_again, 0, 0);
}

static void on_commit_timeout(uv_timer_t *timer)
{
    log_warn("not every child has confirmed the new script");
    finish(timer->data);
}

static void commit(struct master *m)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_COMMITTING;
    r->generation++;
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (c->reload == RELOAD_PREPARED) {
            ask(m, c, "commit");
            r->awaited++;
        }
    }
    children_restart(m, true); /* a new script may be what they waited for */
    if (r->awaited > 0)
        uv_timer_start(&r->timer, on_commit_timeout, MASTER_COMMIT_MAX_MS, 0);
    else
        finish(m);
}

static void abort_all(struct master *m)
{
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (c->reload == RELOAD_PREPARED || c->reload == RELOAD_ASKED)
            ask(m, c, "abort");
        c->reload = RELOAD_NO_PART;
    }
    m->reload.awaited = 0;
    finish(m);
}

static void on_prepare_timeout(uv_timer_t *timer)
{
    struct master *m = timer->data;

    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (c->reload == RELOAD_ASKED || c->reload == RELOAD_AWAITED)
            fail(m, c, "was not ready in time");
    }
    abort_all(m);
}

/* One child less to wait for; none, once one has failed: what another one's
 * onWorkerStart waits for may never come. */
static void count_answer(struct master *m)
{
    struct reload *r = &m->reload;

    r->awaited--;
    if (r->phase == RELOAD_PREPARING && r->failure)
        abort_all(m);
    else if (r->awaited > 0)
        return;
    else if (r->phase == RELOAD_COMMITTING)
        finish(m);
    else
        commit(m);
}

/* From the loop: there may be nobody to ask. */
static void on_nobody(uv_timer_t *timer)
{
    commit(timer->data);
}

static void begin(struct master *m)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_PREPARING;
    r->run++;
    r->again = false;
    r->awaited = r->workers = 0;
    r->began = clock_now(m->loop);
    free(r->failure);
    r->failure = NULL;
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        c->reload = RELOAD_NO_PART;
        if (c->state == CHILD_READY)
            ask(m, c, "prepare");
        else if (c->state == CHILD_STARTING)
            c->reload = RELOAD_AWAITED;
        if (c->reload != RELOAD_NO_PART)
            r->awaited++;
    }
    if (r->awaited > 0)
        uv_timer_start(&r->timer, on_prepare_timeout, MASTER_RELOAD_MAX_MS, 0);
    else
        uv_timer_start(&r->timer, on_nobody, 0, 0);
}

unsigned reload_request(struct master *m)
{
    struct reload *r = &m->reload;

    if (r->phase == RELOAD_IDLE && !r->again) {
        begin(m);
        return r->run;
    }
    r->again = true;
    return r->run + 1;
}

void reload_child_up(struct master *m, struct child *c)
{
    if (m->reload.phase == RELOAD_PREPARING && c->reload == RELOAD_AWAITED)
        ask(m, c, "prepare");
}

void reload_child_down(struct master *m, struct child *c)
{
    enum child_reload part = c->reload;

    c->reload = RELOAD_NO_PART;
    if (part == RELOAD_NO_PART || m->reload.phase == RELOAD_IDLE)
        return;
    if (m->reload.phase == RELOAD_PREPARING)
        fail(m, c, c->failure ? c->failure : "ended during the reload");
    if (part != RELOAD_PREPARED)
        count_answer(m);
}

void reload_on_answer(struct master *m, struct child *c, const json_t *answer)
{
    struct reload *r = &m->reload;
    const char *message = ctlmsg_string(answer, "message", NULL);

    if (ctlmsg_int(answer, "run", 0) != r->run || c->reload != RELOAD_ASKED)
        return;
    c->reload = RELOAD_PREPARED;
    if (message)
        fail(m, c, message);
    if (r->phase == RELOAD_PREPARING && ctlmsg_int(answer, "scripts", 0) > 0)
        r->workers++;
    count_answer(m);
}

void reload_cancel(struct master *m, const char *why)
{
    if (m->reload.phase != RELOAD_PREPARING)
        return;
    free(m->reload.failure);
    m->reload.failure = xstrdup(why);
    abort_all(m);
}
