#include "cli/cli.h"

#include <stdlib.h>
#include <uv.h>

#include "net/clock.h"
#include "util/alloc.h"

#define CHECK_TIMEOUT   30000 /* ms that all of it may take */
#define CHECK_STOP_TIME 5     /* seconds of them for onWorkerStop */

static const char help[] =
    "usage: gwrun check [-c FILE]\n"
    "\n"
    "Checks the configuration and the script without touching what runs: the\n"
    "script is loaded in a worker of its own that no gateway knows; its\n"
    "onWorkerStart and onWorkerStop are called. Exit status 0 when all is well,\n"
    "2 when not.\n";

/* A worker that only loads the script. */
struct check {
    uv_timer_t deadline;
    bool done; /* the script is loaded, or never will be */
    bool stopped;
    char *error; /* owned; why it failed */
};

static void on_ready(void *arg)
{
    ((struct check *)arg)->done = true;
}

static void on_failed(const char *message, void *arg)
{
    struct check *c = arg;

    free(c->error);
    c->error = xstrdup(message);
    c->done = true;
}

static void on_stopped(void *arg)
{
    ((struct check *)arg)->stopped = true;
}

static void on_deadline(uv_timer_t *timer)
{
    on_failed("the script has not started or stopped within 30 s", timer->data);
}

/* NULL, or why the script cannot serve; the caller frees it. */
static char *check_script(const struct worker_conf *configured)
{
    static const struct worker_events events = {
        .on_ready = on_ready, .on_failed = on_failed, .on_stopped = on_stopped};
    static const char *const nobody[] = {NULL};
    struct worker_conf conf = *configured;
    struct check c = {0};
    struct worker *w;
    uv_loop_t loop;

    conf.register_addresses = nobody;
    clock_loop_init(&loop);
    uv_timer_init(&loop, &c.deadline);
    c.deadline.data = &c;
    uv_timer_start(&c.deadline, on_deadline, CHECK_TIMEOUT, 0);
    w = worker_new(&loop, &conf, 0, &events, &c);
    while (!c.done)
        uv_run(&loop, UV_RUN_ONCE);
    if (!c.error) {
        worker_stop(w, CHECK_STOP_TIME);
        while (!c.stopped && !c.error)
            uv_run(&loop, UV_RUN_ONCE);
    }
    worker_free(w);
    uv_close((uv_handle_t *)&c.deadline, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return c.error;
}

int cmd_check(int argc, char **argv)
{
    struct cli_options options;
    struct config c;
    char *error = NULL;
    int status = cli_parse(&options, argc, argv, "c", 0, help);

    if (status >= 0)
        return status;
    status = cli_load(&c, options.config);
    if (status != CLI_DONE)
        return status;
    if (c.has_workers)
        error = check_script(&c.worker_conf);
    if (error) {
        cli_script_error(&c, stderr, error);
        status = CLI_WRONG;
    } else {
        puts(c.has_workers ? "configuration ok, script ok"
                           : "configuration ok, no script here");
    }
    free(error);
    config_free(&c);
    return status;
}
