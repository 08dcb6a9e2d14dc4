#include "cli/cli.h"

#include <getopt.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "cli/typos.h"
#include "util/alloc.h"
#include "util/log.h"

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
    {"check", "check the configuration and the script", cmd_check},
    {"dev", "run all in one process, reload on every save", cmd_dev},
    {"new", "make a project: configuration, script, tests, page", cmd_new},
    {"exec", "run a Lua program beside the system", cmd_exec},
    {"attach", "run Lua in a worker of the running system", cmd_attach},
    {"test", "run specs of the script, without a network", cmd_test},
    {"version", "print the version", cmd_version},
    {"child", NULL, cmd_child},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

void cli_error(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("gwrun: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static void print_usage(FILE *out)
{
    fputs("usage: gwrun COMMAND [options]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (commands[i].summary)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\n-c FILE names another configuration than " CLI_CONFIG ".\n"
          "gwrun COMMAND --help tells more.\n",
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

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"daemon", no_argument, NULL, 'd'},
    {"live", no_argument, NULL, 'd'},
    {"graceful", no_argument, NULL, 'g'},
    {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void set_option(struct cli_options *o, int letter)
{
    if (letter == 'c') {
        o->config = optarg;
        o->has_config = true;
    } else if (letter == 'd')
        o->daemon = true;
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
                letters[0] == '+' ? "+c:dgjqh" : "c:dgjqh", long_options,
                NULL)) != -1) {
        if (letter == 'h') {
            fputs(help, stdout);
            return CLI_DONE;
        }
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
    return -1;
}

/* What config_load() and config_find() say, as an exit status. */
static int tell(int result, char *err)
{
    if (result == 0)
        return CLI_DONE;
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

int cli_load(struct config *out, const char *path)
{
    return enter(out, cli_read(out, path));
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

    return (struct traceback_style){.lua_dir = c->worker_conf.lua_dir,
        .script = c->worker_conf.script ? c->worker_conf.script : "",
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

bool cli_script_compiles(const struct config *c)
{
    lua_State *L;
    bool good;

    if (!c->has_workers)
        return true;
    L = luaL_newstate();
    if (!L) {
        cli_error("not enough memory");
        return false;
    }
    good = luaL_loadfilex(L, c->worker_conf.script, "t") == LUA_OK;
    if (!good) {
        fputs("gwrun: the script does not compile: ", stderr);
        cli_script_error(c, stderr, lua_tostring(L, -1));
    }
    lua_close(L);
    return good;
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
    if (strcmp(argv[first], "--help") == 0 || strcmp(argv[first], "-h") == 0 ||
        strcmp(argv[first], "help") == 0) {
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
