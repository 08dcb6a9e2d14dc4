/* The master's answers to gwrun status, reload, stop and the like, on the
 * control socket. A question that needs the children waits for each of them,
 * or for its time to be over; a caller that goes away takes nothing with it
 * but its own question. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/master_impl.h"
#include "net/clock.h"
#include "net/handle.h"
#include "proc/notify.h"
#include "util/alloc.h"
#include "util/log.h"

/* What is expected of a child that was put a question. */
enum part {
    PART_NONE,  /* it has said all, or was not asked */
    PART_ASKED, /* it has to answer in time */
    PART_MORE,  /* it goes on when the command has asked for more */
};

/* A connected gwrun command: at most one question at a time. */
struct command {
    struct list node;
    struct master *master; /* borrowed */
    struct ctl *ctl;       /* owned */
    bool limited;          /* of a child: see control_desk() */
    unsigned reload_run;   /* its answer is awaited; 0: none */
    unsigned gather;       /* the number that children answer with; 0: none */
    const char *question;  /* "status", "connections", "order" or "eval" */
    json_t *asks;          /* owned; the command's message, handed on */
    struct child *asked;   /* borrowed; whom "eval" was put to, else NULL */
    enum part *parts;      /* owned; of each child */
    size_t nparts;         /* that are not PART_NONE */
    size_t nasked;         /* that are PART_ASKED */
    size_t nsilent;        /* children that did not answer in time */
    json_t *rows;          /* owned; of "status" */
    json_int_t clients;    /* that an "order" closed */
    size_t nobeyed;        /* gateways that did what an "order" says */
    char *wrong;           /* owned; why one did not, or NULL */
    uv_timer_t timer;      /* of the gathering */
};

static void answer_command(struct command *k, json_t *answer)
{
    ctl_send(k->ctl, answer);
}

static void refuse(struct command *k, const char *message)
{
    answer_command(
        k, json_pack("{s:s,s:s}", "type", "error", "message", message));
}

/* What the master itself knows of a child. */
static json_t *describe(const struct child *c)
{
    const struct master *m = c->master;
    bool alive = child_runs(c);
    json_int_t up = (json_int_t)(clock_now(m->loop) - c->spawned_at);

    return json_pack("{s:s,s:i,s:s,s:s,s:s,s:o,s:i,s:s?,s:I,s:b}", "role",
        c->conf->role, "slot", (int)c->conf->slot, "name", c->conf->name,
        "listen", c->conf->listen, "state", child_state_name(c), "pid",
        alive ? json_integer(c->process.pid) : json_null(), "restarts",
        (int)c->restarts, "last_end", c->last_end, "uptime_ms",
        alive ? up : (json_int_t)0, "answering", 0);
}

static void end_gathering(struct command *k)
{
    struct master *m = k->master;

    uv_timer_stop(&k->timer);
    k->gather = 0;
    json_decref(k->asks);
    k->asks = NULL;
    if (strcmp(k->question, "order") == 0)
        answer_command(
            k, json_pack("{s:s,s:I,s:I,s:I,s:s*}", "type", "order", "clients",
                   k->clients, "gateways", (json_int_t)k->nobeyed, "unanswered",
                   (json_int_t)k->nsilent, "message", k->wrong));
    else if (strcmp(k->question, "status") == 0)
        answer_command(
            k, json_pack("{s:s,s:s,s:i,s:I,s:i,s:b,s:O}", "type", "status",
                   "version", GWRUN_VERSION, "pid", (int)getpid(), "uptime_ms",
                   (json_int_t)(clock_now(m->loop) - m->began), "generation",
                   (int)m->reload.generation, "stopping", m->stopping,
                   "processes", k->rows));
    else
        answer_command(k, json_pack("{s:s,s:I}", "type", "connections_end",
                              "unanswered", (json_int_t)k->nsilent));
    json_decref(k->rows);
    k->rows = NULL;
    free(k->parts);
    k->parts = NULL;
}

static void set_part(struct command *k, size_t index, enum part part)
{
    k->nparts -= k->parts[index] != PART_NONE;
    k->nasked -= k->parts[index] == PART_ASKED;
    k->parts[index] = part;
    k->nparts += part != PART_NONE;
    k->nasked += part == PART_ASKED;
}

/* Nobody else has clients to tell of. */
static bool lists_clients(const struct child *c)
{
    return strcmp(c->conf->role, "gateway") == 0;
}

/* The child need not keep what it would list next. */
static void leave_list(struct command *k, size_t index)
{
    if (strcmp(k->question, "connections") == 0)
        child_send(&k->master->children[index],
            json_pack("{s:s,s:i}", "type", "connections_left", "gather",
                (int)k->gather));
}

