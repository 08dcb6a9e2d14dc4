/* gwrun exec: run a Lua program with the libraries of a worker. The program
 * needs no running system of its own, only registers to find gateways by; the
 * exit status is the program's (worker/program.h). */

#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/clock.h"
#include "util/log.h"
#include "worker/program.h"

static const char help[] =
    "usage: gwrun exec [-c FILE] PROGRAM [arguments]\n"
    "\n"
    "Runs a Lua program that can use everything a script can: Timer, Mysql,\n"
    "Redis, Http, gwrun.spawn …, and waits as a handler does. Where the\n"
    "configuration (" CLI_CONFIG ", or -c FILE) is found, Gateway reaches the\n"
    "clients of the running system.\n"
    "\n"
    "Ends when the program has returned and no function that it spawned and no\n"
    "timer is left: a timer that repeats runs until Timer.del(), os.exit() or\n"
    "Ctrl-C. Exit status 0, or what os.exit() was given; 1 when the program\n"
    "fails, 2 when it cannot be read.\n"
    "\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

struct exec {
    const struct config *config; /* borrowed */
    int status;
    bool ended;
};

static void on_ended(int status, const char *error, void *arg)
{
    struct exec *e = arg;

    e->status = status;
    e->ended = true;
    if (error)
        cli_script_error(e->config, stderr, error);
}

static int run(const struct config *c)
{
    struct exec e = {.config = c};
    struct program *p;
    uv_loop_t loop;

    signal(SIGPIPE, SIG_IGN);
    clock_loop_init(&loop);
    p = program_new(&loop, &c->program_conf, on_ended, &e);
    while (!e.ended)
        uv_run(&loop, UV_RUN_ONCE);
    program_free(p);
    cli_close_loop(&loop, e.status);
    return e.status;
}

/* The current folder stays what it is: the program's files are the caller's. */
static int load(struct config *c, const struct cli_options *o)
{
    if (o->has_config || access(o->config, F_OK) == 0)
        return cli_read_program(c, o->config);
    config_default(c);
    return CLI_DONE;
}

int cmd_exec(int argc, char **argv)
{
    struct cli_options o;
    struct config c;
    struct worker_conf *conf = &c.program_conf;
    struct traceback_style style;
    int status = cli_parse(&o, argc, argv, "+c", INT_MAX, help);

    if (status >= 0)
        return status;
    if (optind == argc) {
        cli_error("exec: name a Lua file; gwrun exec --help tells more");
        return CLI_WRONG;
    }
    if (access(argv[optind], R_OK) < 0) {
        cli_error("exec: cannot read %s: %s", argv[optind], strerror(errno));
        return CLI_WRONG;
    }
    status = load(&c, &o);
    if (status != CLI_DONE)
        return status;
    conf->name = "exec";
    conf->script = argv[optind];
    conf->words = (const char *const *)argv + optind + 1;
    conf->handler_timeout = conf->slow_handler = 0; /* nobody waits for it */
    conf->memory_max = SIZE_MAX;
    log_set_name("exec");
    log_set_level((enum log_level)c.log_level);
    style = cli_style(&c, stderr);
    log_set_color(style.color);
    cli_show_errors(&style);
    setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines also before Ctrl-C */
    status = run(&c);
    config_free(&c);
    return status;
}
