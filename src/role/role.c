/* The life of a role, whichever it is: its state, and who hears of it. What a
 * kind does is in role_kinds.c. The state only goes forward but for reloads,
 * which lead from READY back to READY; a role that was told to stop is never
 * ready again. */
#include "role/role.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/handle.h"
#include "role/counters.h"
#include "role/role_impl.h"
#include "util/alloc.h"
#include "util/log.h"

/* ---- what a kind tells ---- */

void role_tell_ready(struct role *r)
{
    if (r->state == ROLE_STARTING)
        r->state = ROLE_READY;
    if (r->events.on_ready)
        r->events.on_ready(r->arg);
}

void role_tell_failed(struct role *r, const char *message)
{
    r->state = ROLE_FAILED;
    if (r->events.on_failed)
        r->events.on_failed(message, r->arg);
}

void role_tell_stopped(struct role *r)
{
    r->state = ROLE_STOPPED;
    if (r->events.on_stopped)
        r->events.on_stopped(r->arg);
}

void role_tell_prepared(struct role *r, const char *message)
{
    if (r->state == ROLE_PREPARING)
        r->state = message ? ROLE_READY : ROLE_PREPARED;
    if (r->events.on_prepared)
        r->events.on_prepared(message, r->arg);
}

static void on_later(uv_timer_t *timer)
{
    struct role *r = timer->data;

    if (r->state == ROLE_STOPPING)
        role_tell_stopped(r);
    else
        role_tell_ready(r);
}

void role_tell_later(struct role *r)
{
    uv_timer_start(&r->later, on_later, 0, 0);
}

/* ---- life ---- */

static const struct role_ops *find_kind(const char *name)
{
    for (size_t i = 0; i < ROLE_KINDS; i++) {
        if (strcmp(role_kinds[i].kind, name) == 0)
            return &role_kinds[i];
    }
    return NULL;
}

static void release(struct role *r)
{
    free(r->before);
    handle_close(&r->later, r);
}

int role_new(struct role **out, uv_loop_t *loop, const struct role_slot *slot,
    const struct config *c, const struct role_events *events, void *arg,
    char err[256])
{
    const struct role_ops *ops = find_kind(slot->kind);
    struct role *r;
    int result;

    if (!ops) {
        snprintf(err, 256, "there is no role \"%.32s\"", slot->kind);
        return -EINVAL;
    }
    r = xcalloc(1, sizeof(*r));
    r->ops = ops;
    r->loop = loop;
    r->slot = slot->number;
    r->config = c;
    r->events = *events;
    r->arg = arg;
    uv_timer_init(loop, &r->later);
    r->later.data = r;
    result = ops->start(r, slot, err);
    if (result < 0)
        release(r);
    else
        *out = r;
    return result < 0 ? result : 0;
}

void role_free(struct role *r)
{
    r->ops->free_role(r);
    release(r);
}

enum role_state role_state(const struct role *r)
{
    return r->state;
}

void role_stop(struct role *r, bool graceful, double drain_time)
{
    uv_timer_stop(&r->later);
    r->ops->stop(r, graceful, drain_time);
    r->state = ROLE_STOPPING;
}

/* ---- reloads ---- */

int role_prepare(struct role *r, const json_t *m, char err[256])
{
    int result = 0;

    if (r->state == ROLE_READY)
        r->state = ROLE_PREPARING;
    if (r->ops->prepare)
        result = r->ops->prepare(r, m, err);
    if (result <= 0 && r->state == ROLE_PREPARING)
        r->state = result < 0 ? ROLE_READY : ROLE_PREPARED;
    return result;
}

/* A reload is over. */
static void settle(struct role *r)
{
    if (r->state == ROLE_PREPARING || r->state == ROLE_PREPARED)
        r->state = ROLE_READY;
}

void role_commit(struct role *r)
{
    settle(r);
    if (r->ops->commit)
        r->ops->commit(r);
}

void role_abort(struct role *r)
{
    settle(r);
    if (r->ops->abort_reload)
        r->ops->abort_reload(r);
}

/* ---- numbers ---- */

static uint64_t milliseconds(uv_timeval_t t)
{
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_usec / 1000;
}

static void count_process(const struct role *r, struct counters_process *out)
{
    uv_rusage_t usage = {0};

    *out = (struct counters_process){.log_dropped = log_dropped()};
    out->turns = r->turns;
    uv_resident_set_memory(&out->memory);
    uv_getrusage(&usage);
    out->cpu_ms = milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
}

json_t *role_status(const struct role *r)
{
    json_t *numbers = json_object();
    struct counters_process process;
    union role_numbers own;

    if (r->ops->table) {
        r->ops->count(r, &own);
        counters_put(numbers, r->ops->table, &own);
    }
    count_process(r, &process);
    counters_put(numbers, counters_process, &process);
    return numbers;
}

static void put_link(const struct reach_link *link, void *arg)
{
    json_t *list = arg;

    if (json_array_size(list) < ROLE_LINKS_MAX)
        json_array_append_new(list,
            json_pack("{s:s,s:s?,s:s,s:I}", "peer", link->peer, "name",
                link->name, "state", link->state, "ms", (json_int_t)link->ms));
}

json_t *role_links(const struct role *r)
{
    json_t *list = json_array();

    if (r->ops->report)
        r->ops->report(r, put_link, list);
    return list;
}

void role_share(struct role *r, struct page *page)
{
    if (!r->page) {
        r->page = page;
        r->before = xcalloc(PAGES_NUMBERS, sizeof(*r->before));
        page_read(page, r->before);
    }
    role_tell(r);
}

void role_measure(struct role *r, struct turn *turn)
{
    turn_measure(turn, &r->turns);
}

static void sample(struct role *r)
{
    uint64_t now = clock_now(r->loop);
    union role_numbers own;

    if (!r->ops->sample || now - r->sampled_at < ROLE_SAMPLE_MS)
        return;
    r->sampled_at = now;
    r->ops->count(r, &own);
    r->ops->sample(r, &own);
}

void role_tell(struct role *r)
{
    uint64_t numbers[PAGES_NUMBERS];
    size_t n = counters_width(counters_process);
    struct counters_process process;
    union role_numbers own;

    if (!r->page)
        return;
    count_process(r, &process);
    counters_fill(numbers, counters_process, &process, r->before);
    if (r->ops->table) {
        sample(r);
        r->ops->count(r, &own);
        counters_fill(numbers + n, r->ops->table, &own, r->before + n);
        n += counters_width(r->ops->table);
    }
    page_write(r->page, numbers, n);
}
