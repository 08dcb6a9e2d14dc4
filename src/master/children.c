/* The processes that the master keeps: forked, watched, started again with
 * growing pauses, ended in order. A child has one slot for as long as the
 * master lives; what it was told and what it answered is in its slot and dies
 * with the process. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/master_impl.h"
#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"

#define CHILD_FDS                                                            \
    10                /* 0, 1, 2, control, three sockets, configuration, one \
                         socket more, pages */
#define CHILD_ARGS 12 /* words of a child's command, NULL included */

const char *child_title(char out[CHILD_TITLE_SIZE], const struct child *c)
{
    snprintf(out, CHILD_TITLE_SIZE, "%.32s/%u", c->conf->role, c->conf->slot);
    return out;
}

const char *child_state_name(const struct child *c)
{
    static const char *const names[] = {"down", "back-off", "starting", "ready",
        "being replaced", "stopping", "ended", "failed"};

    if (c->state == CHILD_READY && standing_drain(c))
        return "draining";
    return names[c->state];
}

bool child_runs(const struct child *c)
{
    return c->alive && c->state != CHILD_DOWN && c->state != CHILD_BACKOFF &&
           c->state != CHILD_ENDED && c->state != CHILD_FAILED;
}

bool child_is(const struct child *c, const char *role)
{
    return strcmp(c->conf->role, role) == 0;
}

bool child_answers(const struct child *c)
{
    uint64_t now = clock_now(c->master->loop);

    return c->ctl && !(c->pinged && now - c->pinged_at > MASTER_HEARTBEAT_MS);
}

void child_send(struct child *c, json_t *m)
{
    if (c->ctl)
        ctl_send(c->ctl, m);
    else
        json_decref(m);
}

void child_send_ticket_key(struct child *c)
{
    if (strcmp(c->conf->role, "gateway") == 0)
        child_send(c, json_pack("{s:s,s:s}", "type", "ticket_key", "key",
                          c->master->ticket_key));
}

static void on_message(struct ctl *ctl, const json_t *m, void *arg)
{
    struct child *c = arg;
    const char *type = ctlmsg_type(m);

    c->heard_at = clock_now(c->master->loop);
    if (strcmp(type, "pong") == 0) {
        c->pinged = false;
    } else if (strcmp(type, "ready") == 0) {
        if (c->state == CHILD_STARTING) {
            c->state = CHILD_READY;
            master_child_up(c->master, c);
            reload_child_up(c->master, c);
        }
    } else if (strcmp(type, "failed") == 0 || strcmp(type, "worn") == 0) {
        free(c->failure);
        c->failure = xstrdup(ctlmsg_string(m, "message", "unknown error"));
        if (c->state == CHILD_READY && strcmp(type, "worn") == 0)
            c->state = CHILD_WORN;
    } else if (strcmp(type, "prepared") == 0 ||
               strcmp(type, "committed") == 0) {
        reload_on_answer(c->master, c, m);
    } else {
        control_on_answer(c->master, c, m);
    }
}

static void on_ctl_close(struct ctl *ctl, void *arg)
{
    struct child *c = arg;

    c->ctl = NULL; /* its end, or the watch over its heartbeat, is next */
}

/* Milliseconds to wait before the next start: none for the first
 * MASTER_RESTARTS deaths in the window, then longer each time. */
static uint64_t restart_delay(struct child *c, uint64_t now)
{
    uint64_t window = (uint64_t)(MASTER_RESTART_WINDOW * 1000);
    uint64_t *oldest = &c->deaths[c->ndeaths % MASTER_RESTARTS];
    bool often = c->ndeaths >= MASTER_RESTARTS && now - *oldest < window;

    *oldest = now;
    c->ndeaths++;
    if (now - c->spawned_at > window)
        c->backoff = 0; /* it served for a while */
    if (!often && c->backoff <= 0)
        return 0;
    c->backoff = c->backoff > 0 ? c->backoff * 2 : 1;
    if (c->backoff > MASTER_BACKOFF_MAX)
        c->backoff = MASTER_BACKOFF_MAX;
    return (uint64_t)(c->backoff * 1000);
}

/* One that found itself worn has served until then, and is no crash: the next
 * one starts at once, but not more than one a second. */
