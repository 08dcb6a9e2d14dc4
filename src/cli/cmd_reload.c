#include <string.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "wire/ctlmsg.h"

static const char help[] =
    "usage: gwrun reload [-c FILE]\n\n"
    "Load the script again in all workers. Only when it loads, and its\n"
    "onWorkerStart returns, in every one of them, does it take over; else the\n"
    "old one stays, and the error is printed. No connection is touched.\n"
    "Gateways read their TLS certificates again.\n";

static int reload(struct instance *in, const struct config *c)
{
    json_t *m = instance_ask(
        in, json_pack("{s:s}", "type", "reload"), INSTANCE_LONG_TIMEOUT);
    int64_t workers;
    bool good;

    if (!m)
        return CLI_FAILED;
    good = json_is_true(json_object_get(m, "ok"));
    workers = ctlmsg_int(m, "workers", 0);
    if (!good) {
        fputs("gwrun: reload failed, the old script stays: ", stderr);
        cli_script_error(
            c, stderr, ctlmsg_string(m, "message", "unknown error"));
    } else if (workers == 0) {
        puts("reloaded 0 workers: none runs here");
    } else {
        printf("reloaded %lld worker%s in %lld ms, generation %lld\n",
            (long long)workers, workers == 1 ? "" : "s",
            (long long)ctlmsg_int(m, "ms", 0),
            (long long)ctlmsg_int(m, "generation", 0));
    }
    json_decref(m);
    return good ? CLI_DONE : CLI_FAILED;
}

int cmd_reload(int argc, char **argv)
{
    struct cli_options o;
    struct config c;
    struct instance in;
    int status = cli_parse(&o, argc, argv, "c", 0, help);

    if (status >= 0)
        return status;
    status = cli_load(&c, o.config);
    if (status != CLI_DONE)
        return status;
    status = instance_open(&in, &c);
    if (status == CLI_DONE) {
        status = cli_script_compiles(&c) ? reload(&in, &c) : CLI_FAILED;
        instance_close(&in);
    }
    config_free(&c);
    return status;
}
