/* The start, the watch over the children (pings, the tickets' key) and the
 * stop: role by role from the end of the list, told in the first half of
 * stop_timeout, killed after the second. The timers are owned here; the master
 * is freed when all of them have closed and no child is left
 * (master_release()). */
#include "master/master.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/master_impl.h"
#include "net/clock.h"
#include "proc/daemon.h"
#include "proc/notify.h"
#include "util/alloc.h"
#include "util/log.h"

static uint64_t to_ms(double seconds)
{
    return (uint64_t)(seconds * 1000);
}

static void finish_start(struct master *m, const char *message)
{
    if (m->started)
        return;
    m->started = true;
    uv_timer_stop(&m->start_timer);
    m->events.on_started(message, m->arg);
}

static void on_start_timeout(uv_timer_t *timer)
{
    struct master *m = timer->data;

    for (size_t i = 0; i < m->conf->nchildren; i++) {
        const struct child *c = &m->children[i];
        char title[CHILD_TITLE_SIZE];

        if (!c->was_ready)
            log_warn("child is not ready yet child=%s name=\"%s\"",
                child_title(title, c), c->conf->name);
    }
    finish_start(m, NULL);
}

void master_child_up(struct master *m, struct child *c)
{
    char title[CHILD_TITLE_SIZE];

    log_notice("child is ready child=%s pid=%d ready_ms=%llu",
        child_title(title, c), c->process.pid,
        (unsigned long long)(clock_now(m->loop) - c->spawned_at));
    bulletin_write(m);
    if (c->was_ready)
        return;
    c->was_ready = true;
    m->unready--;
    if (m->unready == 0 && !m->stopping) {
        finish_start(m, NULL);
        notify_send("READY=1");
    }
}

void master_child_lost(struct master *m, struct child *c, const char *why)
{
    char title[CHILD_TITLE_SIZE];
    char *message = xasprintf(
        "%s: %s", child_title(title, c), c->failure ? c->failure : why);

    if (!m->stopping)
        finish_start(m, message);
    free(message);
    master_stop(m, false);
}

bool master_child_ready(const struct master *m, size_t index)
{
    enum child_state state = m->children[index].state;

    return state == CHILD_READY || state == CHILD_ENDED;
}

/* A ping is waiting for its answer, or there is no link to ask on. Silence
 * before the ping is nobody's fault: with a hang_timeout of about the time
 * between two of them, that alone would be too long. */
static bool hangs(const struct child *c, uint64_t now, uint64_t limit)
{
    return limit > 0 && now - c->heard_at > limit && (c->pinged || !c->ctl);
}

static void renew_ticket_key(struct master *m)
{
    uint8_t key[MASTER_TICKET_KEY_LEN];

    m->ticket_key_at = clock_now(m->loop);
    if (uv_random(NULL, NULL, key, sizeof(key), 0, NULL) < 0)
        return; /* the old one, or each gateway its own */
    for (size_t i = 0; i < sizeof(key); i++)
        snprintf(m->ticket_key + 2 * i, 3, "%02x", key[i]);
    for (size_t i = 0; i < m->conf->nchildren; i++)
        child_send_ticket_key(&m->children[i]);
}

/* End those that gave no sign of life for too long; ask all for the next one.
 */
static void look_at_children(struct master *m, uint64_t now)
{
    uint64_t limit = to_ms(m->conf->hang_timeout);
    char title[CHILD_TITLE_SIZE];

    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (!c->alive)
            continue;
        if (c->killed) {
            child_end_hanging(c);
        } else if (hangs(c, now, limit)) {
            log_error("child hangs, killing it child=%s pid=%d silent_s=%.0f",
                child_title(title, c), c->process.pid,
                (double)(now - c->heard_at) / 1000);
            child_end_hanging(c);
        } else if (c->ctl && !c->pinged) {
            c->pinged = true;
            c->pinged_at = now;
            child_send(c, json_pack("{s:s}", "type", "ping"));
        }
    }
}

/* libuv calls this before it polls: the second time, what had come when the
 * tick was due has been read. */
static void on_look(uv_idle_t *idle)
{
    struct master *m = idle->data;

    if (m->polled) {
        uv_idle_stop(idle);
        look_at_children(m, clock_now(m->loop));
    }
    m->polled = true;
}

static void on_tick(uv_timer_t *timer)
{
    struct master *m = timer->data;
    uint64_t now = clock_now(m->loop);
    uint64_t gap = now - m->ticked_at;
    uint64_t lost = gap > MASTER_HEARTBEAT_MS ? gap - MASTER_HEARTBEAT_MS : 0;

    m->ticked_at = now;
    notify_alive();
    if (now - m->ticket_key_at >= MASTER_TICKET_KEY_MS)
        renew_ticket_key(m);
    /* When this process did not run, perhaps none did. */
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        c->heard_at = c->heard_at + lost < now ? c->heard_at + lost : now;
    }
    bulletin_write(m);
    m->polled = false;
    uv_idle_start(&m->look, on_look);
}

/* Tell children[stop_from …] downwards, one role at a time, as soon as those
 * above are gone (or late). */
static void stop_next_role(struct master *m)
{
    const char *role;

    if (m->stop_from == 0)
        return;
    role = m->children[m->stop_from - 1].conf->role;
    while (m->stop_from > 0 &&
           strcmp(m->children[m->stop_from - 1].conf->role, role) == 0)
        child_stop(&m->children[--m->stop_from], m->graceful);
}

static bool told_are_gone(const struct master *m)
{
    for (size_t i = m->stop_from; i < m->conf->nchildren; i++) {
        if (m->children[i].alive)
            return false;
    }
    return true;
}

static void on_stop_timeout(uv_timer_t *timer);

