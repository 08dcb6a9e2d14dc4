/* A running master, asked over its control socket. One question at a time; an
 * answer is waited for until its time is over, and whoever holds the socket
 * must be who the configuration says. */
#include "cli/instance.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "proc/daemon.h"
#include "role/plan.h"
#include "role/rundir.h"
#include "wire/ctlmsg.h"
#include "wire/framing.h"

#define READ_ROOM    (64 * 1024) /* bytes offered to one read */
#define LOCK_POLL_MS 20          /* between two looks at the lock */

static double now(void)
{
    return (double)uv_hrtime() / 1e9;
}

static void set_timeout(int fd, double seconds)
{
    struct timeval t = {.tv_sec = (time_t)seconds,
        .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

/* A frozen master does not accept: connecting ends at the time-out, too. */
static int connect_to(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int err, fd;

    if (strlen(path) >= sizeof(sun.sun_path))
        return -ENAMETOOLONG;
    memcpy(sun.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set_timeout(fd, INSTANCE_TIMEOUT);
    if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
        return fd;
    err = -errno;
    close(fd);
    return err;
}

static void explain_refusal(const struct instance *in, int err)
{
    if (err == -ENOENT || err == -ECONNREFUSED)
        cli_error("the master (pid %d) has no control socket at %s yet; it is "
                  "starting or stopping, try again",
            (int)in->pid, in->control_path);
    else if (err == -EACCES || err == -EPERM)
        cli_error("%s belongs to another user; run this as that user or root",
            in->control_path);
    else if (err == -EAGAIN)
        cli_error("the master (pid %d) does not answer", (int)in->pid);
    else
        cli_error("cannot connect to %s: %s", in->control_path, strerror(-err));
}

void instance_close(struct instance *in)
{
    free(in->lock_path);
    free(in->control_path);
    json_decref(in->hello);
    if (in->fd >= 0)
        close(in->fd);
    buf_fini(&in->in);
}

/* The first whole line, or NULL when there is none yet. *bad: not a message. */
static json_t *take_line(struct instance *in, bool *bad)
{
    ssize_t n = framing_line_measure(in->in.data, in->in.len, CTLMSG_MAX_LEN);
    struct framing_message line;
    json_t *m;

    *bad = n < 0;
    if (n <= 0)
        return NULL;
    line = framing_line_message(in->in.data, (size_t)n);
    m = ctlmsg_parse(line.data, line.len);
    *bad = !m;
    buf_consume(&in->in, (size_t)n);
    return m;
}

/* More bytes: > 0, 0 at the end, -ETIMEDOUT or another -errno. */
static ssize_t read_more(struct instance *in, double deadline)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    ssize_t n;
    int ready;

    do {
        double left = deadline - now();

        ready = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return -errno;
    if (ready == 0)
        return -ETIMEDOUT;
    n = read(in->fd, buf_reserve(&in->in, READ_ROOM), READ_ROOM);
    if (n > 0)
        buf_commit(&in->in, (size_t)n);
    return n < 0 ? -errno : n;
}

json_t *instance_next(struct instance *in, double timeout)
{
    double deadline = now() + timeout;
    bool bad = false;
    json_t *m;

    while (!(m = take_line(in, &bad))) {
        ssize_t n = bad ? -EPROTO : read_more(in, deadline);

        if (n > 0)
            continue;
        if (n == 0)
            cli_error(
                "the master (pid %d) ended before it answered", (int)in->pid);
        else if (n == -ETIMEDOUT)
            cli_error("the master (pid %d) does not answer; is it stopped "
                      "(kill -CONT %d) or hung (kill -9 %d, its children end "
                      "with it)?",
                (int)in->pid, (int)in->pid, (int)in->pid);
        else
            cli_error("control socket: %s", strerror((int)-n));
        return NULL;
    }
    if (strcmp(ctlmsg_type(m), "error") == 0) {
        cli_error("%s", ctlmsg_string(m, "message", "refused"));
        json_decref(m);
        return NULL;
    }
    return m;
}

json_t *instance_ask(struct instance *in, json_t *m, double timeout)
{
    struct buf out = {0};
    ssize_t n;

    ctlmsg_put(&out, m);
    n = send(in->fd, out.data, out.len, MSG_NOSIGNAL);
    buf_fini(&out);
    if (n <= 0) {
        cli_error("the master (pid %d) does not listen: %s", (int)in->pid,
            strerror(errno));
        return NULL;
    }
    return instance_next(in, timeout);
}

bool instance_wait_gone(struct instance *in, double timeout)
{
    static const struct timespec pause = {0, LOCK_POLL_MS * 1000000L};
    double deadline = now() + timeout;

    close(in->fd); /* or it would wait for us to do so */
    in->fd = -1;
    while (daemon_lock_owner(in->lock_path) != 0) {
        if (timeout > 0 && now() > deadline)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* A question to a master that does not run would wait in its socket and be
 * obeyed much later: first see that it answers. */
static int greet(struct instance *in)
{
    in->hello =
        instance_ask(in, json_pack("{s:s}", "type", "hello"), INSTANCE_TIMEOUT);
    return in->hello ? CLI_DONE : CLI_FAILED;
}

bool instance_runs(const struct config *c)
{
    char *path = rundir_path(c, "gwrun.lock");
    pid_t pid = daemon_lock_owner(path);

    free(path);
    return pid > 0;
}

bool instance_holds(const struct instance *in, uint16_t port)
{
    json_t *ports = json_object_get(in->hello, "ports");
    json_t *held;
    size_t i;

    json_array_foreach(ports, i, held)
    {
        if (json_integer_value(held) == port)
            return true;
    }
    return !ports;
}

/* Is it the master who listens there, and not somebody who took his place? */
static bool is_masters(const struct instance *in)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    struct stat st;

    if (getsockopt(in->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
        stat(in->lock_path, &st) == 0 &&
        (peer.uid == st.st_uid || peer.uid == 0 || peer.uid == geteuid()))
        return true;
    cli_error("%s is not the master's; is another user in run_dir?",
        in->control_path);
    return false;
}

int instance_open(struct instance *in, const struct config *c)
{
    char err[PLAN_ERR_SIZE];

    *in = (struct instance){.fd = -1};
    in->lock_path = rundir_path(c, "gwrun.lock");
    in->control_path = rundir_path(c, "gwrun.sock");
    if (rundir_check(c, err) < 0) {
        cli_error("%s", err);
        instance_close(in);
        return CLI_FAILED;
    }
    in->pid = daemon_lock_owner(in->lock_path);
    if (in->pid == 0) {
        cli_error("not running (nobody holds %s/gwrun.lock)", c->run_dir);
    } else if (in->pid == -EACCES) {
        cli_error("%s belongs to another user; run this as that user or root",
            in->lock_path);
    } else if (in->pid < 0) {
        cli_error("cannot read %s: %s", in->lock_path, strerror(-in->pid));
    } else {
        in->fd = connect_to(in->control_path);
        if (in->fd < 0)
            explain_refusal(in, in->fd);
        else if (is_masters(in) && greet(in) == CLI_DONE)
            return CLI_DONE;
    }
    instance_close(in);
    return CLI_FAILED;
}

int instance_command(int argc, char **argv, const char *letters, int max_words,
    const char *help,
    int (*run)(struct instance *in, const struct cli_options *o))
{
    struct cli_options o;
    struct config c;
    struct instance in;
    int status = cli_parse(&o, argc, argv, letters, max_words, help);

    if (status >= 0)
        return status;
    status = cli_find(&c, o.config);
    if (status != CLI_DONE)
        return status;
    status = instance_open(&in, &c);
    if (status == CLI_DONE) {
        status = run(&in, &o);
        instance_close(&in);
    }
    config_free(&c);
    return status;
}
