/* The gwrun command: its table of commands, the options that they share, and
 * how configurations are loaded and errors shown for all of them. Each
 * command is a file of its own (cmd_*.c); nothing here outlives one run. */
#include "cli/cli.h"

#include <getopt.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "util/alloc.h"
#include "util/log.h"
#include "util/typos.h"
#include "util/utf8.h"
#include "worker/program.h"

#define CLOSE_PATIENCE_MS 1000 /* for look-ups, at the end of a process */

static int cmd_help(int argc, char **argv);

static const struct {
    const char *name;
    const char *summary; /* NULL: not for people */
    int (*run)(int argc, char **argv);
} commands[] = {
    {"start", "start everything that the configuration names", cmd_start},
    {"stop", "stop it", cmd_stop},
    {"restart", "stop it and start it again", cmd_restart},
    {"reload", "load the script again; nobody is disconnected", cmd_reload},
    {"status", "what runs, how it is, what it has done", cmd_status},
    {"connections", "one line for each client", cmd_connections},
    {"kick", "close a client, a uid's clients, those of an address", cmd_kick},
    {"ban", "close them, and keep them out for some time", cmd_ban},
    {"drain", "a gateway takes no new clients", cmd_drain},
    {"check", "check the configuration and the script", cmd_check},
    {"dev", "run all in one process, reload on every save", cmd_dev},
    {"new", "make a project: configuration, script, tests, page", cmd_new},
    {"exec", "run a Lua program beside the system", cmd_exec},
    {"attach", "run Lua in a worker of the running system", cmd_attach},
    {"test", "run specs of the script, without a network", cmd_test},
    {"version", "print the version", cmd_version},
    {"help", "tell more about a command", cmd_help},
    {"child", NULL, cmd_child},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

void cli_error(const char *fmt, ...)
{
    char *text;
    va_list ap;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    utf8_make_plain(text, "\t\n");
    fflush(stdout);
    fprintf(stderr, "gwrun: %s\n", text);
    free(text);
}

void cli_print_json(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags);
    const uint8_t *p = (const uint8_t *)text;

    for (size_t left = strlen(text); left > 0;) {
        size_t n = utf8_len(p, left); /* > 0: jansson writes UTF-8 */

        if (*p == '\n' || utf8_plain_len(p, left) > 0)
            fwrite(p, 1, n, stdout);
        else
            printf("\\u%04x", (unsigned)utf8_decode(p, n));
        p += n;
        left -= n;
    }
    putchar('\n');
    free(text);
}

static void print_usage(FILE *out)
{
    fputs("usage: gwrun COMMAND [options]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (commands[i].summary)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\n-c FILE names another configuration than " CLI_CONFIG ".\n"
          "gwrun help COMMAND tells more.\n",
        out);
}

static int unknown_command(const char *name)
{
    const char *best = NULL;
    size_t fewest = TYPOS_MAX + 1;

    for (size_t i = 0; i < COMMANDS; i++) {
        size_t typos = typos_count(name, commands[i].name);

        if (commands[i].summary && typos < fewest) {
            fewest = typos;
            best = commands[i].name;
        }
    }
    if (best)
        cli_error(
            "there is no command \"%.64s\"; did you mean \"%s\"?", name, best);
    else
        cli_error(
            "there is no command \"%.64s\"; gwrun --help lists them", name);
    return CLI_WRONG;
}

