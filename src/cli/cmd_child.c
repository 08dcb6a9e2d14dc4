/* One process of the system: a role on a loop, obeying the master at
 * descriptor 3. Started by the master only. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "master/master.h"
#include "net/clock.h"
#include "net/dialer.h"
#include "proc/ctl.h"
#include "proc/daemon.h"
#include "proc/shared.h"
#include "role/consoles.h"
#include "role/listings.h"
#include "role/orders.h"
#include "role/plan.h"
#include "role/role.h"
#include "role/rundir.h"
#include "role/slots.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"
#include "util/tallies.h"

#define LAST_RESORT 2   /* seconds after stop_timeout: SIGALRM */
#define STOP_SHARE  0.4 /* of stop_timeout, for one role after the other */
/* What a start takes: a register that is not there yet is no warning. */
#define START_TOGETHER_MS 1000

struct child_process {
    uv_loop_t loop;
    struct config config;
    struct turn *turn;     /* owned */
    struct ctl *ctl;       /* owned; NULL once the master is gone */
    struct role *role;     /* owned; NULL when it could not start */
    struct shared *shared; /* owned; of a worker or program, or NULL */
    struct pages *pages;   /* owned; where there is an operators' port */
    struct page *page;     /* borrowed of them; NULL: there is none */
    struct worker_neighbour *neighbours; /* owned; of those, or NULL */
    char claims[CLAIMS_PREFIX_SIZE];     /* of gateways and workers */
    char *book_folder;                   /* owned; or NULL */
    uv_signal_t terminate;
    struct consoles consoles;
    struct listings listings;
    int64_t reload_run; /* number of the reload under way */
    bool has_config;
    bool stopping; /* for good; not while waiting for clients to leave */
    int status;    /* to exit with */
};

static void tell(struct child_process *p, json_t *m)
{
    if (p->ctl)
        ctl_send(p->ctl, m);
    else
        json_decref(m);
}

static double stop_share(const struct config *c)
{
    double share = c->stop_timeout * STOP_SHARE;

    return c->drain_time < share ? c->drain_time : share;
}

/* Once; a graceful stop may become an ordinary one. A script that does not
 * come back is ended by the alarm, should the master be gone. */
static void stop(struct child_process *p, bool graceful)
{
    if (!p->role || p->stopping)
        return;
    p->stopping = !graceful;
    if (!graceful)
        alarm((unsigned)p->config.stop_timeout + LAST_RESORT);
    role_stop(p->role, graceful, stop_share(&p->config));
}

static void on_ready(void *arg)
{
    struct child_process *p = arg;

    tell(p, json_pack("{s:s}", "type", "ready"));
}

/* The message is for whoever started or reloads us; the master logs it. */
static void on_failed(const char *message, void *arg)
{
    struct child_process *p = arg;

    tell(p, json_pack("{s:s,s:o}", "type", "failed", "message",
                ctlmsg_text(message)));
    p->status = CLI_FAILED;
    uv_stop(&p->loop);
}

static void on_ended(int status, void *arg)
{
    struct child_process *p = arg;

    p->status = status;
    uv_stop(&p->loop);
}

static void on_stopped(void *arg)
{
    struct child_process *p = arg;

    uv_stop(&p->loop);
}

/* The master puts another one in our place. */
static void on_worn(const char *message, void *arg)
{
    struct child_process *p = arg;

    log_error("to be replaced: %s", message);
    tell(p, json_pack("{s:s,s:s}", "type", "worn", "message", message));
    stop(p, false);
}

/* scripts: how many wait for the verdict here. */
static void answer_prepare(
    struct child_process *p, int scripts, const char *message)
{
    json_t *answer = json_pack("{s:s,s:I,s:i}", "type", "prepared", "run",
        (json_int_t)p->reload_run, "scripts", scripts);

    if (message)
        json_object_set_new(answer, "message", ctlmsg_text(message));
    tell(p, answer);
}

static void on_prepared(const char *message, void *arg)
{
    answer_prepare(arg, message ? 0 : 1, message);
}

