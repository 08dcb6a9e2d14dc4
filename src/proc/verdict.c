/* The one judgement of which processes keep clients from being served. It looks
 * at nothing but the status: `gwrun status` makes its exit status of it, the
 * operators' port its probe. */
#include "proc/verdict.h"

#include <string.h>

int64_t verdict_counter(const json_t *process, const char *name)
{
    const json_t *counters = json_object_get(process, "counters");

    return counters ? ctlmsg_int(counters, name, 0) : 0;
}

bool verdict_is_role(const json_t *process, const char *role)
{
    return strcmp(ctlmsg_string(process, "role", ""), role) == 0;
}

const char *verdict_of(const json_t *process)
{
    const char *state = ctlmsg_string(process, "state", "?");
    const json_t *counters = json_object_get(process, "counters");

    if (strcmp(state, "ready") != 0)
        return state;
    if (!json_is_true(json_object_get(process, "answering")))
        return "not answering";
    if (json_is_false(json_object_get(counters, "accepting")))
        return "no worker yet";
    if (verdict_counter(process, "registers_missing") > 0)
        return "register missing";
    if (verdict_counter(process, "gateways_known") >
        verdict_counter(process, "gateways"))
        return "gateway missing";
    if (verdict_counter(process, "gateways_silent") > 0)
        return "gateway silent";
    return "ready";
}

/* Gateways serve any clients; workers those of their name's, and each program
 * does something else. */
static bool are_alike(const json_t *a, const json_t *b)
{
    if (!verdict_is_role(b, ctlmsg_string(a, "role", "?")))
        return false;
    return verdict_is_role(a, "gateway") ||
           strcmp(ctlmsg_string(a, "name", ""), ctlmsg_string(b, "name", "")) ==
               0;
}

/* Whether this process, or all of its kind while it is not ready, keeps clients
 * from being served. One that starts, while others of its kind are ready, does
 * not. */
static bool is_in_the_way(const json_t *m, const json_t *process)
{
    const char *state = ctlmsg_string(process, "state", "?");
    const json_t *other;
    size_t i;

    if (strcmp(state, "ready") == 0)
        return strcmp(verdict_of(process), "ready") != 0;
    if (strcmp(state, "ended") == 0)
        return false; /* a program that has done its work */
    if (verdict_is_role(process, "admin"))
        return false; /* clients do not need the operators' port */
    json_array_foreach(json_object_get(m, "processes"), i, other)
    {
        if (are_alike(process, other) &&
            strcmp(verdict_of(other), "ready") == 0)
            return false;
    }
    return true;
}

size_t verdict_add_problems(json_t *status)
{
    json_t *problems = json_array();
    const json_t *process;
    size_t i;

    json_array_foreach(json_object_get(status, "processes"), i, process)
    {
        if (!is_in_the_way(status, process))
            continue;
        json_array_append_new(problems,
            json_sprintf("%s/%lld %s: %s", ctlmsg_string(process, "role", "?"),
                (long long)ctlmsg_int(process, "slot", 0),
                ctlmsg_string(process, "name", ""), verdict_of(process)));
    }
    json_object_set_new(status, "problems", problems);
    return json_array_size(problems);
}

/* Can this process do its part, whatever else it misses? */
static bool does_serve(const json_t *process)
{
    const json_t *counters = json_object_get(process, "counters");

    return strcmp(ctlmsg_string(process, "state", "?"), "ready") == 0 &&
           json_is_true(json_object_get(process, "answering")) &&
           !json_is_false(json_object_get(counters, "accepting"));
}

static bool is_needed(const json_t *process)
{
    return verdict_is_role(process, "gateway") ||
           verdict_is_role(process, "worker");
}

static bool is_served(const json_t *m, const json_t *process)
{
    const json_t *other;
    size_t i;

    json_array_foreach(json_object_get(m, "processes"), i, other)
    {
        if (are_alike(process, other) && does_serve(other))
            return true;
    }
    return false;
}

json_t *verdict_alone(const json_t *status)
{
    json_t *lines = json_array();
    const json_t *process, *up;
    size_t i;

    json_array_foreach(json_object_get(status, "processes"), i, process)
    {
        up = json_object_get(json_object_get(process, "counters"), "engine_up");
        if (json_is_false(up))
            json_array_append_new(
                lines, json_sprintf("%s/%lld %s: the cluster is away",
                           ctlmsg_string(process, "role", "?"),
                           (long long)ctlmsg_int(process, "slot", 0),
                           ctlmsg_string(process, "name", "")));
    }
    return lines;
}

json_t *verdict_refusals(const json_t *status)
{
    json_t *lines = json_array();
    const json_t *process;
    size_t i;

    if (json_is_true(json_object_get(status, "stopping")))
        json_array_append_new(lines, json_string("the system is stopping"));
    if (ctlmsg_int(status, "pid", 0) == 0)
        json_array_append_new(lines, json_string("the system is starting"));
    json_array_foreach(json_object_get(status, "processes"), i, process)
    {
        if (is_needed(process) && !is_served(status, process))
            json_array_append_new(lines,
                json_sprintf("%s/%lld %s: %s",
                    ctlmsg_string(process, "role", "?"),
                    (long long)ctlmsg_int(process, "slot", 0),
                    ctlmsg_string(process, "name", ""), verdict_of(process)));
    }
    return lines;
}
