/* gwrun reload: ask the master to load script, router and certificates anew.
 * The master proves what it loads and keeps what it has when a part of it
 * fails; this prints what it says. */
#include <string.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "wire/ctlmsg.h"

static const char help[] =
    "usage: gwrun reload [-c FILE] [NAME]\n\n"
    "Load the scripts again in all workers, and the TLS certificates in all\n"
    "gateways. Only when the script loads, and its onWorkerStart returns, in\n"
    "every one of them, and the certificates are good, do they take over; else\n"
    "the old ones stay, and the error is printed. No connection is touched.\n"
    "With a NAME only the workers, or the program, of that name are reloaded, and\n"
    "nothing else.\n"
    "\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

/* "2 workers"; nothing when there are none. */
static void print_count(int64_t n, const char *what)
{
    if (n > 0)
        printf("%lld %s%s", (long long)n, what, n == 1 ? "" : "s");
}

/* What was down is not proved: it has only begun. */
static void print_started(int64_t n, bool behind)
{
    if (n > 0)
        printf("%sstarted %lld that had ended (see gwrun status)",
            behind ? ", " : "", (long long)n);
}

/* name: of the workers or the program; NULL: all. */
static int reload(struct instance *in, const struct config *c, const char *name)
{
    json_t *m = instance_ask(in,
        json_pack("{s:s,s:s*}", "type", "reload", "name", name),
        INSTANCE_LONG_TIMEOUT);
    int64_t workers, programs, started;
    bool good;

    if (!m)
        return CLI_FAILED;
    started = ctlmsg_int(m, "started", 0);
    good = json_is_true(json_object_get(m, "ok"));
    workers = ctlmsg_int(m, "workers", 0);
    programs = ctlmsg_int(m, "programs", 0);
    if (!good) {
        fputs("gwrun: reload failed, the old script stays: ", stderr);
        cli_script_error(
            c, stderr, ctlmsg_string(m, "message", "unknown error"));
    } else if (workers + programs + started == 0) {
        puts("reloaded 0 workers: none runs here");
    } else {
        if (workers + programs > 0)
            fputs("reloaded ", stdout);
        print_count(workers, "worker");
        if (workers > 0 && programs > 0)
            fputs(" and ", stdout);
        print_count(programs, "program");
        print_started(started, workers + programs > 0);
        printf(" in %lld ms, generation %lld\n",
            (long long)ctlmsg_int(m, "ms", 0),
            (long long)ctlmsg_int(m, "generation", 0));
    }
    json_decref(m);
    return good ? CLI_DONE : CLI_FAILED;
}

/* The master proves what it loads; what it was started with may have been
 * edited since. */
int cmd_reload(int argc, char **argv)
{
    struct cli_options o;
    struct config c;
    struct instance in;
    int status = cli_parse(&o, argc, argv, "c", 1, help);

    if (status >= 0)
        return status;
    status = cli_find(&c, o.config);
    if (status != CLI_DONE)
        return status;
    status = instance_open(&in, &c);
    if (status == CLI_DONE) {
        status = reload(&in, &c, optind < argc ? argv[optind] : NULL);
        instance_close(&in);
    }
    config_free(&c);
    return status;
}