static void on_gather_timeout(uv_timer_t *timer)
{
    struct command *k = timer->data;

    for (size_t i = 0; i < k->master->conf->nchildren; i++) {
        if (k->parts[i] != PART_ASKED)
            continue;
        leave_list(k, i);
        set_part(k, i, PART_NONE);
        k->nsilent += lists_clients(&k->master->children[i]);
    }
    if (k->nparts == 0)
        end_gathering(k);
}

static void ask_child(struct command *k, size_t index)
{
    json_t *m = k->asks ? json_copy(k->asks) : json_object();

    json_object_set_new(m, "type", json_string(k->question));
    json_object_set_new(m, "gather", json_integer(k->gather));
    child_send(&k->master->children[index], m);
    set_part(k, index, PART_ASKED);
}

/* Put a question, with what else the message asks says, to all children that
 * run (an order: to those that it concerns); those that do not answer within
 * timeout_ms stay as the master sees them. */
static void gather(
    struct command *k, const char *question, json_t *asks, uint64_t timeout_ms)
{
    struct master *m = k->master;

    k->question = question;
    k->asks = json_incref(asks);
    k->clients = 0;
    k->nobeyed = 0;
    free(k->wrong);
    k->wrong = NULL;
    k->gather = ++m->gathers;
    k->rows = json_array();
    k->parts = xcalloc(m->conf->nchildren, sizeof(*k->parts));
    k->nsilent = 0;
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        json_array_append_new(k->rows, describe(c));
        if (strcmp(question, "order") == 0 && !standing_concern(asks, c))
            continue;
        if (child_answers(c))
            ask_child(k, i);
        else if (c->ctl) /* it hangs */
            k->nsilent += lists_clients(c);
    }
    uv_timer_start(&k->timer, on_gather_timeout, k->nparts ? timeout_ms : 0, 0);
}

/* The command has read what the child in this row said, and wants the rest. */
static void ask_for_more(struct command *k, const json_t *m)
{
    int64_t index = ctlmsg_int(m, "row", -1);

    if (!k->parts || index < 0 || (size_t)index >= k->master->conf->nchildren ||
        k->parts[index] != PART_MORE)
        return; /* it has ended meanwhile */
    ask_child(k, (size_t)index);
    uv_timer_start(&k->timer, on_gather_timeout, MASTER_CONNECTIONS_MAX_MS, 0);
}

static void forget_child(struct command *k, size_t index)
{
    if (!k->parts || k->parts[index] == PART_NONE)
        return;
    set_part(k, index, PART_NONE);
    if (k->nparts == 0)
        end_gathering(k);
}

/* It has ended, and with it what it had to say. */
static void lose_child(struct command *k, size_t index)
{
    if (k->parts && k->parts[index] != PART_NONE)
        k->nsilent += lists_clients(&k->master->children[index]);
    forget_child(k, index);
}

/* ---- eval: a question to one worker, answered in parts ---- */

/* The worker of that slot, or, with a name, of that index among its kind. */
static struct child *find_worker(
    struct master *m, const char *name, int64_t number)
{
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        struct child *c = &m->children[i];

        if (!child_is(c, "worker"))
            continue;
        if (name ? strcmp(c->conf->name, name) == 0 && number-- == 0
                 : c->conf->slot == number)
            return c;
    }
    return NULL;
}

static void refuse_eval(
    struct command *k, const json_t *m, const struct child *c)
{
    const char *name = ctlmsg_string(m, "name", NULL);
    char *line = xasprintf("there is no worker %s%s%lld%s%s", name ? name : "",
        name ? ":" : "", (long long)ctlmsg_int(m, "slot", 0),
        c ? " now: it is " : "; gwrun status lists them",
        c ? child_state_name(c) : "");

    refuse(k, line);
    free(line);
}

static void ask_worker(struct command *k, const json_t *m)
{
    json_t *code = json_object_get(m, "code");
    struct child *c = find_worker(
        k->master, ctlmsg_string(m, "name", NULL), ctlmsg_int(m, "slot", 0));

    if (!json_is_string(code)) {
        refuse(k, "\"eval\" needs \"code\"");
        return;
    }
    if (!c || c->state != CHILD_READY) {
        refuse_eval(k, m, c);
        return;
    }
    k->question = "eval";
    k->gather = ++k->master->gathers;
    k->asked = c;
    child_send(c, json_pack("{s:s,s:i,s:O}", "type", "eval", "gather",
                      (int)k->gather, "code", code));
}

static void end_eval(struct command *k)
{
    k->gather = 0;
    k->asked = NULL;
}

static void take_part(struct command *k, const json_t *part)
{
    answer_command(k, json_deep_copy(part));
    if (!json_is_true(json_object_get(part, "more")))
        end_eval(k);
}

/* ---- what children say ---- */

