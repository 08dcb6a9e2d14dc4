/* Which numbers a process tells, and how they are read. Nothing counts here: a
 * role counts into its own struct and hands a copy out; a table says what of it
 * is told, in the order of `gwrun status --json`. spec/docs_spec.lua compares
 * the tables with docs/deployment.md, name by name and word by word. */
#include "role/counters.h"

#include <string.h>

#include "gateway/gateway.h"
#include "register/register.h"
#include "worker/program.h"
#include "worker/worker.h"

#define ROW(type, name, kind, unit, field, help)                  \
    {                                                             \
        name, help, COUNTERS_##kind, unit, offsetof(type, field), \
            sizeof(((type *)NULL)->field)                         \
    }

/* How long something took. */
#define TIMES(type, name, field, help) \
    ROW(type, name, HISTOGRAM, "seconds", field, help)

/* How much there was of something, looked at once a second. */
#define SAMPLES(type, name, field, help) \
    ROW(type, name, HISTOGRAM, "bytes", field, help)

#define NUMBER       ""
#define BYTES        "bytes"
#define MILLISECONDS "milliseconds"
#define BOOLEAN      "boolean"

#define PROCESS(name, kind, unit, field, help) \
    ROW(struct counters_process, name, kind, unit, field, help)
const struct counter counters_process[] = {
    PROCESS("memory", GAUGE, BYTES, memory,
        "bytes of the process that are in memory"),
    PROCESS("cpu_ms", COUNTER, MILLISECONDS, cpu_ms,
        "CPU time used, in milliseconds"),
    PROCESS("log_dropped", COUNTER, NUMBER, log_dropped,
        "lines of the log that could not be written"),
    TIMES(struct counters_process, "loop_turn", turns,
        "how long turns of its loop took: what came meanwhile waited so long"),
    {NULL, NULL, 0, NULL, 0, 0},
};

#define GATEWAY(name, kind, unit, field, help) \
    ROW(struct gateway_status, name, kind, unit, field, help)
