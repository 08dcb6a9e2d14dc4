/* gwrun start: prove the configuration, bind, and be the master until told to
 * stop. It owns the run: the lock on run_dir, the plan of children, the log,
 * the terminal's table, and the answer to whoever started a daemon. Ports are
 * bound and certificates read before privileges are dropped; nothing is
 * announced before every child is ready. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/prove.h"
#include "cli/table.h"
#include "net/clock.h"
#include "proc/daemon.h"
#include "role/plan.h"
#include "role/rundir.h"
#include "role/slots.h"
#include "util/alloc.h"
#include "util/log.h"

static const char help[] =
    "usage: gwrun start [-d] [-q] [-c FILE]\n\n"
    "Start everything that the configuration names. Stays in the foreground\n"
    "and logs to the terminal; Ctrl-C stops it.\n\n"
    "  -d, --daemon       run in the background, log to the log file\n"
    "  -q, --quiet        no table\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static const int signals_handled[] = {
    SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP};
#define SIGNALS (sizeof(signals_handled) / sizeof(signals_handled[0]))

/* One run of the master, from the lock to the last child. */
struct run {
    struct config *config; /* borrowed */
    bool quiet, daemon;
    bool terminal; /* the log goes to one */
    int report_fd; /* daemon: the one who waits for our start; then -1 */
    FILE *out;     /* owned; where the table goes */
    FILE *err;     /* owned */
    uv_loop_t loop;
    struct plan plan;
    struct master_conf conf;
    struct master *master; /* owned */
    char *control_path;    /* owned */
    char *config_path;     /* owned; absolute */
    uv_signal_t signals[SIGNALS];
    int status; /* to exit with */
};

/* One line a group of processes, as GatewayWorker prints it. */
static void print_processes(const struct run *r)
{
    const struct plan *p = &r->plan;
    struct table *t = table_new("lllllrl");
    const struct passwd *pw = getpwuid(geteuid());
    const char *user = r->config->user ? r->config->user
                       : pw            ? pw->pw_name
                                       : "?";
    static const char *const heads[] = {
        "proto", "role", "user", "name", "listen", "processes", "status"};

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        table_add(t, "%s", heads[i]);
    for (size_t i = 0, next; i < p->nchildren; i = next) {
        const struct master_child_conf *c = &p->children[i];
        size_t ready = 0;

        for (next = i; next < p->nchildren &&
                       strcmp(p->children[next].role, c->role) == 0 &&
                       strcmp(p->children[next].name, c->name) == 0;
             next++)
            ready += master_child_ready(r->master, next);
        table_add(t, "tcp");
        table_add(t, "%s", c->role);
        table_add(t, "%s", user);
        table_add(t, "%s", c->name);
        table_add(t, "%s", c->listen[0] ? c->listen : "none");
        table_add(t, "%zu", next - i);
        if (ready == next - i)
            table_add(t, "[OK]");
        else
            table_add(t, "[%zu of %zu ready]", ready, next - i);
    }
    table_print(t, r->out);
    table_free(t);
}

static void print_pages(const struct run *r)
{
    for (size_t i = 0; i < r->config->ngateways; i++) {
        const struct config_gateway *g = &r->config->gateways[i];
        const char *port = strrchr(g->address, ':');
        bool any = strncmp(g->address, "0.0.0.0:", 8) == 0 ||
                   strncmp(g->address, "[::]:", 5) == 0;

        if (g->conf.clients.www)
            fprintf(r->out, "Open http%s://%.*s%s/ in a browser.\n",
                g->conf.clients.tls.cert_name ? "s" : "",
                any ? 9 : (int)(port - g->address),
                any ? "127.0.0.1" : g->address, port);
    }
}

static void print_banner(const struct run *r)
{
    fprintf(r->out, "gwrun %s   pid %d   %s\n\n", GWRUN_VERSION, (int)getpid(),
        r->config_path);
    print_processes(r);
    fputc('\n', r->out);
    print_pages(r);
    if (r->daemon)
        fprintf(r->out,
            "Runs in the background; its log is %s. "
            "\"gwrun stop\" stops it.\n",
            r->config->log_file ? r->config->log_file : "/dev/null");
    else
        fputs("Press Ctrl+C to stop.\n", r->out);
    fflush(r->out);
}

/* The parent of a daemon learns how it went. */
static void report(struct run *r, int status)
{
    if (r->report_fd >= 0)
        daemon_report(r->report_fd, status);
    r->report_fd = -1;
    if (!r->daemon || !r->out)
        return;
    /* the terminal is no longer ours */
    fclose(r->out);
    fclose(r->err);
    r->out = r->err = NULL;
}

