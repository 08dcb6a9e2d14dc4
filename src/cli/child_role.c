#include "cli/child_role.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan.h"
#include "util/alloc.h"
#include "util/log.h"

#define STOP_SHARE                                             \
    0.4 /* of stop_timeout: two roles stop one after the other \
         */

/* What one kind of role does; a NULL member: nothing. */
struct role_ops {
    const char *name;
    int (*start)(struct child_role *r, char err[256]);
    void (*free_role)(struct child_role *r);
    void (*stop)(struct child_role *r, bool graceful);
    int (*prepare)(struct child_role *r, char err[256]);
    void (*commit)(struct child_role *r);
    void (*abort_reload)(struct child_role *r);
    json_t *(*status)(const struct child_role *r);
};

struct child_role {
    const struct role_ops *ops;
    uv_loop_t *loop;
    unsigned slot;
    const struct config *config; /* borrowed */
    struct child_role_events events;
    void *arg;
    union { /* owned */
        struct register_role *reg;
        struct gateway *gateway;
        struct worker *worker;
    };
    uv_timer_t later; /* for events that the role does not send itself */
    bool stopping;
    bool accepting; /* gateway: clients can connect */
};

static void on_later(uv_timer_t *timer)
{
    struct child_role *r = timer->data;

    if (r->stopping)
        r->events.on_stopped(r->arg);
    else
        r->events.on_ready(r->arg);
}

static void on_stopped(void *arg)
{
    struct child_role *r = arg;

    r->events.on_stopped(r->arg);
}

static double stop_share(const struct child_role *r)
{
    double share = r->config->stop_timeout * STOP_SHARE;

    return r->config->drain_time < share ? r->config->drain_time : share;
}

static json_int_t num(uint64_t n)
{
    return (json_int_t)n;
}

/* register */

static int start_register(struct child_role *r, char err[256])
{
    int result = register_new(
        &r->reg, r->loop, &r->config->register_conf, PLAN_FD_SOCKET);

    if (result < 0)
        snprintf(err, 256, "register: %s", uv_strerror(result));
    else
        uv_timer_start(&r->later, on_later, 0, 0);
    return result;
}

static void free_register(struct child_role *r)
{
    register_free(r->reg);
}

static void stop_register(struct child_role *r, bool graceful)
{
    uv_timer_start(&r->later, on_later, 0, 0);
}

static json_t *register_numbers(const struct child_role *r)
{
    struct register_status s;

    register_status(r->reg, &s);
    return json_pack("{s:I,s:I,s:I,s:I}", "gateways", num(s.gateways),
        "workers", num(s.workers), "pending", num(s.pending), "refused",
        num(s.refused));
}

/* gateway */

static void on_gateway_ready(void *arg)
{
    struct child_role *r = arg;

    r->accepting = true;
    if (r->config->has_workers)
        r->events.on_ready(r->arg);
    else
        log_notice("the first worker is there, clients can connect");
}

static int start_gateway(struct child_role *r, char err[256])
{
    static const struct gateway_events events = {on_gateway_ready, on_stopped};
    struct gateway_slot slot = {.client_fd = PLAN_FD_SOCKET,
        .inner_fd = PLAN_FD_INNER,
        .ids_fd = PLAN_FD_IDS};
    const struct config_gateway *g =
        plan_gateway(r->config, r->slot, &slot.index);
    int result;

    if (!g) {
        snprintf(err, 256, "the configuration has no gateway %u", r->slot);
        return -EINVAL;
    }
    result =
        gateway_new(&r->gateway, r->loop, &g->conf, &slot, &events, r, err);
    /* workers of other machines may come much later */
    if (result == 0 && !r->config->has_workers)
        uv_timer_start(&r->later, on_later, 0, 0);
    return result;
}

static void free_gateway(struct child_role *r)
{
    gateway_free(r->gateway);
}

static void stop_gateway(struct child_role *r, bool graceful)
{
    if (graceful)
        gateway_stop_when_empty(r->gateway);
    else
        gateway_stop(r->gateway, stop_share(r));
}

/* New certificates serve new connections; there is nothing to take back. */
static int prepare_gateway(struct child_role *r, char err[256])
{
    return gateway_reload_tls(r->gateway, err);
}

static json_t *gateway_numbers(const struct child_role *r)
{
    struct gateway_status s;

    gateway_status(r->gateway, &s);
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,"
        "s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
        "registers_missing", num(s.registers_missing), "clients",
        num(s.clients), "workers", num(s.workers), "groups", num(s.groups),
        "uids", num(s.uids), "clients_paused", num(s.clients_paused),
        "accepting", r->accepting, "events", num(s.events_out), "events_held",
        num(s.events_held), "events_unbegun", num(s.events_unbegun),
        "events_again", num(s.events_again), "events_cut_off",
        num(s.events_cut_off), "events_dropped", num(s.events_dropped),
        "commands", num(s.commands_in), "dropped", num(s.dropped), "accepted",
        num(s.io.accepted), "refused", num(s.io.refused), "messages_in",
        num(s.io.messages_in), "messages_out", num(s.io.messages_out),
        "bytes_in", num(s.io.bytes_in), "bytes_out", num(s.io.bytes_out),
        "overflow_closed", num(s.io.overflow_closed), "overflow_dropped",
        num(s.io.overflow_dropped), "connections", num(s.io.connections),
        "queued", num(s.io.queued));
}

/* worker */