const struct counter counters_gateway[] = {
    GATEWAY("registers_missing", GAUGE, NUMBER, registers_missing,
        "registers that it is not connected to"),
    GATEWAY("clients", GAUGE, NUMBER, clients, "clients at this moment"),
    GATEWAY("workers", GAUGE, NUMBER, workers, "workers connected"),
    GATEWAY("workers_local", GAUGE, NUMBER, workers_local,
        "workers connected that the same master started"),
    GATEWAY("workers_stalled", GAUGE, NUMBER, workers_stalled,
        "workers connected that do not move and get no new events"),
    GATEWAY("worker_stalls", COUNTER, NUMBER, worker_stalls,
        "times that a worker was stalled"),
    GATEWAY("workers_silent", GAUGE, NUMBER, workers_silent,
        "workers connected that acknowledge nothing, as PHP's"),
    GATEWAY("groups", GAUGE, NUMBER, groups, "groups at this moment"),
    GATEWAY("uids", GAUGE, NUMBER, uids, "uids at this moment"),
    GATEWAY("clients_paused", GAUGE, NUMBER, clients_paused,
        "clients that are not read from at this moment"),
    GATEWAY(
        "accepting", GAUGE, BOOLEAN, accepting, "whether clients can connect"),
    GATEWAY("events", COUNTER, NUMBER, events_out, "events given to workers"),
    GATEWAY("events_held", GAUGE, NUMBER, events_held,
        "events that wait for a worker at this moment"),
    GATEWAY("events_unbegun", GAUGE, NUMBER, events_unbegun,
        "events that a worker was given and has not begun, at this moment"),
    GATEWAY("events_again", COUNTER, NUMBER, events_again,
        "events given a second time, because their worker was lost or stalled"),
    GATEWAY("events_cut_off", COUNTER, NUMBER, events_cut_off,
        "events begun by a worker that was lost meanwhile"),
    GATEWAY("events_unknown", COUNTER, NUMBER, events_unknown,
        "events given to workers that were lost and could not tell of them: "
        "they may have run"),
    GATEWAY("events_dropped", COUNTER, NUMBER, events_dropped,
        "events that no worker got"),
    GATEWAY("sends_lost", COUNTER, NUMBER, sends_lost,
        "commands that workers of this machine had sent when they were lost, "
        "and that did not come"),
    GATEWAY("closes_given", COUNTER, NUMBER, closes_given,
        "onClose given for clients of an earlier process that was killed"),
    GATEWAY("closes_inherited", GAUGE, NUMBER, closes_inherited,
        "clients of earlier processes whose onClose has not begun"),
    GATEWAY("book_clients", GAUGE, NUMBER, book_clients,
        "clients in its book at this moment, with those closes_inherited"),
    GATEWAY("book_bytes", GAUGE, BYTES, book_bytes, "bytes of its book's file"),
    GATEWAY("book_left_out", COUNTER, NUMBER, book_left_out,
        "clients that the book had no room for"),
    GATEWAY("book_cut", COUNTER, NUMBER, book_cut,
        "changes of clients that the book had no room for"),
    GATEWAY("book_garbled", COUNTER, NUMBER, book_garbled,
        "entries, records and blocks of earlier books that were not valid"),
    GATEWAY("commands", COUNTER, NUMBER, commands_in,
        "commands from workers and other programs"),
    GATEWAY("dropped", COUNTER, NUMBER, dropped,
        "messages for clients that were gone"),
    GATEWAY("sessions_refused", COUNTER, NUMBER, sessions_refused,
        "changes of sessions that were too large, or not valid"),
    GATEWAY("accepted", COUNTER, NUMBER, port.accepted,
        "connections of clients that were taken"),
    GATEWAY("refused", COUNTER, NUMBER, port.refused,
        "connections of clients that were closed at once"),
    GATEWAY("messages_in", COUNTER, NUMBER, port.messages_in,
        "messages from clients"),
    GATEWAY("messages_out", COUNTER, NUMBER, port.messages_out,
        "messages to clients"),
    GATEWAY("bytes_in", COUNTER, BYTES, port.bytes_in, "bytes from clients"),
    GATEWAY("bytes_out", COUNTER, BYTES, port.bytes_out, "bytes to clients"),
    GATEWAY("overflow_closed", COUNTER, NUMBER, port.overflow_closed,
        "clients closed because their queue was full"),
    GATEWAY("overflow_dropped", COUNTER, NUMBER, port.overflow_dropped,
        "messages dropped because their client's queue was full"),
    GATEWAY("repaired", COUNTER, NUMBER, port.repaired,
        "messages that were not UTF-8 and left with U+FFFD"),
    GATEWAY("connections", GAUGE, NUMBER, port.connections,
        "connections at this moment: clients, and those still in a handshake or "
        "being closed"),
    GATEWAY("queued", GAUGE, BYTES, port.queued,
        "bytes that wait for clients at this moment"),
    GATEWAY("clients_over_share", GAUGE, NUMBER, clients_over_share,
        "clients at this moment whose worker has not begun more than "
        "client_share of theirs"),
    GATEWAY("over_share", COUNTER, NUMBER, over_share,
        "how often a client had more than client_share there"),
    GATEWAY("unfinished", GAUGE, BYTES, port.unfinished,
        "bytes of messages that have begun to come, at this moment"),
    GATEWAY("unfinished_closed", COUNTER, NUMBER, port.unfinished_closed,
        "clients closed because of max_unfinished_total"),
    GATEWAY("messages_timed_out", COUNTER, NUMBER, port.messages_timed_out,
        "clients closed because of message_timeout"),
    GATEWAY("requests", COUNTER, NUMBER, port.requests,
        "requests given to onRequest"),
    GATEWAY("requests_again", COUNTER, NUMBER, requests_again,
        "of them to a second worker, because the first was lost"),
    GATEWAY("requests_lost", COUNTER, NUMBER, requests_lost,
        "requests answered with 502: their worker was lost and had begun "
        "them, or may have; or answered nonsense"),
    GATEWAY("requests_refused", COUNTER, NUMBER, port.requests_refused,
        "requests and calls of the push API answered with 503: no worker had "
        "room, or too many waited"),
    GATEWAY("requests_timed_out", COUNTER, NUMBER, port.requests_timed_out,
        "requests answered with 504 because of request_timeout"),
    GATEWAY("bodies_timed_out", COUNTER, NUMBER, port.bodies_timed_out,
        "requests answered with 408 because of body_timeout"),
    GATEWAY("access_lost", COUNTER, NUMBER, port.access_lost,
        "lines that the access log did not take: its disk is full"),
    GATEWAY("files_refused", COUNTER, NUMBER, port.files_refused,
        "requests for files answered with 503: too many were open"),
    GATEWAY("streams", COUNTER, NUMBER, port.streams,
        "clients that had an event stream"),
    GATEWAY("binary_refused", COUNTER, NUMBER, port.binary_refused,
        "binary messages for clients with an event stream, which cannot have "
        "them"),
    GATEWAY("api_calls", COUNTER, NUMBER, port.api_calls,
        "calls of the push API given to workers"),
    GATEWAY("api_wrong_keys", COUNTER, NUMBER, port.api_wrong_keys,
        "calls of the push API answered with 401: no key, or a wrong one"),
    GATEWAY("api_throttled", COUNTER, NUMBER, port.api_throttled,
        "calls of the push API answered with 429: many wrong keys from one "
        "address"),
    GATEWAY("groups_refused", COUNTER, NUMBER, groups_refused,
        "joins of clients that were in max_groups groups"),
    GATEWAY("commands_refused", COUNTER, NUMBER, commands_refused,
        "commands that were not valid, and answers that were too large"),
    GATEWAY("names_left_out", COUNTER, NUMBER, names_left_out,
        "names of clients' query strings and cookies that were too many, or "
        "nested too deep, for scripts to see"),
    GATEWAY("links_refused", COUNTER, NUMBER, links_refused,
        "connections to its inner port that were refused, or closed for a "
        "wrong key, silence or garbage"),
    GATEWAY("engine_up", GAUGE, BOOLEAN, arrivals.engine.up,
        "whether what joins cells is there"),
    GATEWAY("engine_left", GAUGE, BOOLEAN, arrivals.engine.left,
        "whether it has left for good, since another system has the cell's name"),
    GATEWAY("engine_gaps", COUNTER, NUMBER, arrivals.engine.gaps,
        "times that it was away since it was there first"),
    GATEWAY("engine_away_ms", COUNTER, MILLISECONDS, arrivals.engine.away_ms,
        "how long it was away, in milliseconds, this time so far included"),
    GATEWAY("engine_published", COUNTER, NUMBER, arrivals.engine.published,
        "messages given to it"),
    GATEWAY("engine_lost", COUNTER, NUMBER, arrivals.engine.lost,
        "messages for other cells that it did not take, that nobody heard, or "
        "of which nothing is known"),
    GATEWAY("engine_taken", COUNTER, NUMBER, arrivals.taken,
        "commands from other cells"),
    GATEWAY("engine_doubles", COUNTER, NUMBER, arrivals.doubles,
        "messages of other cells dropped because they had come before"),
    GATEWAY("engine_jumps", COUNTER, NUMBER, arrivals.gaps,
        "times that numbers of another cell's process left some out"),
    GATEWAY("engine_faulty", COUNTER, NUMBER, arrivals.faulty,
        "messages of other cells that were not understood"),
    SAMPLES(struct gateway_status, "queued_sampled", queued_sampled,
        "bytes that waited for clients, looked at once a second"),
    SAMPLES(struct gateway_status, "held_sampled", held_sampled,
        "bytes of events that waited for a worker, looked at once a second"),
    {NULL, NULL, 0, NULL, 0, 0},
};

