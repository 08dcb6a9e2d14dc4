/* gwrun stop and gwrun restart. A restart proves first that the configuration
 * can be started again, and ends what runs only then; it starts what did not
 * run. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/prove.h"
#include "proc/daemon.h"
#include "wire/ctlmsg.h"

#define STOP_GRACE 5.0 /* seconds after stop_timeout until we give up */

static const char stop_help[] =
    "usage: gwrun stop [-g] [-c FILE]\n\n"
    "Stop all processes: clients are told goodbye, handlers finish, scripts get\n"
    "their onWorkerStop. What is not done after stop_timeout is killed.\n\n"
    "  -g, --graceful     wait until the clients have left by themselves; of a cell,\n"
    "                     tell them to come back elsewhere, over drain_time\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static const char restart_help[] =
    "usage: gwrun restart [-d] [-g] [-q] [-c FILE]\n\n"
    "Check all that gwrun check does, then stop, and start again what was\n"
    "checked. When something is wrong, what runs goes on. What ran in the\n"
    "background does so again. When nothing runs, start. A service of systemd\n"
    "is left alone: run gwrun check, then systemctl restart.\n\n"
    "  -d, --daemon       start in the background in any case\n"
    "  -g, --graceful     wait until the clients have left by themselves\n"
    "  -q, --quiet        no table\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

/* Stop the instance and wait for its end. *daemon: it ran in the background. */
static int stop(struct instance *in, bool graceful, bool *daemon)
{
    json_t *m = instance_ask(in,
        json_pack("{s:s,s:b}", "type", "stop", "graceful", graceful),
        INSTANCE_TIMEOUT);
    double timeout;

    if (!m)
        return CLI_FAILED;
    timeout = json_number_value(json_object_get(m, "timeout")) + STOP_GRACE;
    *daemon = json_is_true(json_object_get(m, "daemon"));
    json_decref(m);
    if (graceful) {
        printf("waiting for the clients to leave; \"gwrun stop\" does not "
               "wait\n");
        fflush(stdout);
    }
    if (instance_wait_gone(in, graceful ? 0 : timeout)) {
        printf("gwrun (pid %d) has stopped\n", (int)in->pid);
        fflush(stdout);
        return CLI_DONE;
    }
    cli_error("pid %d has not stopped in %.0f s; kill -9 %d ends it",
        (int)in->pid, timeout, (int)in->pid);
    return CLI_FAILED;
}

static int run_stop(struct instance *in, const struct cli_options *o)
{
    bool daemon;

    return stop(in, o->graceful, &daemon);
}

int cmd_stop(int argc, char **argv)
{
    return instance_command(argc, argv, "cg", 0, stop_help, run_stop);
}

/* The user that a process of the control socket's other end was started as. */
static uid_t owner_of(const struct instance *in)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(in->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0
               ? geteuid()
               : peer.uid;
}

/* What comes from here is a child of this terminal and runs as its user, the
 * script included: that shall not become of a service, or of what another user
 * started. */
static bool may_replace(const struct instance *in)
{
    uid_t owner = owner_of(in);
    const struct passwd *pw;

    if (json_is_true(json_object_get(in->hello, "service"))) {
        cli_error("what runs (pid %d) is a service of systemd, and this would "
                  "take it away from there; run gwrun check as its user, then "
                  "systemctl restart",
            (int)in->pid);
        return false;
    }
    if (owner == geteuid())
        return true;
    pw = getpwuid(owner);
    cli_error(
        "what runs (pid %d) belongs to user %s; run this as that user, or "
        "stop it and start",
        (int)in->pid, pw ? pw->pw_name : "(without a name)");
    return false;
}

/* Nothing is ended that could not be started again. */
static int prove_and_stop(struct instance *in, struct config *c,
    const struct cli_options *o, bool *daemon)
{
    struct prove p = {.config = c, .running = in, .daemon = o->daemon};
    bool good;

    if (!may_replace(in))
        return CLI_WRONG;
    if (json_is_true(json_object_get(in->hello, "daemon")))
        p.daemon = true;
    good = prove_config(c, true);
    good = prove_start(&p) && good; /* all that is wrong is said at once */
    if (good)
        return stop(in, o->graceful, daemon);
    cli_error("not restarted; what runs (pid %d) goes on", (int)in->pid);
    return CLI_WRONG;
}

int cmd_restart(int argc, char **argv)
{
    struct cli_options o;
    struct config c;
    struct instance in;
    char *path;
    bool daemon = false;
    int status = cli_parse(&o, argc, argv, "cDgq", 0, restart_help);

    if (status >= 0)
        return status;
    daemon_close_inherited();
    path = realpath(o.config, NULL); /* before the folder changes */
    status = cli_load_to_run(&c, o.config);
    if (status != CLI_DONE)
        goto out;
    if (!instance_runs(&c)) {
        printf("nothing runs: starting\n");
        fflush(stdout);
        status = cli_scripts_compile(&c) ? CLI_DONE : CLI_WRONG;
    } else if ((status = instance_open(&in, &c)) == CLI_DONE) {
        status = prove_and_stop(&in, &c, &o, &daemon);
        instance_close(&in);
    }
    if (status == CLI_DONE)
        status = cli_run(&c, path, daemon || o.daemon, o.quiet);
    config_free(&c);
out:
    free(path);
    return status;
}