static void on_started(const char *message, void *arg)
{
    struct run *r = arg;

    if (message) {
        fputs("gwrun: start failed: ", r->err);
        cli_script_error(r->config, r->err, message);
        r->status = CLI_FAILED;
    } else if (!r->quiet) {
        print_banner(r);
    }
    /* a failed start is reported when all is gone again */
    if (!message)
        report(r, CLI_DONE);
}

static void on_stopped(void *arg)
{
    struct run *r = arg;

    uv_stop(&r->loop);
}

/* The log and its folder belong to those who write it, also after it was moved
 * away. Whoever opens it next says what went wrong. */
static void make_log(const struct config *c, const char *log)
{
    char err[256];
    uid_t uid;
    gid_t gid;
    char *path;
    int fd;

    if (daemon_find_ids(c->user, c->group, &uid, &gid, err) < 0)
        return;
    path = xstrdup(log);
    mkdir(dirname(path), 0755);
    free(path);
    fd = daemon_open_file(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0)
        return;
    if (geteuid() == 0 && fchown(fd, uid, gid) < 0)
        log_warn("cannot give the log to its user: %s", strerror(errno));
    close(fd);
}

static void make_access_logs(const struct config *c)
{
    for (size_t i = 0; i < c->ngateways; i++)
        if (c->gateways[i].conf.clients.access.file)
            make_log(c, c->gateways[i].conf.clients.access.file);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct run *r = handle->data;

    switch (signal) {
    case SIGUSR1:
    case SIGUSR2: /* GatewayWorker's gentle one */
        master_reload(r->master);
        break;
    case SIGHUP:
        if (r->terminal && !isatty(STDERR_FILENO)) {
            master_stop(r->master, false); /* its window was closed */
            break;
        }
        if (r->conf.log_file)
            make_log(r->config, r->conf.log_file);
        make_access_logs(r->config);
        master_reopen_logs(r->master);
        break;
    default:
        master_stop(r->master, signal == SIGQUIT);
    }
}

static char *on_reload(void *arg)
{
    return config_read_tls(((struct run *)arg)->config);
}

/* Gateways get a certificate and keys that are not theirs yet; see
 * role_prepare(). */
static json_t *reload_part(size_t index, void *arg)
{
    const struct run *r = arg;
    const struct master_child_conf *child = &r->plan.children[index];
    const struct config_gateway *g;
    struct certificates_pem tls;
    const char *keys;
    unsigned unused;
    json_t *part;

    if (strcmp(child->role, "gateway") != 0)
        return NULL;
    g = slots_gateway(r->config, child->slot, &unused);
    part = config_fresh_tls(r->config, g, &tls)
               ? json_pack("{s:o,s:o}", "cert", ctlmsg_text(tls.cert), "key",
                     ctlmsg_text(tls.key))
               : json_object();
    keys = config_fresh_keys(r->config, g);
    if (keys)
        json_object_set_new(part, "api_keys", ctlmsg_text(keys));
    return part;
}

/* Processes that are started from now on get the same as those that run. */
static void on_reloaded(bool taken, void *arg)
{
    struct run *r = arg;
    int fd;

    config_settle_tls(r->config, taken);
    fd = taken ? config_keep(r->config) : -1;
    if (fd < 0)
        return;
    close(r->conf.config_fd);
    r->conf.config_fd = fd;
}

/* The terminal for the table, the log file for everything else. 0 or -errno. */
static int split_output(struct run *r)
{
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    r->out = out >= 0 ? fdopen(out, "w") : NULL;
    r->err = err >= 0 ? fdopen(err, "w") : NULL;
    if (!r->out || !r->err)
        return -EMFILE;
    log_to_stderr();
    if (!r->daemon)
        return 0;
    if (r->config->log_file)
        make_log(r->config, r->config->log_file);
    return daemon_redirect(r->config->log_file);
}

static int start_master(struct run *r, const char *const *argv)
{
    static const struct master_events events = {
        on_started, on_stopped, on_reload, reload_part, on_reloaded};
    char err[256] = "";

    r->conf = (struct master_conf){.argv = argv,
        .children = r->plan.children,
        .nchildren = r->plan.nchildren,
        .control_path = r->control_path,
        .log_file = r->daemon ? r->config->log_file : NULL,
        .config_fd = r->conf.config_fd,
        .pages_fd = r->plan.pages_fd,
        .stop_timeout = r->config->stop_timeout,
        .hang_timeout = r->config->hang_timeout};
    for (size_t i = 0; i < SIGNALS; i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], on_signal, signals_handled[i]);
    }
    if (master_new(&r->master, &r->loop, &r->conf, &events, r, err) == 0)
        return 0;
    fprintf(r->err, "gwrun: %s\n", err);
    return CLI_FAILED;
}

