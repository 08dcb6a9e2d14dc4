#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "wire/ctlmsg.h"

#define STOP_GRACE 5.0 /* seconds after stop_timeout until we give up */

static const char stop_help[] =
    "usage: gwrun stop [-g] [-c FILE]\n\n"
    "Stop all processes: clients are told goodbye, handlers finish, scripts get\n"
    "their onWorkerStop. What is not done after stop_timeout is killed.\n\n"
    "  -g, --graceful     wait until the clients have left by themselves\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static const char restart_help[] =
    "usage: gwrun restart [-d] [-g] [-q] [-c FILE]\n\n"
    "Check the configuration and the script, then stop and start again. What\n"
    "ran in the background does so again.\n\n"
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
    return instance_command(argc, argv, "cg", stop_help, run_stop);
}

int cmd_restart(int argc, char **argv)
{
    struct cli_options o;
    struct config c;
    struct instance in;
    char *path;
    bool daemon = false;
    int status = cli_parse(&o, argc, argv, "cdgq", 0, restart_help);

    if (status >= 0)
        return status;
    path = realpath(o.config, NULL); /* before the folder changes */
    status = cli_load(&c, o.config);
    if (status != CLI_DONE)
        goto out;
    status = cli_script_compiles(&c) ? instance_open(&in, &c) : CLI_WRONG;
    if (status == CLI_DONE) {
        status = stop(&in, o.graceful, &daemon);
        instance_close(&in);
    }
    if (status == CLI_DONE)
        status = cli_run(&c, path, daemon || o.daemon, o.quiet);
    config_free(&c);
out:
    free(path);
    return status;
}