void control_child_down(struct master *m, struct child *c)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &m->commands) {
        struct command *k = LIST_ENTRY(node, struct command, node);

        if (k->asked == c) {
            end_eval(k);
            refuse(k, "the worker has ended");
        } else if (!k->asked) {
            lose_child(k, (size_t)(c - m->children));
        }
    }
}

static void take_obedience(struct command *k, const json_t *answer)
{
    const char *wrong = ctlmsg_string(answer, "message", NULL);

    k->clients += ctlmsg_int(answer, "clients", 0);
    k->nobeyed += !wrong;
    if (wrong && !k->wrong)
        k->wrong = xstrdup(wrong);
}

/* One child's part of the answer; "more": it has another one. */
static void take_answer(
    struct command *k, const struct child *c, const json_t *answer)
{
    size_t index = (size_t)(c - k->master->children);
    bool more = json_is_true(json_object_get(answer, "more"));
    json_t *row;

    if (k->parts[index] != PART_ASKED)
        return;
    if (strcmp(k->question, "status") == 0) {
        row = json_array_get(k->rows, index);
        json_object_set(row, "counters", json_object_get(answer, "counters"));
        json_object_set(row, "links", json_object_get(answer, "links"));
        json_object_set_new(row, "answering", json_true());
    } else if (strcmp(k->question, "order") == 0) {
        take_obedience(k, answer);
    } else {
        answer_command(
            k, json_pack("{s:s,s:s,s:i,s:O?,s:i,s:b}", "type", "connections",
                   "name", c->conf->name, "slot", (int)c->conf->slot, "rows",
                   json_object_get(answer, "rows"), "row", (int)index, "more",
                   more));
    }
    if (!more) {
        forget_child(k, index);
        return;
    }
    set_part(k, index, PART_MORE);
    if (k->nasked == 0)
        uv_timer_stop(&k->timer); /* the command may take its time */
}

void control_on_answer(struct master *m, struct child *c, const json_t *answer)
{
    int64_t number = ctlmsg_int(answer, "gather", 0);
    const char *type = ctlmsg_type(answer);
    struct list *node;

    LIST_FOREACH (node, &m->commands) {
        struct command *k = LIST_ENTRY(node, struct command, node);

        if (k->gather && number == k->gather &&
            strcmp(type, k->question) == 0) {
            if (k->asked)
                take_part(k, answer);
            else
                take_answer(k, c, answer);
            return;
        }
    }
}

void control_reloaded(struct master *m, unsigned run, json_t *answer)
{
    struct list *node;

    LIST_FOREACH (node, &m->commands) {
        struct command *k = LIST_ENTRY(node, struct command, node);

        if (k->reload_run == run) {
            k->reload_run = 0;
            answer_command(k, json_incref(answer));
        }
    }
}

/* The ports that are bound here: they are free for whoever comes after us. */
static json_t *list_ports(const struct master *m)
{
    json_t *ports = json_array();

    for (size_t i = 0; i < m->conf->nchildren; i++) {
        const struct master_child_conf *c = &m->conf->children[i];

        for (size_t k = 0; k < sizeof(c->fds) / sizeof(c->fds[0]); k++) {
            union addr a = {0};
            socklen_t len = sizeof(a);

            if (c->fds[k] >= 0 && getsockname(c->fds[k], &a.sa, &len) == 0 &&
                a.sa.sa_family != AF_UNIX)
                json_array_append_new(ports, json_integer(addr_port(&a)));
        }
    }
    return ports;
}

/* We run: it may ask. */
static void greet(struct command *k)
{
    const struct master *m = k->master;

    answer_command(
        k, json_pack("{s:s,s:i,s:b,s:b,s:o}", "type", "hello", "pid",
               (int)getpid(), "daemon", m->conf->log_file != NULL, "service",
               notify_is_wanted(), "ports", list_ports(m)));
}

static void stop_by_command(struct command *k, const json_t *m)
{
    struct master *master = k->master;

    answer_command(k, json_pack("{s:s,s:i,s:f,s:b}", "type", "stopping", "pid",
                          (int)getpid(), "timeout", master->conf->stop_timeout,
                          "daemon", master->conf->log_file != NULL));
    master_stop(master, json_is_true(json_object_get(m, "graceful")));
}

static void reload_by_command(struct command *k, const json_t *m)
{
    const char *name = ctlmsg_string(m, "name", NULL);
    char *line;

    k->reload_run = reload_request(k->master, name);
    if (k->reload_run > 0)
        return;
    line = xasprintf("no workers and no program here are named \"%s\"; gwrun "
                     "status lists those there are",
        name);
    refuse(k, line);
    free(line);
}

static void order_by_command(struct command *k, const json_t *m)
{
    const char *wrong = standing_take(k->master, m);

    bulletin_write(k->master); /* who drains */
    if (wrong)
        refuse(k, wrong);
    else
        gather(k, "order", (json_t *)m, MASTER_CONNECTIONS_MAX_MS);
}

