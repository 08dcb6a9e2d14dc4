/* gwrun check: everything that start proves, and nothing started. It reads the
 * configuration, proves it (prove.c) and says in its exit status whether start
 * would succeed; nothing stays bound, open or written behind it. */

#include "cli/cli.h"

#include "cli/instance.h"
#include "cli/prove.h"

static const char help[] =
    "usage: gwrun check [-c FILE]\n"
    "\n"
    "Checks whether a start would succeed, without touching what runs: the\n"
    "configuration with its keys and certificates; the ports, each of which is\n"
    "bound for a moment (those of this project's running system count as free);\n"
    "the script, which is loaded in a process of its own that no gateway knows;\n"
    "its onWorkerStart and onWorkerStop are called; names in it that look\n"
    "misspelt; whether the programs compile; and whether the cluster's server\n"
    "will do. Exit status 0 when all is well, 2 when not; a line that begins\n"
    "with \"warning\" does not count.\n"
    "\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static bool check(struct config *c)
{
    struct instance in;
    bool runs = instance_runs(c);
    bool asked = runs && instance_open(&in, c) == CLI_DONE;
    struct prove p = {.config = c,
        .running = asked ? &in : NULL,
        .hidden = runs && !asked,
        .check = true};
    bool good = prove_config(c, true);

    good = prove_cluster(c, true) && good;
    good = prove_start(&p) && good;
    if (asked)
        instance_close(&in);
    prove_forget(c);
    return good;
}

int cmd_check(int argc, char **argv)
{
    struct cli_options options;
    struct config c;
    int status = cli_parse(&options, argc, argv, "c", 0, help);

    if (status >= 0)
        return status;
    status = cli_load(&c, options.config);
    if (status != CLI_DONE)
        return status;
    if (!check(&c))
        status = CLI_WRONG;
    else if (config_worker_count(&c) > 0)
        puts("configuration ok, script ok");
    else if (config_runs(&c))
        puts("configuration ok, no script here");
    else
        puts("configuration ok, nothing to start; programs (gwrun exec) can "
             "use it");
    if (status == CLI_DONE && config_is_open(&c))
        puts("note: there is no secret_key, so every user of this machine "
             "can send commands to the\nregister and the gateways. Unless "
             "you are the only one:\n"
             "  (umask 77; openssl rand -hex 32 >conf/secret)\n"
             "and secret_key_file = \"conf/secret\" in the configuration");
    if (status == CLI_DONE && c.engine)
        puts("note: what PHP workers and GatewayClient send stays in the cell "
             "whose register they ask");
    config_free(&c);
    return status;
}