static uint64_t replace_delay(const struct child *c, uint64_t now)
{
    uint64_t due = c->spawned_at + MASTER_REPLACE_MS;

    return due > now ? due - now : 0;
}

static void on_restart_due(uv_timer_t *timer)
{
    children_restart(timer->data);
}

void children_restart(struct master *m)
{
    uint64_t now = clock_now(m->loop);
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (c->state != CHILD_BACKOFF || c->alive)
            continue;
        if (c->restart_at <= now)
            child_spawn(c);
        else if (c->restart_at < next)
            next = c->restart_at;
    }
    if (next != UINT64_MAX)
        uv_timer_start(&m->restart_timer, on_restart_due, next - now, 0);
    else
        uv_timer_stop(&m->restart_timer);
}

static void on_process_closed(uv_handle_t *handle)
{
    struct child *c = handle->data;
    struct master *m = c->master;

    c->alive = false;
    m->alive--;
    if (m->freed) {
        master_release(m);
        return;
    }
    if (c->state == CHILD_BACKOFF) {
        if (c->restart_at <= clock_now(m->loop))
            child_spawn(c);
        else
            children_restart(m);
    }
    master_child_down(m);
}

static bool ends_for_good(const struct child *c, bool clean)
{
    return c->conf->restart == MASTER_NEVER ||
           (c->conf->restart == MASTER_ON_FAILURE && clean);
}

static void keep_reason(struct child *c, const char *why)
{
    free(c->last_end);
    c->last_end = xstrdup(c->failure ? c->failure : why);
}

/* Wait for the next start. */
static void back_off(struct child *c, const char *title, const char *why)
{
    bool worn = c->state == CHILD_WORN;
    uint64_t now = clock_now(c->master->loop);
    uint64_t delay = worn ? replace_delay(c, now) : restart_delay(c, now);

    c->state = CHILD_BACKOFF;
    c->restart_at = now + delay;
    c->restarts++;
    keep_reason(c, why);
    log_error("child ended, %s child=%s %s restart_in_s=%.0f",
        delay && !worn ? "too often, waiting" : "starting another one", title,
        why, (double)delay / 1000);
}

/* No other one takes its place. */
static void end_for_good(
    struct child *c, bool clean, const char *title, const char *why)
{
    c->state = clean ? CHILD_ENDED : CHILD_FAILED;
    if (!clean)
        keep_reason(c, why);
    log_write(clean ? LOG_NOTICE : LOG_ERROR, __FILE__,
        "child ended for good child=%s name=\"%s\" %s", title, c->conf->name,
        why);
}

/* The process is gone (or never was): decide what becomes of the child. clean:
 * it ended by itself and found nothing wrong. why is for people. */
static void end_process(struct child *c, bool clean, const char *why)
{
    struct master *m = c->master;
    enum child_state before = c->state;
    char title[CHILD_TITLE_SIZE];

    child_title(title, c);
    if (c->ctl)
        ctl_close(c->ctl);
    c->ctl = NULL;
    c->state = CHILD_DOWN;
    reload_child_down(m, c);
    control_child_down(m, c);
    c->state = before;
    if (before == CHILD_STOPPING || (m->stopping && !m->graceful)) {
        c->state = CHILD_DOWN;
        log_write(clean ? LOG_INFO : LOG_ERROR, __FILE__,
            "child ended child=%s %s", title, why);
    } else if (!m->started && !c->was_ready) {
        c->state = CHILD_DOWN;
        log_error("child never became ready child=%s %s", title, why);
        master_child_lost(m, c, why);
    } else if (ends_for_good(c, clean)) {
        end_for_good(c, clean, title, why);
    } else {
        back_off(c, title, why);
    }
    if (c->failure && m->started && before != CHILD_WORN)
        log_block(LOG_ERROR, c->failure); /* a worn one has told that itself */
    uv_close((uv_handle_t *)&c->process, on_process_closed);
    bulletin_write(m);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct child *c = process->data;
    char why[96];

    if (signal)
        snprintf(why, sizeof(why), "pid=%d signal=%d reason=\"%s\"",
            process->pid, signal, c->killed ? "hung" : strsignal(signal));
    else
        snprintf(why, sizeof(why), "pid=%d exit_status=%d", process->pid,
            (int)status);
    end_process(c, signal == 0 && status == 0, why);
}