#define WORKER(name, kind, unit, field, help) \
    ROW(struct worker_status, name, kind, unit, field, help)
const struct counter counters_worker[] = {
    WORKER("registers_missing", GAUGE, NUMBER, registers_missing,
        "registers that it is not connected to"),
    WORKER("gateways", GAUGE, NUMBER, gateways,
        "gateways that it is connected to"),
    WORKER("gateways_known", GAUGE, NUMBER, gateways_known,
        "gateways in the registers' lists"),
    WORKER("gateways_silent", GAUGE, NUMBER, gateways_silent,
        "gateways that it is connected to and whose machine does not answer"),
    WORKER("clients", GAUGE, NUMBER, clients,
        "clients with events or handlers at this moment"),
    WORKER(
        "queued", GAUGE, NUMBER, queued, "events that wait for their handlers"),
    WORKER("coroutines", GAUGE, NUMBER, coroutines,
        "coroutines of the script, at this moment"),
    WORKER("timers", GAUGE, NUMBER, timers,
        "timers of the script, at this moment"),
    WORKER("lua_memory", GAUGE, BYTES, memory,
        "bytes of its Lua state (two for a while after a reload)"),
    WORKER("events", COUNTER, NUMBER, events, "events run"),
    WORKER("events_forgotten", COUNTER, NUMBER, forgotten,
        "events that waited when the link to their gateway broke"),
    WORKER("events_skipped", COUNTER, NUMBER, skipped,
        "onConnect and onClose not begun because they had begun elsewhere"),
    WORKER("events_cut_off", COUNTER, NUMBER, cut_off,
        "events whose handlers did not end in time after a reload"),
    WORKER("errors", COUNTER, NUMBER, errors, "events that raised an error"),
    WORKER("sends", COUNTER, NUMBER, sends, "commands sent to gateways"),
    WORKER("sends_failed", COUNTER, NUMBER, sends_failed,
        "commands that no link to a gateway took"),
    WORKER("sends_lost", COUNTER, NUMBER, sends_lost,
        "commands sent to gateways that broke off before they said that they "
        "had run them"),
    WORKER("generation", GAUGE, NUMBER, generation,
        "generation of the script that it runs"),
    WORKER("shared_keys", GAUGE, NUMBER, shared_keys,
        "keys in the machine's shared table at this moment"),
    WORKER("shared_full", COUNTER, NUMBER, shared_full,
        "calls of its script refused because the shared table was full"),
    TIMES(struct worker_status, "event_time", event_times,
        "from the arrival of a client's event to the end of its handler"),
    SAMPLES(struct worker_status, "lua_memory_sampled", memory_sampled,
        "bytes of its Lua state, looked at once a second"),
    WORKER("engine_up", GAUGE, BOOLEAN, engine.up,
        "whether what joins cells is there"),
    WORKER("engine_left", GAUGE, BOOLEAN, engine.left,
        "whether it has left for good, since another system has the cell's name"),
    WORKER("engine_gaps", COUNTER, NUMBER, engine.gaps,
        "times that it was away since it was there first"),
    WORKER("engine_away_ms", COUNTER, MILLISECONDS, engine.away_ms,
        "how long it was away, in milliseconds, this time so far included"),
    WORKER("engine_published", COUNTER, NUMBER, engine.published,
        "messages given to it"),
    WORKER("engine_lost", COUNTER, NUMBER, engine.lost,
        "messages for other cells that it did not take, that nobody heard, or "
        "of which nothing is known"),
    {NULL, NULL, 0, NULL, 0, 0},
};

