/* Each proof says what is wrong and goes on, so that all of it is said at once.
 * Nothing stays open or bound afterwards. */
#include "cli/prove.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/misspelt.h"
#include "engine/look.h"
#include "net/clock.h"
#include "net/listener.h"
#include "proc/daemon.h"
#include "role/plan.h"
#include "role/rundir.h"
#include "util/alloc.h"
#include "util/log.h"

#define PROVE_TIMEOUT    30000 /* ms that the script may take */
#define PROVE_STOP_TIME  5     /* seconds of them for onWorkerStop */
#define WARNING          "warning: "
#define PROVE_CLUSTER_MS 2000 /* for each step of asking its server */
#define PROVE_ALARM      35   /* s; then its process ends, whatever it does */

/* Each of the lines with that in front. */
static void print_lines(const char *lines, const char *before)
{
    while (*lines) {
        size_t n = strcspn(lines, "\n");

        fprintf(stderr, "%s%.*s\n", before, (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

bool prove_config(const struct config *c, bool strict)
{
    fflush(stdout);
    print_lines(c->warnings, WARNING);
    print_lines(c->expired, strict ? "" : WARNING);
    return !strict || !c->expired[0];
}

/* ---- ports ---- */

struct ports {
    const struct prove *prove;
    bool good;
};

/* What the kernel calls a process; "" when it does not tell. */
static void read_comm(char out[32], const char *pid)
{
    char path[64];
    FILE *f;

    out[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    f = fopen(path, "re");
    if (f && !fgets(out, 32, f))
        out[0] = '\0';
    if (f)
        fclose(f);
}

/* gwrun dev of the same folder: nothing that would be in the way of a start. A
 * master calls itself something else, and other programs have other names. */
static bool is_dev(const struct config *c, pid_t pid)
{
    char link[64], folder[PATH_MAX], number[16], comm[32], own[32];
    ssize_t n;

    snprintf(number, sizeof(number), "%d", (int)pid);
    snprintf(link, sizeof(link), "/proc/%s/cwd", number);
    n = pid > 0 ? readlink(link, folder, sizeof(folder) - 1) : -1;
    if (n < 0)
        return false;
    folder[n] = '\0';
    read_comm(comm, number);
    read_comm(own, "self");
    return strcmp(folder, c->root) == 0 && strcmp(comm, own) == 0;
}

static void prove_port(const char *address, const char *setting, void *arg)
{
    struct ports *ports = arg;
    const struct prove *p = ports->prove;
    char err[PLAN_ERR_SIZE];
    pid_t owner = 0;
    union addr a;
    int fd = addr_parse(&a, address);

    if (fd == 0)
        fd = listener_bind(&a, false);
    if (fd >= 0) {
        close(fd);
        return;
    }
    if (fd == -EADDRINUSE && p->running &&
        instance_holds(p->running, addr_port(&a)))
        return;
    owner = plan_explain(err, fd, setting, address);
    if (p->check &&
        (fd == -EACCES ||
            (fd == -EADDRINUSE && (p->hidden || is_dev(p->config, owner))))) {
        print_lines(err, WARNING);
        return;
    }
    cli_error("%s", err);
    ports->good = false;
}

/* ---- files ---- */

/* May a file be written, or made? It is, for a moment: what access() says of
 * root does not hold on every filesystem. 0 or -errno. */
static int try_to_write(const char *path)
{
    const int flags =
        O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags);

    if (fd < 0 && errno == ENOENT) {
        fd = open(path, flags | O_CREAT | O_EXCL, 0600);
        if (fd >= 0)
            unlink(path);
    }
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* The same of a folder that is not there. */
static int try_to_make(const char *folder)
{
    if (mkdir(folder, 0700) < 0)
        return -errno;
    rmdir(folder);
    return 0;
}

/* Who only checks need not be who starts: what he may not is a warning. */
static bool prove_run_dir(const struct prove *p)
{
    const char *path = p->config->run_dir;
    bool warns = p->check && geteuid() != 0;
    char line[PLAN_ERR_SIZE];
    int err;

    if (access(path, F_OK) == 0) {
        err = rundir_check(p->config, line);
        if (err == 0)
            err = rundir_check_ids(p->config, line);
        if (err == 0 || (err == -EACCES && warns))
            return true;
        cli_error("%s", line);
        return false;
    }
    err = try_to_make(path);
    if (err == 0)
        return true;
    if (warns)
        fprintf(stderr, WARNING "cannot make the folder %s (run_dir): %s\n",
            path, strerror(-err));
    else
        cli_error(
            "cannot make the folder %s (run_dir): %s", path, strerror(-err));
    return warns;
}

static bool prove_log(const struct prove *p)
{
    const char *log = p->config->log_file;
    char *folder = log ? xstrdup(log) : NULL;
    int err = log ? try_to_write(log) : 0;

    if (err == -ENOENT) /* its folder is made */
        err = try_to_make(dirname(folder));
    free(folder);
    if (err == 0)
        return true;
    if (p->daemon)
        cli_error(
            "cannot write the log %s (log.file): %s", log, strerror(-err));
    else if (p->check)
        fprintf(stderr, WARNING "gwrun start -d cannot write the log %s: %s\n",
            log, strerror(-err));
    return !p->daemon;
}

/* ---- the script, in a process of its own ---- */

/* A worker that only loads the script. */
struct trial {
    uv_timer_t deadline;
    bool done; /* the script is loaded, or never will be */
    bool stopped;
    char *error; /* owned; why it failed */
};

static void on_ready(void *arg)
{
    ((struct trial *)arg)->done = true;
}

static void on_failed(const char *message, void *arg)
{
    struct trial *t = arg;

    free(t->error);
    t->error = xstrdup(message);
    t->done = true;
}

static void on_stopped(void *arg)
{
    ((struct trial *)arg)->stopped = true;
}

static void on_deadline(uv_timer_t *timer)
{
    on_failed("the script has not started or stopped within 30 s", timer->data);
}

/* NULL, or why the script cannot serve; the caller frees it. check: warn of
 * what it misspells. */
static char *try_script(const struct worker_conf *configured, bool check)
{
    static const struct worker_events events = {
        .on_ready = on_ready, .on_failed = on_failed, .on_stopped = on_stopped};
    struct worker_conf conf = *configured;
    struct trial t = {0};
    struct worker *w;
    uv_loop_t loop;

    conf.discovery = (struct discovery_conf){0};
    conf.engine = NULL; /* it is no process of the cell */
    if (check)
        conf.inspect = misspelt_warn;
    clock_loop_init(&loop);
    uv_timer_init(&loop, &t.deadline);
    t.deadline.data = &t;
    uv_timer_start(&t.deadline, on_deadline, PROVE_TIMEOUT, 0);
    w = worker_new(&loop, &conf, 0, &events, &t);
    while (!t.done)
        uv_run(&loop, UV_RUN_ONCE);
    if (!t.error) {
        worker_stop(w, PROVE_STOP_TIME);
        while (!t.stopped && !t.error)
            uv_run(&loop, UV_RUN_ONCE);
    }
    worker_free(w);
    uv_close((uv_handle_t *)&t.deadline, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return t.error;
}

/* Can the user read what gateways serve? */
static char *try_www(const struct config *c)
{
    for (size_t i = 0; i < c->ngateways; i++) {
        const char *www = c->gateways[i].conf.clients.www;

        if (www && access(www, R_OK | X_OK) < 0)
            return xasprintf("www of gateway \"%s\", %s: %s; make it readable "
                             "for the user that gwrun runs as",
                c->gateways[i].conf.name, www, strerror(errno));
    }
    return NULL;
}

/* What the process does; it does not come back. conf: whose script is tried;
 * NULL: only what gateways serve. The message goes to fd. */
static void run_trial(
    const struct prove *p, const struct worker_conf *conf, int fd)
{
    const struct config *c = p->config;
    char line[256] = "";
    char *message = NULL;

    alarm(PROVE_ALARM);
    signal(SIGPIPE, SIG_IGN);
    if (geteuid() == 0 || !p->check) {
        if (daemon_drop_privileges(c->user, c->group, line) < 0)
            message = xstrdup(line);
    }
    if (!message)
        message = conf ? try_script(conf, p->check) : try_www(c);
    if (message && write(fd, message, strlen(message)) < 0)
        cli_error("%s", message); /* at least that */
    fflush(NULL);
    _exit(message ? CLI_WRONG : CLI_DONE);
}

/* All that comes from fd; the caller frees it. */
static char *read_message(int fd)
{
    struct buf b = {0};
    char block[4096];
    ssize_t n;

    while (
        (n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0)
            buf_append(&b, block, (size_t)n);
    }
    buf_append_byte(&b, '\0');
    return (char *)b.base;
}

static bool report_trial(const struct prove *p, pid_t pid, const char *message)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == CLI_DONE)
        return true;
    if (message[0])
        cli_script_error(p->config, stderr, message);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        cli_error("the script does not come back");
    else
        cli_error("the script has ended its process (status %d)", status);
    return false;
}

static bool prove_as_user(const struct prove *p, const struct worker_conf *conf)
{
    char *message;
    int fds[2];
    pid_t pid;
    bool good;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        cli_error("no pipe: %s", strerror(errno));
        return false;
    }
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        run_trial(p, conf, fds[1]);
    close(fds[1]);
    if (pid < 0)
        cli_error("no process to load the script in: %s", strerror(errno));
    message = pid < 0 ? NULL : read_message(fds[0]);
    good = pid > 0 && report_trial(p, pid, message);
    free(message);
    close(fds[0]);
    return good;
}

static bool prove_script(const struct prove *p, struct worker_conf *conf)
{
    conf->sources_fd = memfd_create("gwrun sources", MFD_CLOEXEC);
    if (conf->sources_fd < 0)
        conf->sources_fd = 0; /* it is not kept */
    return prove_as_user(p, conf);
}

/* ---- the cluster ---- */

/* Has the server answered, and will never do as it is? */
static bool is_refusal(int err)
{
    return err == -EACCES || err == -EROFS || err == -ENOTSUP ||
           err == -EPROTO || err == -EINVAL;
}

static int ask_cluster(const struct config *c, bool strict)
{
    struct look l;
    int err = look_run(&l, c->engine, PROVE_CLUSTER_MS);
    bool wrong = strict && is_refusal(err);

    if (wrong)
        cli_error("cluster: %s", l.error);
    else if (err < 0)
        fprintf(stderr,
            WARNING "cluster: %s; until it can be used this cell serves by "
                    "itself\n",
            l.error);
    else if (l.warning[0])
        fprintf(stderr, WARNING "cluster: %s\n", l.warning);
    look_fini(&l);
    return wrong ? CLI_WRONG : CLI_DONE;
}

/* In a process of its own: names are looked up in threads, which a process that
 * forks later must not have. */
bool prove_cluster(const struct config *c, bool strict)
{
    int status = 0;
    pid_t pid;

    if (!c->engine)
        return true;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        alarm(PROVE_ALARM);
        signal(SIGPIPE, SIG_IGN);
        status = ask_cluster(c, strict);
        fflush(NULL);
        _exit(status);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == CLI_DONE;
}

bool prove_start(const struct prove *p)
{
    struct ports ports = {.prove = p, .good = true};
    struct config *c = p->config;
    bool good;

    plan_each_port(c, prove_port, &ports);
    good = prove_run_dir(p) && ports.good;
    good = prove_log(p) && good;
    good = prove_as_user(p, NULL) && good;
    good = cli_programs_compile(c) && good;
    for (size_t i = 0; i < c->nworkers; i++) {
        if (c->workers[i].count > 0)
            good = prove_script(p, &c->workers[i].conf) && good;
    }
    return good;
}

void prove_forget(struct config *c)
{
    for (size_t i = 0; i < c->nworkers; i++) {
        if (c->workers[i].conf.sources_fd > 0)
            close(c->workers[i].conf.sources_fd);
        c->workers[i].conf.sources_fd = 0;
    }
}