static void prepare(struct child_process *p, const json_t *m)
{
    char err[256] = "";
    int result;

    p->reload_run = ctlmsg_int(m, "run", 0);
    if (p->stopping) {
        answer_prepare(p, 0, "is stopping");
        return;
    }
    result = role_prepare(p->role, m, err);
    if (result <= 0) /* else on_prepared() answers */
        answer_prepare(p, 0, result < 0 ? err : NULL);
}

static void commit(struct child_process *p)
{
    role_commit(p->role);
    tell(p, json_pack("{s:s,s:I}", "type", "committed", "run",
                (json_int_t)p->reload_run));
}

static void send_answer(json_t *m, void *arg)
{
    tell(arg, m);
}

static void reopen_log(const struct child_process *p, const json_t *m)
{
    const char *path = ctlmsg_string(m, "path", NULL);
    int err = path ? daemon_redirect(path) : 0;

    if (err < 0)
        log_error("cannot open the log again: %s", strerror(-err));
    if (p->role && role_gateway(p->role))
        gateway_reopen_log(role_gateway(p->role));
}

/* About once a second: a good time to tell what was counted. */
static void answer_ping(struct child_process *p)
{
    role_tell(p->role);
    tell(p, json_pack("{s:s}", "type", "pong"));
}

static void on_message(struct ctl *ctl, const json_t *m, void *arg)
{
    struct child_process *p = arg;
    const char *type = ctlmsg_type(m);
    int64_t gather = ctlmsg_int(m, "gather", 0); /* the question's number */

    if (strcmp(type, "ping") == 0)
        answer_ping(p);
    else if (strcmp(type, "stop") == 0)
        stop(p, json_is_true(json_object_get(m, "graceful")));
    else if (strcmp(type, "status") == 0)
        tell(p, json_pack("{s:s,s:I,s:o,s:o}", "type", "status", "gather",
                    (json_int_t)gather, "counters", role_status(p->role),
                    "links", role_links(p->role)));
    else if (strcmp(type, "connections") == 0)
        tell(p, listings_next(&p->listings, role_gateway(p->role), gather, m));
    else if (strcmp(type, "connections_left") == 0)
        listings_leave(&p->listings, gather);
    else if (strcmp(type, "order") == 0)
        tell(p, orders_run(role_gateway(p->role), m));
    else if (strcmp(type, "eval") == 0)
        consoles_run(&p->consoles, role_vm(p->role), m);
    else if (strcmp(type, "eval_left") == 0)
        consoles_leave(&p->consoles, gather);
    else if (strcmp(type, "ticket_key") == 0)
        role_set_ticket_key(p->role, ctlmsg_string(m, "key", ""));
    else if (strcmp(type, "prepare") == 0)
        prepare(p, m);
    else if (strcmp(type, "commit") == 0)
        commit(p);
    else if (strcmp(type, "abort") == 0)
        role_abort(p->role);
    else if (strcmp(type, "reopen_log") == 0)
        reopen_log(p, m);
}

static void on_master_gone(struct ctl *ctl, void *arg)
{
    struct child_process *p = arg;

    p->ctl = NULL;
    log_error("the master is gone, stopping");
    stop(p, false);
}

static const struct ctl_ops ctl_ops = {on_message, on_master_gone};

static void on_terminate(uv_signal_t *handle, int signal)
{
    stop(handle->data, false);
}

static struct child_process *process; /* for the signal handler */

/* The master finds that we hang, and kills. What is called here reads memory
 * and writes to a socket, nothing else: a signal may come at any point. */
static void on_hanging(int signum)
{
    if (process->role)
        role_tell_hanging(process->role);
    raise(SIGKILL);
}

static void listen_for_hanging(void)
{
    const struct sigaction action = {.sa_handler = on_hanging};

    sigaction(MASTER_HANG_SIGNAL, &action, NULL);
}

/* What the terminal or a careless killall sends to the whole group is the
 * master's to decide about. */
static void ignore_signals(void)
{
    static const int signals[] = {
        SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_IGN);
}

/* Become what the configuration wants, before anything is served. NULL, or what
 * is wrong; the caller frees it. */