static void on_worker_ready(void *arg)
{
    struct child_role *r = arg;

    r->events.on_ready(r->arg);
}

static void on_worker_failed(const char *message, void *arg)
{
    struct child_role *r = arg;

    r->events.on_failed(message, r->arg);
}

static int start_worker(struct child_role *r, char err[256])
{
    static const struct worker_events events = {
        on_worker_ready, on_worker_failed, on_stopped};

    r->worker =
        worker_new(r->loop, &r->config->worker_conf, r->slot, &events, r);
    if (!r->worker)
        snprintf(err, 256, "the worker cannot be started");
    return r->worker ? 0 : -ENOMEM;
}

static void free_worker(struct child_role *r)
{
    worker_free(r->worker);
}

static void stop_worker(struct child_role *r, bool graceful)
{
    if (!r->stopping) /* it does not wait for clients in the first place */
        worker_stop(r->worker, stop_share(r));
}

static void on_worker_prepared(const char *message, void *arg)
{
    struct child_role *r = arg;

    r->events.on_prepared(message, r->arg);
}

static int prepare_worker(struct child_role *r, char err[256])
{
    int result = worker_prepare(r->worker, on_worker_prepared, r);

    if (result < 0)
        snprintf(err, 256, "cannot reload now: %s", uv_strerror(result));
    return result < 0 ? result : 1;
}

static void commit_worker(struct child_role *r)
{
    worker_commit(r->worker);
}

static void abort_worker(struct child_role *r)
{
    worker_abort(r->worker);
}

static json_t *worker_numbers(const struct child_role *r)
{
    struct worker_status s;

    worker_status(r->worker, &s);
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
        "registers_missing", num(s.registers_missing), "gateways",
        num(s.gateways), "gateways_known", num(s.gateways_known), "clients",
        num(s.clients), "queued", num(s.queued), "coroutines",
        num(s.coroutines), "timers", num(s.timers), "lua_memory", num(s.memory),
        "events", num(s.events), "events_forgotten", num(s.forgotten),
        "events_cut_off", num(s.cut_off), "errors", num(s.errors), "sends",
        num(s.sends), "sends_failed", num(s.sends_failed), "generation",
        num(s.generation));
}

static const struct role_ops roles[] = {
    {"register", start_register, free_register, stop_register, NULL, NULL, NULL,
        register_numbers},
    {"gateway", start_gateway, free_gateway, stop_gateway, prepare_gateway,
        NULL, NULL, gateway_numbers},
    {"worker", start_worker, free_worker, stop_worker, prepare_worker,
        commit_worker, abort_worker, worker_numbers},
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void release(struct child_role *r)
{
    uv_close((uv_handle_t *)&r->later, on_timer_closed);
}

struct child_role *child_role_new(uv_loop_t *loop, const char *role,
    unsigned slot, const struct config *c,
    const struct child_role_events *events, void *arg, char err[256])
{
    struct child_role *r = xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->slot = slot;
    r->config = c;
    r->events = *events;
    r->arg = arg;
    uv_timer_init(loop, &r->later);
    r->later.data = r;
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(roles[i].name, role) == 0)
            r->ops = &roles[i];
    }
    if (!r->ops)
        snprintf(err, 256, "there is no role \"%.32s\"", role);
    else if (r->ops->start(r, err) == 0)
        return r;
    release(r);
    return NULL;
}

void child_role_free(struct child_role *r)
{
    r->ops->free_role(r);
    release(r);
}

void child_role_stop(struct child_role *r, bool graceful)
{
    uv_timer_stop(&r->later);
    r->ops->stop(r, graceful);
    r->stopping = true;
}

int child_role_prepare(struct child_role *r, char err[256])
{
    return r->ops->prepare ? r->ops->prepare(r, err) : 0;
}

void child_role_commit(struct child_role *r)
{
    if (r->ops->commit)
        r->ops->commit(r);
}

void child_role_abort(struct child_role *r)
{
    if (r->ops->abort_reload)
        r->ops->abort_reload(r);
}

json_t *child_role_status(const struct child_role *r)
{
    json_t *numbers = r->ops->status(r);
    uv_rusage_t usage = {0};
    size_t memory = 0;

    uv_resident_set_memory(&memory);
    uv_getrusage(&usage);
    json_object_set_new(numbers, "memory", json_integer(num(memory)));
    json_object_set_new(numbers, "cpu_ms",
        json_integer(
            (json_int_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
            (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000));
    json_object_set_new(
        numbers, "log_dropped", json_integer(num(log_dropped())));
    return numbers;
}

const struct gateway *child_role_gateway(const struct child_role *r)
{
    return r->ops->start == start_gateway ? r->gateway : NULL;
}

void child_role_set_ticket_key(struct child_role *r, const char *hex)
{
    uint8_t key[CLIENT_IO_TICKET_KEY_LEN];

    if (r->ops->start != start_gateway || strlen(hex) != 2 * sizeof(key))
        return;
    for (size_t i = 0; i < sizeof(key); i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1]};

        key[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    gateway_set_ticket_key(r->gateway, key);
}

struct vm *child_role_vm(const struct child_role *r)
{
    return r->ops->start == start_worker ? worker_vm(r->worker) : NULL;
}

json_t *child_role_text(const char *text)
{
    json_t *string = json_string(text);
    char *ascii;

    if (string)
        return string;
    ascii = xstrdup(text);
    for (char *p = ascii; *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    string = json_string(ascii);
    free(ascii);
    return string;
}