/* What the configuration is warned of, for those who read the log only. */
static void log_lines(const char *lines)
{
    for (size_t n; *lines; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        log_warn("%.*s", (int)n, lines);
    }
}

/* Everything is bound: run until stopped. */
static int supervise(struct run *r)
{
    const char *const argv[] = {"/proc/self/exe", "-c", r->config_path, NULL};
    char err[256];

    if (split_output(r) < 0) {
        cli_error("cannot open the log %s", r->config->log_file);
        return CLI_FAILED;
    }
    r->terminal = isatty(STDERR_FILENO);
    signal(SIGPIPE, SIG_IGN);
    log_set_name("master");
    make_access_logs(r->config);
    log_set_level((enum log_level)r->config->log_level);
    log_set_json(r->config->log_json);
    if (daemon_keep_masters_privileges(r->config->user, r->config->group, err) <
        0) {
        fprintf(r->err, "gwrun: %s\n", err);
        return CLI_FAILED;
    }
    log_lines(r->config->warnings);
    log_lines(r->config->expired);
    clock_loop_init(&r->loop);
    if (config_is_open(r->config))
        log_notice("no secret_key: every user of this machine can send "
                   "commands to its processes; gwrun check tells more");
    r->status = start_master(r, argv);
    if (r->master) {
        uv_run(&r->loop, UV_RUN_DEFAULT);
        master_free(r->master);
    }
    for (size_t i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&r->signals[i], NULL);
    while (uv_run(&r->loop, UV_RUN_DEFAULT) != 0)
        ; /* uv_stop() may have been called */
    if (uv_loop_close(&r->loop) != 0)
        log_error("handles are still open at the end");
    /* A second Ctrl-C finds nothing left to stop, and makes no failure of it.
     */
    for (size_t i = 0; i < SIGNALS; i++)
        signal(signals_handled[i], SIG_IGN);
    return r->status;
}

/* Bind, open, and go. */
static int prepare_and_supervise(struct run *r)
{
    const struct config *c = r->config;
    char err[PLAN_ERR_SIZE];
    int status = CLI_FAILED;

    r->conf.config_fd = config_keep(c);
    if (r->conf.config_fd < 0) {
        cli_error("no memory to keep the configuration in: %s",
            strerror(-r->conf.config_fd));
        return CLI_FAILED;
    }
    if (plan_make(&r->plan, c, err) < 0) {
        cli_error("%s", err);
    } else {
        r->control_path = rundir_path(c, "gwrun.sock");
        status = supervise(r);
        free(r->control_path);
        plan_free(&r->plan);
    }
    close(r->conf.config_fd);
    return status;
}

static int run_locked(struct run *r)
{
    char *path = rundir_path(r->config, "gwrun.lock");
    char err[PLAN_ERR_SIZE];
    char claims[CLAIMS_PREFIX_SIZE];
    int status = CLI_FAILED;
    int lock = rundir_make(r->config, err);

    daemon_raise_fd_limit();
    if (lock == 0)
        lock = daemon_lock(path, err);
    if (lock < 0) {
        cli_error("%s", err);
    } else {
        rundir_claims_prefix(r->config, claims);
        claims_clean(claims);
        status = prepare_and_supervise(r);
        close(lock);
    }
    free(path);
    return status;
}

int cli_run(struct config *c, const char *path, bool daemon, bool quiet)
{
    struct run r = {
        .config = c, .quiet = quiet, .daemon = daemon, .report_fd = -1};
    int status;

    status = daemon ? daemon_detach(&r.report_fd) : -1;
    if (status >= 0)
        return status;
    if (daemon)
        uv_set_process_title("gwrun: master process");
    r.config_path = xstrdup(path);
    status = run_locked(&r);
    if (r.report_fd >= 0) /* it never got so far */
        report(&r, status == CLI_DONE ? CLI_FAILED : status);
    if (r.out)
        fclose(r.out);
    if (r.err)
        fclose(r.err);
    free(r.config_path);
    return status;
}

int cmd_start(int argc, char **argv)
{
    struct cli_options o;
    struct config c;
    char *path;
    int status = cli_parse(&o, argc, argv, "cDq", 0, help);

    if (status >= 0)
        return status;
    daemon_close_inherited();
    path = realpath(o.config, NULL); /* before the folder changes */
    status = cli_load_to_run(&c, o.config);
    if (status == CLI_DONE) {
        if (o.daemon) { /* else the log is here, too */
            prove_config(&c, false);
            prove_cluster(&c, false);
        }
        status = cli_scripts_compile(&c) ? cli_run(&c, path, o.daemon, o.quiet)
                                         : CLI_WRONG;
        config_free(&c);
    }
    free(path);
    return status;
}
