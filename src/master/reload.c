/* A reload in two steps over all children: each prepares, and only when all
 * have does each commit; otherwise all abort and the old scripts go on. One
 * reload at a time; a child that is replaced meanwhile starts with what is on
 * disk. */
#include <stdlib.h>
#include <string.h>

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

static void ask_to_prepare(struct master *m, struct child *c)
{
    json_t *message =
        json_pack("{s:s,s:i}", "type", "prepare", "run", (int)m->reload.run);
    json_t *part =
        m->reload.all && m->events.reload_part
            ? m->events.reload_part((size_t)(c - m->children), m->arg)
            : NULL;

    if (part)
        json_object_update(message, part);
    json_decref(part);
    c->reload = RELOAD_ASKED;
    child_send(c, message);
}

static void decide(struct master *m, bool take)
{
    if (m->reload.all && m->events.on_reloaded)
        m->events.on_reloaded(take, m->arg);
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
        log_notice("reloaded workers=%zu programs=%zu started=%zu ms=%llu "
                   "generation=%u",
            r->workers, r->programs, r->started, (unsigned long long)ms,
            r->generation);
        answer = json_pack("{s:s,s:b,s:I,s:I,s:I,s:I,s:i}", "type", "reloaded",
            "ok", 1, "workers", (json_int_t)r->workers, "programs",
            (json_int_t)r->programs, "started", (json_int_t)r->started, "ms",
            (json_int_t)ms, "generation", (int)r->generation);
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

/* Those in back-off, for a new script may be what they waited for, and programs
 * that were asked for by their names and have done what they had to. */
static bool is_due(const struct child *c)
{
    if (c->alive || c->included == WISH_NONE)
        return false;
    return c->state == CHILD_BACKOFF ||
           (c->included == WISH_START &&
               (c->state == CHILD_ENDED || c->state == CHILD_FAILED));
}

static void start_again(struct master *m)
{
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (!is_due(c))
            continue;
        child_spawn(c);
        m->reload.started++;
    }
    children_restart(m); /* one start less is to come */
}

static void commit(struct master *m)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_COMMITTING;
    r->generation++;
    decide(m, true); /* before another child is started */
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (c->reload == RELOAD_PREPARED) {
            ask(m, c, "commit");
            r->awaited++;
        }
    }
    start_again(m);
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
    decide(m, false);
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

static void on_refused(uv_timer_t *timer)
{
    abort_all(timer->data);
}

static void ask_all(struct master *m)
{
    struct reload *r = &m->reload;

    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (c->included == WISH_NONE)
            continue;
        if (c->state == CHILD_READY)
            ask_to_prepare(m, c);
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

static void begin(struct master *m)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_PREPARING;
    r->run++;
    r->all = r->again_all;
    r->again = r->again_all = false;
    r->awaited = r->workers = r->programs = r->started = 0;
    r->began = clock_now(m->loop);
    free(r->failure);
    r->failure =
        r->all && m->events.on_reload ? m->events.on_reload(m->arg) : NULL;
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        c->reload = RELOAD_NO_PART;
        c->included = c->awaiting;
        c->awaiting = WISH_NONE;
    }
    if (r->failure)
        uv_timer_start(&r->timer, on_refused, 0, 0);
    else
        ask_all(m);
}

static enum child_wish wish_for(const struct child *c, const char *name)
{
    if (!name)
        return c->conf->restart == MASTER_NEVER ? WISH_NONE : WISH_RELOAD;
    if (!child_is(c, "worker") && !child_is(c, "program"))
        return WISH_NONE;
    return strcmp(c->conf->name, name) == 0 ? WISH_START : WISH_NONE;
}

/* Include them in the next reload. Is there anybody? */
static bool include(struct master *m, const char *name)
{
    bool found = !name;

    if (!name)
        m->reload.again_all = true;
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];
        enum child_wish wish = wish_for(c, name);

        if (wish > c->awaiting)
            c->awaiting = wish;
        found |= wish != WISH_NONE;
    }
    return found;
}

unsigned reload_request(struct master *m, const char *name)
{
    struct reload *r = &m->reload;

    if (!include(m, name))
        return 0;
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
        ask_to_prepare(m, c);
}

void reload_child_down(struct master *m, struct child *c)
{
    enum child_reload part = c->reload;

    c->reload = RELOAD_NO_PART;
    if (part == RELOAD_NO_PART || m->reload.phase == RELOAD_IDLE)
        return;
    if (m->reload.phase == RELOAD_PREPARING && !child_is(c, "program"))
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
        ++*(child_is(c, "program") ? &r->programs : &r->workers);
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