static int run_process(struct child *c, int control_fd, int desk_fd)
{
    const struct master_conf *conf = c->master->conf;
    uv_stdio_container_t stdio[CHILD_FDS] = {0};
    uv_process_options_t options = {0};
    const char *args[CHILD_ARGS] = {0};
    char title[160], slot[16];
    size_t n = 1;
    int fds[CHILD_FDS] = {-1, STDOUT_FILENO, STDERR_FILENO, control_fd,
        c->conf->fds[0], desk_fd >= 0 ? desk_fd : c->conf->fds[1],
        c->conf->fds[2], conf->config_fd, c->conf->fds[3],
        conf->pages_fd > 0 ? conf->pages_fd : -1};

    snprintf(slot, sizeof(slot), "%u", c->conf->slot);
    snprintf(title, sizeof(title), "gwrun: %s process  %s %s", c->conf->role,
        c->conf->name, slot);
    args[0] = title;
    for (size_t i = 1; conf->argv[i] && n < CHILD_ARGS - 4; i++)
        args[n++] = conf->argv[i];
    args[n++] = "child";
    args[n++] = c->conf->role;
    args[n] = slot;
    for (int i = 0; i < CHILD_FDS; i++) {
        stdio[i].flags = fds[i] >= 0 ? UV_INHERIT_FD : UV_IGNORE;
        stdio[i].data.fd = fds[i];
    }
    options.file = conf->argv[0];
    options.args = (char **)args;
    options.exit_cb = on_process_exit;
    options.stdio = stdio;
    options.stdio_count = CHILD_FDS;
    return uv_spawn(c->master->loop, &c->process, &options);
}

static const struct ctl_ops child_ctl_ops = {on_message, on_ctl_close};

void child_spawn(struct child *c)
{
    struct master *m = c->master;
    char title[CHILD_TITLE_SIZE], why[96];
    int pair[2] = {-1, -1};
    int desk, err;

    c->state = CHILD_STARTING;
    c->killed = c->pinged = false;
    c->spawned_at = c->heard_at = clock_now(m->loop);
    free(c->failure);
    c->failure = NULL;
    memset(&c->process, 0, sizeof(c->process));
    c->process.data = c;
    c->alive = true;
    m->alive++;
    /* without a pair the child finds no descriptor 3 and ends at once */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        log_error("no socket pair for a child: %s", strerror(errno));
    desk = c->conf->asks ? control_desk(m) : -1;
    err = run_process(c, pair[1], desk);
    if (desk >= 0)
        close(desk);
    if (pair[1] >= 0)
        close(pair[1]);
    if (err < 0) {
        if (pair[0] >= 0)
            close(pair[0]);
        snprintf(why, sizeof(why), "cannot be started: %s", uv_strerror(err));
        end_process(c, false, why);
        return;
    }
    if (pair[0] >= 0)
        c->ctl = ctl_open(m->turn, pair[0], &child_ctl_ops, c);
    child_send_ticket_key(c);
    standing_repeat(c);
    bulletin_write(m);
    log_info(
        "child started child=%s pid=%d", child_title(title, c), c->process.pid);
}

void child_stop(struct child *c, bool graceful)
{
    if (child_runs(c)) {
        c->state = CHILD_STOPPING;
        child_send(
            c, json_pack("{s:s,s:b}", "type", "stop", "graceful", graceful));
    } else {
        c->state = CHILD_DOWN;
    }
}

static void send_signal(struct child *c, int signal)
{
    if (c->alive && !uv_is_closing((uv_handle_t *)&c->process))
        uv_process_kill(&c->process, signal);
}

void child_kill(struct child *c)
{
    send_signal(c, SIGKILL);
}

void child_end_hanging(struct child *c)
{
    bool can_speak = strcmp(c->conf->role, "worker") == 0 && !c->killed;

    c->killed = true;
    send_signal(c, can_speak ? MASTER_HANG_SIGNAL : SIGKILL);
}

void child_forget(struct child *c)
{
    if (c->ctl)
        ctl_close(c->ctl);
    c->ctl = NULL;
    child_kill(c);
    if (c->alive && !uv_is_closing((uv_handle_t *)&c->process))
        uv_close((uv_handle_t *)&c->process, on_process_closed);
}