static void start_stop_timer(struct master *m)
{
    uv_timer_start(
        &m->stop_timer, on_stop_timeout, to_ms(m->conf->stop_timeout / 2), 0);
}

void master_child_down(struct master *m)
{
    if (!m->stopping || m->stopped)
        return;
    while (m->stop_from > 0 && told_are_gone(m)) {
        if (m->graceful) { /* the clients are gone; the rest takes no time */
            m->graceful = false;
            start_stop_timer(m);
        }
        stop_next_role(m);
    }
    if (m->alive > 0 || m->stop_from > 0)
        return;
    m->stopped = true;
    uv_timer_stop(&m->stop_timer);
    log_notice("all children have ended");
    m->events.on_stopped(m->arg);
}

/* The first half of the time is over: tell all. Then the second: kill. */
static void on_stop_timeout(uv_timer_t *timer)
{
    struct master *m = timer->data;
    char title[CHILD_TITLE_SIZE];

    if (!m->stop_is_late) {
        m->stop_is_late = true;
        while (m->stop_from > 0)
            stop_next_role(m);
        start_stop_timer(m);
        master_child_down(m);
        return;
    }
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        if (!m->children[i].alive)
            continue;
        log_error("child does not stop, killing it child=%s pid=%d",
            child_title(title, &m->children[i]), m->children[i].process.pid);
        child_kill(&m->children[i]);
    }
}

/* There may be nothing to wait for; the callback comes from the loop. */
static void on_nothing_to_stop(uv_timer_t *timer)
{
    struct master *m = timer->data;

    start_stop_timer(m);
    master_child_down(m);
}

void master_stop(struct master *m, bool graceful)
{
    if (m->stopped || (m->stopping && (!m->graceful || graceful)))
        return;
    log_notice("stopping graceful=%d", graceful);
    m->graceful = graceful;
    notify_send("STOPPING=1");
    reload_cancel(m, "the system is stopping");
    m->started = true;
    uv_timer_stop(&m->start_timer);
    m->stopping = true;
    m->stop_from = m->conf->nchildren;
    stop_next_role(m);
    bulletin_write(m);
    if (told_are_gone(m))
        uv_timer_start(&m->stop_timer, on_nothing_to_stop, 0, 0);
    else if (!graceful)
        start_stop_timer(m);
}

void master_reload(struct master *m)
{
    reload_request(m, NULL);
}

void master_reopen_logs(struct master *m)
{
    const char *path = m->conf->log_file;
    int err = path ? daemon_redirect(path) : 0;

    if (err < 0)
        log_error(
            "cannot open the log again file=%s: %s", path, strerror(-err));
    else
        log_notice("log opened again");
    for (size_t i = 0; i < m->conf->nchildren; i++)
        child_send(&m->children[i],
            json_pack("{s:s,s:s*}", "type", "reopen_log", "path", path));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct master *m = handle->data;

    m->handles--;
    master_release(m);
}

void master_release(struct master *m)
{
    if (m->handles > 0 || m->alive > 0)
        return;
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        free(m->children[i].failure);
        free(m->children[i].last_end);
    }
    standing_fini(m);
    free(m->reload.failure);
    free(m->children);
    pages_close(m->pages);
    free(m);
}

static void init_timer(struct master *m, uv_timer_t *timer)
{
    uv_timer_init(m->loop, timer);
    timer->data = m;
    m->handles++;
}

static void init_children(struct master *m)
{
    m->children = xcalloc(m->conf->nchildren + 1, sizeof(*m->children));
    m->unready = m->conf->nchildren;
    standing_init(m);
    notify_keep(); /* before the first child */
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        m->children[i].conf = &m->conf->children[i];
        m->children[i].master = m;
    }
}

int master_new(struct master **out, uv_loop_t *loop,
    const struct master_conf *conf, const struct master_events *events,
    void *arg, char err[256])
{
    struct master *m = xcalloc(1, sizeof(*m));
    int result;

    m->loop = loop;
    m->conf = conf;
    m->events = *events;
    m->arg = arg;
    m->turn = turn_new(loop);
    m->began = m->ticked_at = clock_now(loop);
    list_init(&m->commands);
    init_timer(m, &m->tick);
    init_timer(m, &m->restart_timer);
    init_timer(m, &m->start_timer);
    init_timer(m, &m->stop_timer);
    init_timer(m, &m->reload.timer);
    uv_idle_init(loop, &m->look);
    m->look.data = m;
    m->handles++;
    reload_init(m);
    m->pages = conf->pages_fd > 0 ? pages_open(conf->pages_fd) : NULL;
    init_children(m);
    renew_ticket_key(m);
    result = control_open(m, err);
    if (result < 0) {
        master_free(m);
        return result;
    }
    uv_timer_start(&m->tick, on_tick, MASTER_HEARTBEAT_MS, MASTER_HEARTBEAT_MS);
    uv_timer_start(&m->start_timer, on_start_timeout,
        conf->nchildren ? to_ms(MASTER_START_TIMEOUT) : 0, 0);
    for (size_t i = 0; i < conf->nchildren; i++)
        child_spawn(&m->children[i]);
    bulletin_write(m);
    uv_update_time(loop);
    *out = m;
    return 0;
}

void master_free(struct master *m)
{
    uv_timer_t *timers[] = {&m->tick, &m->restart_timer, &m->start_timer,
        &m->stop_timer, &m->reload.timer};

    m->freed = true;
    control_close(m);
    for (size_t i = 0; i < m->conf->nchildren; i++)
        child_forget(&m->children[i]);
    turn_close(m->turn);
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        uv_close((uv_handle_t *)timers[i], on_handle_closed);
    uv_close((uv_handle_t *)&m->look, on_handle_closed);
}