/* It has read what it wanted of a list. */
static void leave_question(struct command *k)
{
    if (!k->parts)
        return;
    for (size_t i = 0; i < k->master->conf->nchildren; i++) {
        if (k->parts[i] != PART_NONE)
            leave_list(k, i);
        set_part(k, i, PART_NONE);
    }
    end_gathering(k);
}

static bool may_ask(const struct command *k, const json_t *m)
{
    const char *type = ctlmsg_type(m);

    return !k->limited || strcmp(type, "connections") == 0 ||
           strcmp(type, "more") == 0 || strcmp(type, "enough") == 0 ||
           (strcmp(type, "order") == 0 &&
               strcmp(ctlmsg_string(m, "do", ""), "kick") == 0);
}

static void on_command(struct ctl *ctl, const json_t *m, void *arg)
{
    struct command *k = arg;
    const char *type = ctlmsg_type(m);

    if (!may_ask(k, m))
        refuse(k, "that is not for this process to ask");
    else if (strcmp(type, "more") == 0)
        ask_for_more(k, m);
    else if (strcmp(type, "enough") == 0)
        leave_question(k);
    else if (k->gather || k->reload_run)
        refuse(k, "one question at a time");
    else if (strcmp(type, "hello") == 0)
        greet(k);
    else if (strcmp(type, "status") == 0)
        gather(k, "status", NULL, MASTER_STATUS_MAX_MS);
    else if (strcmp(type, "connections") == 0)
        gather(k, "connections", (json_t *)m, MASTER_CONNECTIONS_MAX_MS);
    else if (strcmp(type, "order") == 0)
        order_by_command(k, m);
    else if (strcmp(type, "eval") == 0)
        ask_worker(k, m);
    else if (strcmp(type, "reload") == 0 && k->master->stopping)
        refuse(k, "the system is stopping");
    else if (strcmp(type, "reload") == 0)
        reload_by_command(k, m);
    else if (strcmp(type, "stop") == 0)
        stop_by_command(k, m);
    else
        refuse(k, "unknown command");
}

/* Its connection is closed already. */
static void free_command(struct command *k)
{
    if (k->asked)
        child_send(k->asked, json_pack("{s:s,s:i}", "type", "eval_left",
                                 "gather", (int)k->gather));
    for (size_t i = 0; k->parts && i < k->master->conf->nchildren; i++) {
        if (k->parts[i] != PART_NONE)
            leave_list(k, i);
    }
    list_remove(&k->node);
    k->master->ncommands -= !k->limited;
    json_decref(k->rows);
    json_decref(k->asks);
    free(k->wrong);
    free(k->parts);
    handle_close(&k->timer, k);
}

static void on_command_close(struct ctl *ctl, void *arg)
{
    free_command(arg);
}

static const struct ctl_ops command_ops = {on_command, on_command_close};

/* Takes ownership of fd. NULL: it is closed. */
static struct command *add_command(struct master *m, int fd, bool limited)
{
    struct command *k = xcalloc(1, sizeof(*k));

    k->master = m;
    k->limited = limited;
    k->ctl = ctl_open(m->turn, fd, &command_ops, k);
    if (!k->ctl) {
        free(k);
        return NULL;
    }
    uv_timer_init(m->loop, &k->timer);
    k->timer.data = k;
    list_push_back(&m->commands, &k->node);
    m->ncommands += !limited;
    return k;
}

static void on_accept(
    struct listener *l, int fd, const union addr *peer, void *arg)
{
    struct master *m = arg;

    if (m->ncommands < MASTER_CONTROLS_MAX) {
        add_command(m, fd, false);
        return;
    }
    log_warn("too many gwrun commands at once, refusing one");
    close(fd);
}

int control_desk(struct master *m)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    if (!add_command(m, pair[0], true)) {
        close(pair[1]);
        return -1;
    }
    return pair[1];
}

int control_open(struct master *m, char err[256])
{
    int fd = listener_bind_unix(m->conf->control_path);
    int result =
        fd < 0 ? fd : listener_open(&m->control, m->loop, fd, on_accept, m);

    if (result == 0)
        return 0;
    if (fd >= 0)
        close(fd);
    snprintf(err, 256, "cannot open the control socket %.150s: %s",
        m->conf->control_path, uv_strerror(result));
    return result;
}

void control_close(struct master *m)
{
    struct list *node, *tmp;

    if (m->control) {
        listener_close(m->control);
        unlink(m->conf->control_path);
    }
    m->control = NULL;
    LIST_FOREACH_SAFE (node, tmp, &m->commands) {
        struct command *k = LIST_ENTRY(node, struct command, node);

        ctl_close(k->ctl);
        free_command(k);
    }
}