static char *settle(
    struct child_process *p, const char *path, const char *role, unsigned slot)
{
    char *err = NULL;
    char line[256];
    unsigned index;

    p->has_config =
        config_load_kept(&p->config, path, PLAN_FD_CONFIG, &err) == 0;
    close(PLAN_FD_CONFIG);
    if (!p->has_config)
        return err;
    config_forget_keys(&p->config, strcmp(role, "gateway") == 0
                                       ? slots_gateway(&p->config, slot, &index)
                                       : NULL);
    if (strcmp(role, "admin") != 0)
        config_forget_admin_key(&p->config);
    log_set_level((enum log_level)p->config.log_level);
    log_set_json(p->config.log_json);
    daemon_raise_fd_limit();
    if (chdir(p->config.root) < 0)
        return xasprintf(
            "cannot enter %s: %s", p->config.root, strerror(errno));
    if (daemon_drop_privileges(p->config.user, p->config.group, line) < 0)
        return xstrdup(line);
    return NULL;
}

/* Set titles for ps and the log; descriptors do not go on to other programs.
 * The master gave the long title as argv[0]. */
static void introduce(const char *role, unsigned slot)
{
    char title[160], name[32], comm[48];

    snprintf(name, sizeof(name), "%.16s/%u", role, slot);
    log_set_name(name);
    if (uv_get_process_title(title, sizeof(title)) == 0)
        uv_set_process_title(title);
    snprintf(comm, sizeof(comm), "gwrun %s", name);
    prctl(PR_SET_NAME, comm, 0, 0, 0);
    log_to_stderr();
    for (int fd = PLAN_FD_CONTROL; fd <= PLAN_FD_PAGES; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Between the processes of a machine; roles that share one end together. */
static void name_claims(struct child_process *p)
{
    rundir_claims_prefix(&p->config, p->claims);
    for (size_t i = 0; i < p->config.ngateways; i++)
        p->config.gateways[i].conf.claims = p->claims;
    for (size_t i = 0; i < p->config.nworkers; i++)
        p->config.workers[i].conf.claims = p->claims;
}

/* What a script counts, where there is an operators' port. */
static void open_script_pages(struct child_process *p, struct worker_conf *conf)
{
    if (!p->page)
        return;
    conf->series = page_series(p->page);
    conf->tallies = page_tallies(p->page);
    tallies_begin(conf->tallies);
}

/* What a worker has from those before it, and from the others. */
static void open_worker_memory(struct child_process *p, unsigned slot)
{
    unsigned index;
    struct config_workers *w = slots_workers(&p->config, slot, &index);

    if (!w)
        return; /* role_new() says so */
    w->conf.neighbours = p->neighbours = rundir_neighbours(&p->config);
    p->shared = w->conf.shared = shared_open(PLAN_FD_SHARED);
    w->conf.sources_fd = PLAN_FD_SOURCES;
    w->conf.discovery.kept_fd = plan_kept_fd();
    w->conf.measures = p->page != NULL;
    w->conf.faults = p->page ? page_faults(p->page) : NULL;
    w->conf.timings = p->page ? page_timings(p->page) : NULL;
    open_script_pages(p, &w->conf);
}

/* Where gateways of this machine keep their books, and its workers ask. */
static void find_books(struct child_process *p)
{
    struct config *c = &p->config;

    p->book_folder = rundir_books(c);
    for (size_t i = 0; i < c->ngateways; i++) {
        c->gateways[i].conf.book_folder = p->book_folder;
        c->gateways[i].conf.book_session = c->book_session;
    }
    for (size_t i = 0; i < c->nworkers; i++)
        c->workers[i].conf.book_folder = p->book_folder;
}

static void open_program_memory(struct child_process *p, unsigned slot)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* into the log, as what others write */
    if (slot < p->config.nprograms) {
        struct worker_conf *conf = &p->config.programs[slot].conf;

        conf->neighbours = p->neighbours = rundir_neighbours(&p->config);
        p->shared = conf->shared = shared_open(PLAN_FD_SHARED);
        conf->discovery.kept_fd = plan_kept_fd();
        open_script_pages(p, conf);
    }
}

/* Where there is an operators' port. */
static void open_pages(struct child_process *p, const char *role, unsigned slot)
{
    p->pages = p->config.pages = pages_open(PLAN_FD_PAGES);
    if (p->pages)
        p->page = slots_page(&p->config, p->pages, role, slot);
}

static void share_numbers(struct child_process *p)
{
    if (!p->page)
        return;
    role_measure(p->role, p->turn);
    role_share(p->role, p->page);
}

static void serve(
    struct child_process *p, const char *path, const char *role, unsigned slot)
{
    static const struct role_events events = {.on_ready = on_ready,
        .on_failed = on_failed,
        .on_stopped = on_stopped,
        .on_ended = on_ended,
        .on_worn = on_worn,
        .on_prepared = on_prepared};
    const struct role_slot place = {.kind = role,
        .number = slot,
        .fds = {PLAN_FD_SOCKET, PLAN_FD_INNER, PLAN_FD_IDS, plan_local_fd()}};
    char err[256] = "";
    char *message = settle(p, path, role, slot);

    if (!message)
        name_claims(p);
    if (!message)
        find_books(p);
    if (!message && p->config.admin.listen)
        open_pages(p, role, slot);
    if (!message && strcmp(role, "worker") == 0)
        open_worker_memory(p, slot);
    if (!message && strcmp(role, "program") == 0)
        open_program_memory(p, slot);
    if (!message)
        role_new(&p->role, &p->loop, &place, &p->config, &events, p, err);
    if (p->role) {
        share_numbers(p);
        uv_run(&p->loop, UV_RUN_DEFAULT);
        role_tell(p->role);
        turn_measure(p->turn, NULL);
    } else {
        on_failed(message ? message : err, p);
    }
    free(message);
}

/* Close all and let the loop finish it. */
static void wind_up(struct child_process *p)
{
    if (p->role)
        role_free(p->role);
    p->role = NULL;
    if (p->ctl)
        ctl_close(p->ctl);
    uv_close((uv_handle_t *)&p->terminate, NULL);
    turn_close(p->turn);
    cli_close_loop(&p->loop, p->status);
    listings_fini(&p->listings);
    pages_close(p->pages);
    if (p->has_config) {
        shared_close(p->shared);
        free(p->neighbours);
        free(p->book_folder);
        config_free(&p->config);
    }
}

int cmd_child(int argc, char **argv)
{
    struct child_process p = {0};
    struct cli_options o;
    unsigned slot;
    int status = cli_parse(&o, argc, argv, "c", 2,
        "usage: gwrun child ROLE SLOT\n\nOnly the master starts these.\n");

    if (status >= 0)
        return status;
    if (argc - optind != 2 || fcntl(PLAN_FD_CONTROL, F_GETFD) < 0) {
        cli_error("child: only the master starts these");
        return CLI_WRONG;
    }
    slot = (unsigned)strtoul(argv[optind + 1], NULL, 10);
    ignore_signals();
    introduce(argv[optind], slot);
    process = &p;
    if (strcmp(argv[optind], "worker") == 0)
        listen_for_hanging();
    if (strcmp(argv[optind], "worker") == 0 ||
        strcmp(argv[optind], "program") == 0)
        daemon_prefer_as_victim(); /* clients and events outlive it */
    dialer_start_together(START_TOGETHER_MS);
    clock_loop_init(&p.loop);
    p.turn = turn_new(&p.loop);
    uv_signal_init(&p.loop, &p.terminate);
    p.terminate.data = &p;
    uv_signal_start(&p.terminate, on_terminate, SIGTERM);
    consoles_init(&p.consoles, send_answer, &p);
    listings_init(&p.listings);
    p.ctl = ctl_open(p.turn, PLAN_FD_CONTROL, &ctl_ops, &p);
    if (p.ctl)
        serve(&p, o.config, argv[optind], slot);
    else
        p.status = CLI_FAILED;
    wind_up(&p);
    return p.status;
}
