#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/table.h"
#include "wire/ctlmsg.h"

static const char help[] =
    "usage: gwrun status [-d] [--json] [-c FILE]\n\n"
    "What runs, how it is and what it has done so far, asked of every process.\n\n"
    "  -d, --live         again each second; cpu is then that of the second\n"
    "  -j, --json         all numbers, for programs\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

#define CLEAR_SCREEN "\033[H\033[2J"

/* A number among a process's counters; 0 when it did not answer. */
static int64_t counter(const json_t *process, const char *name)
{
    const json_t *counters = json_object_get(process, "counters");

    return counters ? ctlmsg_int(counters, name, 0) : 0;
}

static bool is_role(const json_t *process, const char *role)
{
    return strcmp(ctlmsg_string(process, "role", ""), role) == 0;
}

static int64_t count_clients(const json_t *process)
{
    if (is_role(process, "register"))
        return counter(process, "gateways") + counter(process, "workers");
    return counter(process, "clients");
}

static int64_t count_errors(const json_t *process)
{
    return counter(process, "errors") + counter(process, "overflow_closed") +
           counter(process, "overflow_dropped") +
           (is_role(process, "register") ? counter(process, "refused") : 0);
}

/* The last column. */
static const char *describe(const json_t *process)
{
    const char *state = ctlmsg_string(process, "state", "?");
    const json_t *counters = json_object_get(process, "counters");

    if (strcmp(state, "ready") != 0)
        return state;
    if (!json_is_true(json_object_get(process, "answering")))
        return "not answering";
    if (json_is_false(json_object_get(counters, "accepting")))
        return "no worker yet";
    if (counter(process, "registers_missing") > 0)
        return "register missing";
    if (counter(process, "gateways_known") > counter(process, "gateways"))
        return "gateway missing";
    return "ready";
}

static void add_time(struct table *t, int64_t seconds)
{
    if (seconds >= 86400)
        table_add(t, "%lldd%02lldh", (long long)seconds / 86400,
            (long long)seconds / 3600 % 24);
    else if (seconds >= 3600)
        table_add(t, "%lldh%02lldm", (long long)seconds / 3600,
            (long long)seconds / 60 % 60);
    else
        table_add(t, "%lldm%02llds", (long long)seconds / 60,
            (long long)seconds % 60);
}

/* The same process in an earlier answer, or NULL. */
static const json_t *find_before(const json_t *before, const json_t *process)
{
    json_t *other;
    size_t i;

    json_array_foreach(json_object_get(before, "processes"), i, other)
    {
        if (ctlmsg_int(other, "pid", 0) == ctlmsg_int(process, "pid", -1))
            return other;
    }
    return NULL;
}

/* Seconds used so far; in a live table, the share of the time since before. */
static void add_cpu(
    struct table *t, const json_t *process, const json_t *before)
{
    const json_t *old = find_before(before, process);
    int64_t ms = ctlmsg_int(process, "uptime_ms", 0);
    int64_t used = counter(process, "cpu_ms");

    if (old) {
        ms -= ctlmsg_int(old, "uptime_ms", 0);
        used -= counter(old, "cpu_ms");
        table_add(t, "%.0f%%", ms > 0 ? 100.0 * (double)used / (double)ms : 0);
    } else {
        table_add(t, "%.1fs", (double)used / 1000);
    }
}

static void add_process(
    struct table *t, const json_t *process, const json_t *before)
{
    bool answered = json_object_get(process, "counters") != NULL;
    int64_t pid = ctlmsg_int(process, "pid", 0);

    if (pid)
        table_add(t, "%lld", (long long)pid);
    else
        table_add(t, "-");
    table_add(t, "%s/%lld", ctlmsg_string(process, "role", "?"),
        (long long)ctlmsg_int(process, "slot", 0));
    table_add(t, "%s", ctlmsg_string(process, "name", ""));
    table_add(t, "%s", ctlmsg_string(process, "listen", ""));
    if (answered) {
        table_add(t, "%lld", (long long)count_clients(process));
        table_add(t, "%.1fM", (double)counter(process, "memory") / 1048576);
        add_cpu(t, process, before);
        table_add(t, "%lld", (long long)counter(process, "events"));
        table_add(t, "%lld", (long long)count_errors(process));
    } else {
        for (int i = 0; i < 5; i++)
            table_add(t, "-");
    }
    add_time(t, ctlmsg_int(process, "uptime_ms", 0) / 1000);
    table_add(t, "%lld", (long long)ctlmsg_int(process, "restarts", 0));
    table_add(t, "%s", describe(process));
}

static void print_summary(const json_t *m)
{
    int64_t clients = 0, memory = 0, ready = 0;
    json_t *processes = json_object_get(m, "processes");
    json_t *process;
    size_t i;

    json_array_foreach(processes, i, process)
    {
        if (is_role(process, "gateway"))
            clients += counter(process, "clients");
        memory += counter(process, "memory");
        ready += strcmp(describe(process), "ready") == 0;
    }
    printf("%zu processes, %lld ready; %lld clients; %.1f MB\n",
        json_array_size(processes), (long long)ready, (long long)clients,
        (double)memory / 1048576);
}

static void print_status(const json_t *m, const json_t *before)
{
    static const char *const heads[] = {"pid", "process", "name", "listen",
        "clients", "memory", "cpu", "events", "errors", "up", "restarts",
        "status"};
    int64_t up = ctlmsg_int(m, "uptime_ms", 0) / 1000;
    struct table *t = table_new("rlllrrrrrrrl");
    json_t *process;
    size_t i;

    for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        table_add(t, "%s", heads[i]);
    json_array_foreach(json_object_get(m, "processes"), i, process)
        add_process(t, process, before);
    printf("gwrun %s   master %lld   up %lldd %02lld:%02lld:%02lld   script "
           "generation %lld%s\n\n",
        ctlmsg_string(m, "version", "?"), (long long)ctlmsg_int(m, "pid", 0),
        (long long)up / 86400, (long long)up / 3600 % 24,
        (long long)up / 60 % 60, (long long)up % 60,
        (long long)ctlmsg_int(m, "generation", 0),
        json_is_true(json_object_get(m, "stopping")) ? "   stopping" : "");
    table_print(t, stdout);
    table_free(t);
    putchar('\n');
    print_summary(m);
}

static void print_json(json_t *m)
{
    char *text;

    json_object_del(m, "type");
    text = json_dumps(m, JSON_INDENT(2));
    puts(text);
    free(text);
}

static json_t *ask(struct instance *in)
{
    return instance_ask(
        in, json_pack("{s:s}", "type", "status"), INSTANCE_TIMEOUT);
}

/* Once a second until Ctrl-C, or until there is nobody to ask. */
static int watch(struct instance *in)
{
    static const struct timespec second = {1, 0};
    json_t *before = NULL;
    json_t *m;

    while ((m = ask(in))) {
        fputs(isatty(STDOUT_FILENO) ? CLEAR_SCREEN : "\n", stdout);
        print_status(m, before);
        fflush(stdout);
        json_decref(before);
        before = m;
        nanosleep(&second, NULL);
    }
    json_decref(before);
    return CLI_FAILED;
}

static int show(struct instance *in, const struct cli_options *o)
{
    json_t *m;

    if (o->daemon)
        return watch(in);
    m = ask(in);
    if (!m)
        return CLI_FAILED;
    if (o->json)
        print_json(m);
    else
        print_status(m, NULL);
    json_decref(m);
    return CLI_DONE;
}

int cmd_status(int argc, char **argv)
{
    return instance_command(argc, argv, "cdj", help, show);
}