#define RUNS(name, kind, unit, field, help) \
    ROW(struct program_status, name, kind, unit, field, help)
const struct counter counters_program[] = {
    RUNS("registers_missing", GAUGE, NUMBER, registers_missing,
        "registers that it is not connected to"),
    RUNS("gateways", GAUGE, NUMBER, gateways,
        "gateways that it is connected to"),
    RUNS("gateways_known", GAUGE, NUMBER, gateways_known,
        "gateways in the registers' lists"),
    RUNS("gateways_silent", GAUGE, NUMBER, gateways_silent,
        "gateways that it is connected to and whose machine does not answer"),
    RUNS("coroutines", GAUGE, NUMBER, coroutines,
        "coroutines of it, at this moment"),
    RUNS("timers", GAUGE, NUMBER, timers, "timers of it, at this moment"),
    RUNS("lua_memory", GAUGE, BYTES, memory, "bytes of its Lua state"),
    RUNS("sends", COUNTER, NUMBER, sends, "commands sent to gateways"),
    RUNS("sends_failed", COUNTER, NUMBER, sends_failed,
        "commands that no link to a gateway took"),
    {NULL, NULL, 0, NULL, 0, 0},
};

#define REGISTER(name, kind, unit, field, help) \
    ROW(struct register_status, name, kind, unit, field, help)
const struct counter counters_register[] = {
    REGISTER("gateways", GAUGE, NUMBER, gateways, "gateways connected"),
    REGISTER("workers", GAUGE, NUMBER, workers, "workers connected"),
    REGISTER("pending", GAUGE, NUMBER, pending,
        "connections that have not said who they are"),
    REGISTER("refused", COUNTER, NUMBER, refused,
        "connections closed for a wrong key, silence or garbage"),
    {NULL, NULL, 0, NULL, 0, 0},
};

static uint64_t read_number(const uint8_t *field, size_t size)
{
    uint64_t wide;
    uint32_t narrow;

    if (size == sizeof(bool))
        return *field;
    if (size == sizeof(narrow)) {
        memcpy(&narrow, field, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, field, sizeof(wide));
    return wide;
}

void counters_put(
    json_t *numbers, const struct counter *table, const void *status)
{
    const uint8_t *bytes = status;

    for (; table->name; table++) {
        uint64_t number;

        if (table->kind == COUNTERS_HISTOGRAM)
            continue;
        number = read_number(bytes + table->offset, table->size);
        json_object_set_new(numbers, table->name,
            table->size == sizeof(bool) ? json_boolean(number)
                                        : json_integer((json_int_t)number));
    }
}

static size_t width_of(const struct counter *row)
{
    return row->kind == COUNTERS_HISTOGRAM ? row->size / sizeof(uint64_t) : 1;
}

size_t counters_width(const struct counter *table)
{
    size_t n = 0;

    for (; table->name; table++)
        n += width_of(table);
    return n;
}

void counters_fill(uint64_t *out, const struct counter *table,
    const void *status, const uint64_t *before)
{
    const uint8_t *bytes = status;

    for (; table->name; table++) {
        size_t n = width_of(table);
        size_t size = n > 1 ? sizeof(uint64_t) : table->size;

        for (size_t i = 0; i < n; i++) {
            *out = read_number(bytes + table->offset + i * size, size) +
                   (table->kind == COUNTERS_GAUGE ? 0 : *before);
            out++;
            before++;
        }
    }
}
