/* gwrun attach: a Lua prompt inside a running worker. It reads what is typed
 * or piped in, joins lines until Lua has a whole statement, has the worker run
 * each piece by the master, and prints what comes back. It owns the text of a
 * piece and nothing in the worker: a prompt that is killed leaves no trace
 * there. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "wire/ctlmsg.h"

#define ANSWER_TIMEOUT 1e6 /* seconds: what was typed may wait as it likes */
#define CODE_MAX       (CTLMSG_MAX_LEN / 8) /* bytes; some grow in JSON */
#define READ_ROOM      (64 * 1024)          /* bytes offered to one read */
#define SLOT_MAX       65535

static const char help[] =
    "usage: gwrun attach [-c FILE] [WORKER]\n"
    "\n"
    "Runs Lua in a worker of the running system (the first, or by its number in\n"
    "gwrun status, or by its name and its number among those of that name, such\n"
    "as Chat:0), beside its clients and with all that the script has. On a\n"
    "terminal it asks for a piece at a time and shows its values; Ctrl-D ends.\n"
    "Else all of the standard input is one piece:\n"
    "\n"
    "  echo 'Gateway.getAllClientIdCount()' | gwrun attach\n"
    "\n"
    "What waits when this ends is cut short. Exit status 0; 1 when the piece\n"
    "fails.\n"
    "\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

struct attach {
    struct instance in;
    const struct config *config; /* borrowed */
    const char *name; /* borrowed; of the worker's kind; NULL: of any */
    long slot;        /* the number among those */
    lua_State *L;     /* owned; only compiles */
};

/* code with a '\0' behind it: does Lua expect more? */
static bool is_unfinished(lua_State *L, const char *code)
{
    const char *message;
    size_t len;
    bool more = false;

    lua_pushfstring(L, "return %s", code);
    if (luaL_loadstring(L, lua_tostring(L, -1)) != LUA_OK &&
        luaL_loadstring(L, code) == LUA_ERRSYNTAX) {
        message = lua_tolstring(L, -1, &len);
        more = len >= 5 && strcmp(message + len - 5, "<eof>") == 0;
    }
    lua_settop(L, 0);
    return more;
}

static json_t *ask(struct attach *a, json_t *code)
{
    return instance_ask(&a->in,
        json_pack("{s:s,s:s*,s:i,s:o}", "type", "eval", "name", a->name, "slot",
            (int)a->slot, "code", code),
        ANSWER_TIMEOUT);
}

/* Have the piece run and show what comes. 0, 1 when it failed, or -1 when it
 * could not be run. */
static int run(struct attach *a, const struct buf *code)
{
    json_t *text = json_stringn((const char *)code->data, code->len);
    const char *error;
    int status;
    json_t *m;

    if (!text || strlen(json_string_value(text)) != code->len) {
        json_decref(text);
        cli_error("attach: the input is not UTF-8 text");
        return CLI_FAILED;
    }
    m = ask(a, text);
    while (m && json_is_true(json_object_get(m, "more"))) {
        fputs(ctlmsg_string(m, "output", ""), stdout);
        fflush(stdout);
        json_decref(m);
        m = instance_next(&a->in, ANSWER_TIMEOUT);
    }
    if (!m)
        return -1;
    error = ctlmsg_string(m, "error", NULL);
    status = error ? CLI_FAILED : CLI_DONE;
    if (error)
        cli_script_error(a->config, stderr, error);
    json_decref(m);
    return status;
}

/* Piece by piece, as they are typed. */
static int converse(struct attach *a)
{
    struct buf code = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int status = CLI_DONE;

    fputs("Ctrl-D ends\n> ", stdout);
    while (status >= 0 && (n = getline(&line, &room, stdin)) > 0) {
        buf_append(&code, line, (size_t)n + 1);
        code.len--; /* the '\0' stays behind it */
        if (!is_unfinished(a->L, (const char *)code.data)) {
            status = run(a, &code);
            buf_clear(&code);
        }
        fputs(code.len > 0 ? ">> " : "> ", stdout);
    }
    putchar('\n');
    free(line);
    buf_fini(&code);
    return status < 0 ? CLI_FAILED : CLI_DONE;
}

/* The whole input at once. */
static int run_input(struct attach *a)
{
    struct buf code = {0};
    int status = CLI_WRONG;
    ssize_t n;

    do {
        n = read(STDIN_FILENO, buf_reserve(&code, READ_ROOM), READ_ROOM);
        if (n > 0)
            buf_commit(&code, (size_t)n);
    } while (n > 0 && code.len <= CODE_MAX);
    if (n < 0)
        cli_error("attach: cannot read the input: %s", strerror(errno));
    else if (n > 0)
        cli_error("attach: more than %d bytes of input", CODE_MAX);
    else
        status = run(a, &code) == CLI_DONE ? CLI_DONE : CLI_FAILED;
    buf_fini(&code);
    return status;
}

static int attach(struct attach *a, const struct config *c)
{
    int status = instance_open(&a->in, c);

    if (status != CLI_DONE)
        return status;
    a->config = c;
    a->L = luaL_newstate();
    status = isatty(STDIN_FILENO) && a->L ? converse(a) : run_input(a);
    if (a->L)
        lua_close(a->L);
    instance_close(&a->in);
    return status;
}

/* The number that word is, or -1. */
static long parse_slot(const char *word)
{
    char *end;
    long slot = strtol(word, &end, 10);

    return *word && !*end && slot >= 0 && slot <= SLOT_MAX ? slot : -1;
}

/* "3", or "Chat:0" in place, or "Chat", which is its first. */
static bool parse_worker(struct attach *a, char *word)
{
    char *colon = strrchr(word, ':');

    a->slot = parse_slot(word);
    if (a->slot >= 0)
        return true;
    a->name = word;
    a->slot = colon ? parse_slot(colon + 1) : 0;
    if (colon)
        *colon = '\0';
    return word[0] != '\0' && a->slot >= 0;
}

int cmd_attach(int argc, char **argv)
{
    struct attach a = {0};
    struct cli_options o;
    struct config c;
    int status = cli_parse(&o, argc, argv, "c", 1, help);

    if (status >= 0)
        return status;
    if (optind < argc && !parse_worker(&a, argv[optind])) {
        cli_error("attach: give the number of a worker, or its name and number "
                  "such as Chat:0; gwrun status lists them");
        return CLI_WRONG;
    }
    status = cli_find(&c, o.config);
    if (status != CLI_DONE)
        return status;
    status = attach(&a, &c);
    config_free(&c);
    return status;
}