/* gwrun help COMMAND is gwrun COMMAND --help. */
static int cmd_help(int argc, char **argv)
{
    static const char help[] =
        "usage: gwrun help [COMMAND]\n\n"
        "Tell what a command does and which options it has; without one, which\n"
        "commands there are.\n";
    struct cli_options o;
    int status = cli_parse(&o, argc, argv, "c", 1, help);

    if (status >= 0)
        return status;
    if (optind == argc) {
        print_usage(stdout);
        return CLI_DONE;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        char *words[] = {argv[optind], (char *)"--help", NULL};

        if (commands[i].summary && strcmp(words[0], commands[i].name) == 0)
            return commands[i].run(2, words);
    }
    return unknown_command(argv[optind]);
}

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"daemon", no_argument, NULL, 'D'},
    {"live", no_argument, NULL, 'L'},
    {"graceful", no_argument, NULL, 'g'},
    {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {"cluster", no_argument, NULL, 'C'},
    {"uid", required_argument, NULL, 'U'},
    {"group", required_argument, NULL, 'G'},
    {"ip", required_argument, NULL, 'I'},
    {"undo", no_argument, NULL, 'u'},
    {"template", required_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void set_option(struct cli_options *o, int letter)
{
    if (letter == 't')
        o->template = optarg;
    else if (letter == 'e')
        o->code = optarg;
    else if (letter == 'U')
        o->uid = optarg;
    else if (letter == 'G')
        o->group = optarg;
    else if (letter == 'I')
        o->ip = optarg;
    else if (letter == 'u')
        o->undo = true;
    else if (letter == 'C')
        o->cluster = true;
    if (letter == 'c') {
        o->config = optarg;
        o->has_config = true;
    } else if (letter == 'D')
        o->daemon = true;
    else if (letter == 'L')
        o->live = true;
    else if (letter == 'g')
        o->graceful = true;
    else if (letter == 'j')
        o->json = true;
    else if (letter == 'q')
        o->quiet = true;
}

int cli_parse(struct cli_options *out, int argc, char **argv,
    const char *letters, int max_words, const char *help)
{
    int letter;

    *out = (struct cli_options){.config = CLI_CONFIG};
    opterr = 0;
    optind = 0; /* begin anew; GNU's way */
    while ((letter = getopt_long(argc, argv,
                letters[0] == '+' ? "+c:de:gjqt:h" : "c:de:gjqt:h",
                long_options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
        if (letter == 'd') /* no command has both */
            letter = strchr(letters, 'L') ? 'L' : 'D';
        if (letter == '?' || !strchr(letters, letter)) {
            cli_error("%s: wrong option \"%s\"; gwrun %s --help lists them",
                argv[0], argv[optind - 1], argv[0]);
            return CLI_WRONG;
        }
        set_option(out, letter);
    }
    if (argc - optind > max_words) {
        cli_error("%s: unexpected word \"%s\"; gwrun %s --help tells more",
            argv[0], argv[optind + max_words], argv[0]);
        return CLI_WRONG;
    }
    out->words = argv + optind;
    out->nwords = argc - optind;
    return -1;
}

/* What config_load() and config_find() say, as an exit status. */
static int tell(int result, char *err)
{
    if (result == 0)
        return CLI_DONE;
    utf8_make_plain(err, "\t\n");
    fputs(err, stderr);
    if (err[0] && err[strlen(err) - 1] != '\n')
        fputc('\n', stderr);
    free(err);
    return CLI_WRONG;
}

/* Go to the root folder of a configuration, if there is one. */
static int enter(struct config *c, int status)
{
    if (status == CLI_DONE && chdir(c->root) < 0) {
        cli_error("cannot enter the folder %s", c->root);
        config_free(c);
        return CLI_FAILED;
    }
    return status;
}

int cli_read(struct config *out, const char *path)
{
    char *err = NULL;
    int result = config_load(out, path, NULL, &err);

    return tell(result, err);
}

int cli_read_program(struct config *out, const char *path)
{
    char *err = NULL;
    int result = config_load_program(out, path, &err);

    return tell(result, err);
}

int cli_load(struct config *out, const char *path)
{
    return enter(out, cli_read(out, path));
}

int cli_load_to_run(struct config *out, const char *path)
{
    int status = cli_load(out, path);

    if (status != CLI_DONE || config_runs(out))
        return status;
    cli_error("%s: nothing to run; give register, gateways or workers", path);
    config_free(out);
    return CLI_WRONG;
}

int cli_find(struct config *out, const char *path)
{
    char *err = NULL;
    int result = config_find(out, path, &err);

    return enter(out, tell(result, err));
}

struct traceback_style cli_style(const struct config *c, FILE *out)
{
    const char *no_color = getenv("NO_COLOR");

    const struct worker_conf *first =
        c->nworkers > 0 ? &c->workers[0].conf : &c->program_conf;

    return (struct traceback_style){.lua_dir = c->program_conf.lua_dir,
        .script = first->script ? first->script : "",
        .color = isatty(fileno(out)) && (!no_color || !*no_color)};
}

void cli_script_error(const struct config *c, FILE *out, const char *error)
{
    struct traceback_style style = cli_style(c, out);
    char *text = traceback_show(error, &style);

    fflush(stdout);
    fprintf(out, "%s\n", text);
    free(text);
}

static char *view(const char *text, const void *style)
{
    return traceback_show(text, style);
}

void cli_show_errors(const struct traceback_style *style)
{
    log_set_view(view, style);
}

static bool compiles(const struct config *c, const char *path, const char *what)
{
    char *wrong = program_try_compile(path);

    if (!wrong)
        return true;
    fprintf(stderr, "gwrun: the %s does not compile: ", what);
    cli_script_error(c, stderr, wrong);
    free(wrong);
    return false;
}

bool cli_scripts_compile(const struct config *c)
{
    bool good = true;

    for (size_t i = 0; i < c->nworkers; i++) {
        if (c->workers[i].count > 0)
            good = compiles(c, c->workers[i].conf.script, "script") && good;
    }
    return cli_programs_compile(c) && good;
}

bool cli_programs_compile(const struct config *c)
{
    bool good = true;

    for (size_t i = 0; i < c->nprograms; i++)
        good = compiles(c, c->programs[i].conf.script, "program") && good;
    return good;
}

static void count_handle(uv_handle_t *handle, void *count)
{
    ++*(size_t *)count;
}

/* Is there nothing left but requests, which only the resolver can end? */
static void on_patience_over(uv_timer_t *timer)
{
    size_t handles = 0;

    uv_walk(timer->loop, count_handle, &handles);
    if (handles > 1)
        return; /* others than the timer */
    *(bool *)timer->data = true;
    uv_stop(timer->loop);
}

void cli_close_loop(uv_loop_t *loop, int status)
{
    bool over = false;
    uv_timer_t patience;

    uv_timer_init(loop, &patience);
    patience.data = &over;
    uv_timer_start(
        &patience, on_patience_over, CLOSE_PATIENCE_MS, CLOSE_PATIENCE_MS);
    uv_unref((uv_handle_t *)&patience);
    while (uv_run(loop, UV_RUN_DEFAULT) != 0) { /* it may have been stopped */
        if (!over)
            continue;
        fflush(NULL);
        _exit(status); /* not exit(), which waits for libuv's threads */
    }
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    if (uv_loop_close(loop) < 0)
        log_error("handles are still open at the end");
}

/* gwrun -c FILE COMMAND … is gwrun COMMAND -c FILE … */
static int run_command(size_t i, int argc, char **argv, const char *config)
{
    char **words = xcalloc((size_t)argc + 3, sizeof(*words));
    int n = 0;
    int status;

    words[n++] = argv[0];
    if (config) {
        words[n++] = (char *)"-c";
        words[n++] = (char *)config;
    }
    for (int k = 1; k < argc; k++)
        words[n++] = argv[k];
    status = commands[i].run(n, words);
    free(words);
    return status;
}

int main(int argc, char **argv)
{
    const char *config = NULL;
    int first = 1;

    argv = uv_setup_args(argc, argv); /* for titles in ps */
    if (argc > 3 && strcmp(argv[1], "-c") == 0) {
        config = argv[2];
        first = 3;
    }
    if (first >= argc) {
        print_usage(stderr);
        return CLI_WRONG;
    }
    if (strcmp(argv[first], "--help") == 0 || strcmp(argv[first], "-h") == 0) {
        print_usage(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[first], "--version") == 0)
        return cmd_version(1, argv + first);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[first], commands[i].name) == 0)
            return run_command(i, argc - first, argv + first, config);
    }
    return unknown_command(argv[first]);
}
