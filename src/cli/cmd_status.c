/* gwrun status: a table of processes with what they count, once, live, or as
 * JSON. What the master answers is shown as it is; the one judgement made here
 * is which processes keep clients from being served, and it decides the exit
 * status. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/table.h"
#include "proc/verdict.h"
#include "wire/ctlmsg.h"

static const char help[] =
    "usage: gwrun status [-d] [--cluster] [--json] [-c FILE]\n\n"
    "What runs, how it is and what it has done so far, asked of every process.\n"
    "The exit status is 1, and stderr says why, when something keeps clients from\n"
    "being served: nothing runs, a process does not answer, or it misses workers,\n"
    "a register or a gateway.\n\n"
    "  -d, --live         again each second; cpu is then that of the second\n"
    "  --cluster          the cells of the cluster instead, asked of its Redis; the\n"
    "                     exit status is 1 when that cannot be asked\n"
    "  -j, --json         all numbers, for programs\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

#define LINKS_SHOWN  10 /* of a process */
#define CLEAR_SCREEN "\033[H\033[2J"

static int64_t count_clients(const json_t *process)
{
    if (verdict_is_role(process, "register"))
        return verdict_counter(process, "gateways") +
               verdict_counter(process, "workers");
    return verdict_counter(process, "clients");
}

static int64_t count_errors(const json_t *process)
{
    return verdict_counter(process, "errors") +
           verdict_counter(process, "overflow_closed") +
           verdict_counter(process, "overflow_dropped") +
           verdict_counter(process, "unfinished_closed") +
           (verdict_is_role(process, "register")
                   ? verdict_counter(process, "refused")
                   : 0);
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
    int64_t used = verdict_counter(process, "cpu_ms");

    if (old) {
        ms -= ctlmsg_int(old, "uptime_ms", 0);
        used -= verdict_counter(old, "cpu_ms");
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
        table_add(
            t, "%.1fM", (double)verdict_counter(process, "memory") / 1048576);
        add_cpu(t, process, before);
        table_add(t, "%lld", (long long)verdict_counter(process, "events"));
        table_add(t, "%lld", (long long)count_errors(process));
    } else {
        for (int i = 0; i < 5; i++)
            table_add(t, "-");
    }
    add_time(t, ctlmsg_int(process, "uptime_ms", 0) / 1000);
    table_add(t, "%lld", (long long)ctlmsg_int(process, "restarts", 0));
    table_add(t, "%s", verdict_of(process));
}

/* Why processes had to be started again: the first line of what each said. */
static void print_ends(const json_t *m)
{
    json_t *process;
    size_t i;

    json_array_foreach(json_object_get(m, "processes"), i, process)
    {
        const char *why = ctlmsg_string(process, "last_end", NULL);

        if (why)
            printf("%s/%lld %s: %.*s\n", ctlmsg_string(process, "role", "?"),
                (long long)ctlmsg_int(process, "slot", 0),
                strcmp(ctlmsg_string(process, "state", ""), "failed") == 0
                    ? "failed"
                    : "was started again",
                (int)strcspn(why, "\n"), why);
    }
}

/* Which links are not as they should be, and since when. */
static void print_links(const json_t *process)
{
    const json_t *link;
    size_t i;

    json_array_foreach(json_object_get(process, "links"), i, link)
    {
        const char *name = ctlmsg_string(link, "name", NULL);
        long long ms = (long long)ctlmsg_int(link, "ms", 0);

        if (i == LINKS_SHOWN) {
            printf("%s/%lld: … and more\n", ctlmsg_string(process, "role", "?"),
                (long long)ctlmsg_int(process, "slot", 0));
            return;
        }
        printf("%s/%lld: %s %s%s%s%s %s", ctlmsg_string(process, "role", "?"),
            (long long)ctlmsg_int(process, "slot", 0),
            verdict_is_role(process, "gateway") ? "worker" : "gateway",
            ctlmsg_string(link, "peer", "?"), name ? " (" : "",
            name ? name : "", name ? ")" : "",
            ctlmsg_string(link, "state", "?"));
        if (ms > 0)
            printf(" for %lld.%lld s", ms / 1000, ms / 100 % 10);
        putchar('\n');
    }
}

/* Which gateways have workers that do not say what they have begun: PHP's, or
 * gwrun's that were built before there were acknowledgements. */
static void print_silent(const json_t *m)
{
    json_t *process;
    size_t i;

    json_array_foreach(json_object_get(m, "processes"), i, process)
    {
        long long silent =
            (long long)verdict_counter(process, "workers_silent");

        if (silent > 0)
            printf("%s/%lld: %lld of %lld workers acknowledge nothing: should "
                   "they be lost, so are events (events_unknown)\n",
                ctlmsg_string(process, "role", "?"),
                (long long)ctlmsg_int(process, "slot", 0), silent,
                (long long)verdict_counter(process, "workers"));
        print_links(process);
    }
}

static void print_summary(const json_t *m)
{
    int64_t clients = 0, memory = 0, ready = 0;
    json_t *processes = json_object_get(m, "processes");
    json_t *process;
    size_t i;

    json_array_foreach(processes, i, process)
    {
        if (verdict_is_role(process, "gateway"))
            clients += verdict_counter(process, "clients");
        memory += verdict_counter(process, "memory");
        ready += strcmp(verdict_of(process), "ready") == 0;
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
    print_ends(m);
    print_silent(m);
    print_summary(m);
}

static void print_problems(const json_t *m)
{
    const json_t *line;
    size_t i;

    fflush(stdout);
    json_array_foreach(json_object_get(m, "problems"), i, line)
        cli_error("%s", json_string_value(line));
}

static void print_json(json_t *m)
{
    json_object_del(m, "type");
    cli_print_json(m, JSON_INDENT(2));
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

/* The status with its problems, or NULL. Links of what has just started, or was
 * just replaced, are made within moments: a problem counts when it is there a
 * moment later, too. */
static json_t *judge(struct instance *in, size_t *problems)
{
    static const struct timespec moment = {0, 500 * 1000 * 1000};
    json_t *m = ask(in);

    if (!m)
        return NULL;
    *problems = verdict_add_problems(m);
    if (*problems == 0)
        return m;
    json_decref(m);
    nanosleep(&moment, NULL);
    m = ask(in);
    if (m)
        *problems = verdict_add_problems(m);
    return m;
}

static int show(struct instance *in, const struct cli_options *o)
{
    json_t *m;
    size_t problems;

    if (o->live)
        return watch(in);
    m = judge(in, &problems);
    if (!m)
        return CLI_FAILED;
    if (o->json) {
        print_json(m);
    } else {
        print_status(m, NULL);
        print_problems(m);
    }
    json_decref(m);
    return problems > 0 ? CLI_FAILED : CLI_DONE;
}

int cmd_status(int argc, char **argv)
{
    struct cli_options o;
    int status = cli_parse(&o, argc, argv, "cLjC", 0, help);

    if (status >= 0)
        return status;
    if (o.cluster)
        return cmd_cluster(&o);
    return instance_command(argc, argv, "cLjC", 0, help, show);
}
