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
#include "role/rundir.h"
#include "util/buf.h"
#include "util/log.h"
#include "worker/program.h"

#define INPUT_MAX (16 << 20) /* bytes of a program on the standard input */

static const char help[] =
    "usage: gwrun exec [-c FILE] PROGRAM | - | -e CODE [arguments]\n"
    "\n"
    "Runs a Lua program: a file, the standard input, or CODE. It can use\n"
    "everything a script can (Timer, Mysql, Redis, Http, gwrun.spawn …), and\n"
    "waits as a handler does. Where the configuration (" CLI_CONFIG ", or -c\n"
    "FILE) is found, Gateway reaches the clients of the running system.\n"
    "\n"
    "Ends when the program has returned and no function that it spawned and no\n"
    "timer is left: a timer that repeats runs until Timer.del(), os.exit() or\n"
    "Ctrl-C. Exit status 0, or what os.exit() was given; 1 when the program\n"
    "fails, 2 when it cannot be read.\n"
    "\n"
    "  -e CODE            the program itself, as in -e 'Gateway.sendToAll \"hi\"'\n"
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

/* A program: its name for messages, and its text, or NULL where that is read
 * from the file of that name. */
struct source {
    const char *name;
    const char *text;
    const char *const *words; /* its arguments */
};

/* All of the standard input behind out. */
static int read_input(struct buf *out)
{
    size_t n;

    do {
        n = fread(buf_reserve(out, BUFSIZ), 1, BUFSIZ, stdin);
        buf_commit(out, n);
    } while (n > 0 && out->len <= INPUT_MAX);
    if (ferror(stdin) || out->len > INPUT_MAX) {
        cli_error("exec: cannot read the standard input: %s",
            ferror(stdin) ? strerror(errno) : "it is too long");
        return CLI_WRONG;
    }
    if (memchr(out->data ? out->data : (uint8_t *)"", '\0', out->len)) {
        cli_error("exec: the standard input is no text");
        return CLI_WRONG;
    }
    buf_append_byte(out, '\0');
    return CLI_DONE;
}

/* Where the program is; input keeps its text. */
static int find_source(
    struct source *out, const struct cli_options *o, struct buf *input)
{
    int first = o->code ? 0 : 1;
    int status = CLI_DONE;

    if (o->nwords < first) {
        cli_error("exec: name a Lua file; gwrun exec --help tells more");
        return CLI_WRONG;
    }
    out->words = (const char *const *)o->words + first;
    if (o->code) {
        *out = (struct source){"-e", o->code, out->words};
    } else if (strcmp(o->words[0], "-") == 0) {
        status = read_input(input);
        *out = (struct source){"stdin", (const char *)input->data, out->words};
    } else if (access(o->words[0], R_OK) < 0) {
        cli_error("exec: cannot read %s: %s", o->words[0], strerror(errno));
        status = CLI_WRONG;
    } else {
        *out = (struct source){o->words[0], NULL, out->words};
    }
    return status;
}

static int exec(const struct cli_options *o, const struct source *source)
{
    struct config c;
    struct worker_conf *conf = &c.program_conf;
    struct traceback_style style;
    int status = load(&c, o);
    int kept_fd;

    if (status != CLI_DONE)
        return status;
    conf->name = "exec";
    conf->script = source->name;
    conf->script_text = source->text;
    conf->words = source->words;
    conf->handler_timeout = conf->slow_handler = 0; /* nobody waits for it */
    conf->memory_max = SIZE_MAX;
    log_set_name("exec");
    log_set_level((enum log_level)c.log_level);
    style = cli_style(&c, stderr);
    log_set_color(style.color);
    cli_show_errors(&style);
    setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines also before Ctrl-C */
    kept_fd = rundir_find_kept(&c, &conf->discovery);
    conf->discovery.kept_fd = kept_fd;
    status = run(&c);
    if (kept_fd > 0)
        close(kept_fd);
    config_free(&c);
    return status;
}

int cmd_exec(int argc, char **argv)
{
    struct cli_options o;
    struct source source;
    struct buf input = {0};
    int status = cli_parse(&o, argc, argv, "+ce", INT_MAX, help);

    if (status >= 0)
        return status;
    status = find_source(&source, &o, &input);
    if (status == CLI_DONE)
        status = exec(&o, &source);
    buf_fini(&input);
    return status;
}
