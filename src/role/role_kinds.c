/* The five kinds of roles, a table of functions each: what starting, stopping
 * and a reload are for a register, a gateway, a worker, a program and the
 * operators' port. A worker prepares a script, a gateway a certificate, a
 * program only sees whether its file compiles; the others have nothing to
 * reload. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "role/counters.h"
#include "role/role_impl.h"
#include "role/slots.h"
#include "util/log.h"

static void on_stopped(void *arg)
{
    role_tell_stopped(arg);
}

/* register */

static int start_register(
    struct role *r, const struct role_slot *slot, char err[256])
{
    const struct register_conf *conf = &r->config->register_conf;
    int result = register_new(&r->reg, r->loop, conf, slot->fds[0]);

    if (result < 0)
        snprintf(err, 256, "register on %.200s: %s", conf->listen,
            uv_strerror(result));
    else if (conf->cluster_listen && slot->fds[1] >= 0)
        result = register_serve_cluster(r->reg, slot->fds[1], err);
    if (result < 0 && r->reg)
        register_free(r->reg);
    else if (result == 0)
        role_tell_later(r);
    return result;
}

static void free_register(struct role *r)
{
    register_free(r->reg);
}

static void stop_register(struct role *r, bool graceful, double drain_time)
{
    role_tell_later(r);
}

static void count_register(const struct role *r, union role_numbers *out)
{
    register_status(r->reg, &out->reg);
}

/* gateway */

/* Are workers here that it can be expected to wait for? */
static bool has_own_workers(const struct role *r)
{
    unsigned index;

    return config_works_for(
        r->config, slots_gateway(r->config, r->slot, &index));
}

static void on_gateway_ready(void *arg)
{
    struct role *r = arg;

    if (has_own_workers(r))
        role_tell_ready(r);
    else
        log_notice("the first worker is there, clients can connect");
}

static void on_gateway_repair(const void *data, size_t len, void *arg)
{
    struct role *r = arg;

    if (r->events.on_repair)
        r->events.on_repair(data, len, r->arg);
}

static int start_gateway(
    struct role *r, const struct role_slot *slot, char err[256])
{
    static const struct gateway_events events = {
        on_gateway_ready, on_stopped, on_gateway_repair};
    struct gateway_slot its = {.client_fd = slot->fds[0],
        .inner_fd = slot->fds[1],
        .ids_fd = slot->fds[2],
        .local_fd = slot->fds[3] > 0 ? slot->fds[3] : 0,
        .shown_port = slot->shown_port};
    const struct config_gateway *g =
        slots_gateway(r->config, r->slot, &its.index);
    int result;

    if (!g) {
        snprintf(err, 256, "the configuration has no gateway %u", r->slot);
        return -EINVAL;
    }
    result = gateway_new(&r->gateway, r->loop, &g->conf, &its, &events, r, err);
    /* workers of other machines may come much later */
    if (result == 0 && !has_own_workers(r))
        role_tell_later(r);
    return result;
}

static void free_gateway(struct role *r)
{
    gateway_free(r->gateway);
}

static void stop_gateway(struct role *r, bool graceful, double drain_time)
{
    if (graceful && r->config->engine)
        gateway_leave(r->gateway, r->config->drain_time);
    else if (graceful)
        gateway_stop_when_empty(r->gateway);
    else
        gateway_stop(r->gateway, drain_time);
}

/* A new certificate serves new connections, new keys the next call of the push
 * API. What is not in m has not changed since the last time. */
static int prepare_gateway(struct role *r, const json_t *m, char err[256])
{
    const char *cert = ctlmsg_string(m, "cert", NULL);
    const char *key = ctlmsg_string(m, "key", NULL);
    const char *api_keys = ctlmsg_string(m, "api_keys", NULL);
    int result =
        cert && key ? gateway_prepare_tls(r->gateway, cert, key, err) : 0;

    if (result == 0 && api_keys)
        result = gateway_prepare_keys(r->gateway, api_keys, err);
    return result;
}

static void commit_gateway(struct role *r)
{
    gateway_settle_tls(r->gateway, true);
    gateway_settle_keys(r->gateway, true);
}

static void abort_gateway(struct role *r)
{
    gateway_settle_tls(r->gateway, false);
    gateway_settle_keys(r->gateway, false);
}

static void count_gateway(const struct role *r, union role_numbers *out)
{
    gateway_status(r->gateway, &out->gateway);
    out->gateway.queued_sampled = r->samples[0];
    out->gateway.held_sampled = r->samples[1];
}

/* The first gateway looks for all processes of this system. */
static void share_cells(struct role *r)
{
    struct pages *pages = r->config->pages;
    struct page_cells cells;

    if (r->slot == 0 && pages_cells_are_wanted(pages, clock_now(r->loop)) &&
        gateway_take_cells(r->gateway, &cells))
        pages_write_cells(pages, &cells);
}

static void sample_gateway(struct role *r, const union role_numbers *numbers)
{
    struct page_tops tops;

    histogram_add_size(&r->samples[0], numbers->gateway.port.queued);
    histogram_add_size(&r->samples[1], numbers->gateway.held_bytes);
    gateway_tops(r->gateway, &tops);
    page_write_tops(r->page, &tops);
    share_cells(r);
}

static void report_gateway(const struct role *r, reach_link_cb each, void *arg)
{
    gateway_report(r->gateway, each, arg);
}

/* worker */

static void on_worker_ready(void *arg)
{
    role_tell_ready(arg);
}

static void on_worker_failed(const char *message, void *arg)
{
    role_tell_failed(arg, message);
}

static void on_worker_full(const char *message, void *arg)
{
    struct role *r = arg;

    r->events.on_worn(message, r->arg);
}

static int start_worker(
    struct role *r, const struct role_slot *slot, char err[256])
{
    static const struct worker_events events = {
        on_worker_ready, on_worker_failed, on_stopped, on_worker_full};
    static const struct worker_events goes_on = {
        on_worker_ready, on_worker_failed, on_stopped, NULL};
    unsigned index;
    const struct config_workers *w = slots_workers(r->config, r->slot, &index);

    if (!w) {
        snprintf(err, 256, "the configuration has no worker %u", r->slot);
        return -EINVAL;
    }
    r->worker = worker_new(
        r->loop, &w->conf, index, r->events.on_worn ? &events : &goes_on, r);
    return 0;
}

static void free_worker(struct role *r)
{
    worker_free(r->worker);
}

static void stop_worker(struct role *r, bool graceful, double drain_time)
{
    if (r->state != ROLE_STOPPING) /* graceful or not: it has no clients */
        worker_stop(r->worker, drain_time);
}

static void on_worker_prepared(const char *message, void *arg)
{
    role_tell_prepared(arg, message);
}

static int prepare_worker(struct role *r, const json_t *m, char err[256])
{
    int result = worker_prepare(r->worker, on_worker_prepared, r);

    if (result < 0)
        snprintf(err, 256, "cannot reload now: %s", uv_strerror(result));
    return result < 0 ? result : 1;
}

static void commit_worker(struct role *r)
{
    worker_commit(r->worker);
}

static void abort_worker(struct role *r)
{
    worker_abort(r->worker);
}

static void count_worker(const struct role *r, union role_numbers *out)
{
    worker_status(r->worker, &out->worker);
    out->worker.memory_sampled = r->samples[0];
}

static void sample_worker(struct role *r, const union role_numbers *numbers)
{
    histogram_add_size(&r->samples[0], numbers->worker.memory);
}

static void report_worker(const struct role *r, reach_link_cb each, void *arg)
{
    worker_report(r->worker, each, arg);
}

/* program */

static const struct worker_conf *program_conf(const struct role *r)
{
    return &r->config->programs[r->slot].conf;
}

static void on_program_ended(int status, const char *error, void *arg)
{
    struct role *r = arg;

    if (error) {
        role_tell_failed(r, error);
        return;
    }
    r->state = ROLE_STOPPED;
    if (r->events.on_ended)
        r->events.on_ended(status, r->arg);
}

static void begin_program(struct role *r)
{
    r->program = program_new(r->loop, program_conf(r), on_program_ended, r);
}

/* What it does from now on is no part of the start. */
static int start_program(
    struct role *r, const struct role_slot *slot, char err[256])
{
    if (r->slot >= r->config->nprograms) {
        snprintf(err, 256, "the configuration has no program %u", r->slot);
        return -EINVAL;
    }
    begin_program(r);
    role_tell_later(r);
    return 0;
}

static void free_program(struct role *r)
{
    program_free(r->program);
}

/* It has nothing to say to that; what it sent goes out. */
static void stop_program(struct role *r, bool graceful, double drain_time)
{
    role_tell_later(r);
}

/* It begins again from its file, if that compiles. */
static int prepare_program(struct role *r, const json_t *m, char err[256])
{
    char *wrong = program_try_compile(program_conf(r)->script);

    role_tell_prepared(r, wrong);
    free(wrong);
    return 1;
}

static void commit_program(struct role *r)
{
    program_free(r->program);
    begin_program(r);
    if (r->state != ROLE_STOPPING)
        r->state = ROLE_READY; /* it may have ended before */
    log_notice("program begun again name=%s", program_conf(r)->name);
}

static void count_program(const struct role *r, union role_numbers *out)
{
    program_status(r->program, &out->program);
}

static void report_program(const struct role *r, reach_link_cb each, void *arg)
{
    program_report(r->program, each, arg);
}

/* admin */

static int start_admin(
    struct role *r, const struct role_slot *slot, char err[256])
{
    const struct admin_conf *conf = &r->config->admin;
    struct admin_process *processes;
    int result;

    if (!conf->listen || !r->config->pages) {
        snprintf(err, 256, "the configuration has no operators' port");
        return -EINVAL;
    }
    slots_list(r->config, &processes);
    r->system = (struct admin_system){.pages = r->config->pages,
        .processes = processes,
        .refresh = r->events.on_look,
        .arg = r->arg};
    result = admin_new(
        &r->admin, r->loop, conf, &r->system, slot->fds[0], slot->fds[1], err);
    if (result < 0)
        free(processes);
    else
        role_tell_later(r);
    return result;
}

static void free_admin(struct role *r)
{
    admin_free(r->admin);
    free((void *)r->system.processes);
}

static void stop_admin(struct role *r, bool graceful, double drain_time)
{
    if (r->state != ROLE_STOPPING)
        admin_stop(r->admin);
    role_tell_later(r);
}

const struct role_ops role_kinds[ROLE_KINDS] = {
    {"register", start_register, free_register, stop_register, NULL, NULL, NULL,
        counters_register, count_register, NULL, NULL},
    {"gateway", start_gateway, free_gateway, stop_gateway, prepare_gateway,
        commit_gateway, abort_gateway, counters_gateway, count_gateway,
        sample_gateway, report_gateway},
    {"worker", start_worker, free_worker, stop_worker, prepare_worker,
        commit_worker, abort_worker, counters_worker, count_worker,
        sample_worker, report_worker},
    {"program", start_program, free_program, stop_program, prepare_program,
        commit_program, NULL, counters_program, count_program, NULL,
        report_program},
    {"admin", start_admin, free_admin, stop_admin, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL},
};

/* ---- what only one kind has ---- */

struct gateway *role_gateway(const struct role *r)
{
    return r->ops->start == start_gateway ? r->gateway : NULL;
}

struct worker *role_worker(const struct role *r)
{
    return r->ops->start == start_worker ? r->worker : NULL;
}

void role_set_ticket_key(struct role *r, const char *hex)
{
    uint8_t key[CERTIFICATES_TICKET_KEY_LEN];

    if (r->ops->start != start_gateway || strlen(hex) != 2 * sizeof(key))
        return;
    for (size_t i = 0; i < sizeof(key); i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1]};

        key[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    gateway_set_ticket_key(r->gateway, key);
}

void role_tell_hanging(const struct role *r)
{
    if (r->ops->start == start_worker)
        worker_tell_hanging(r->worker);
}

struct vm *role_vm(const struct role *r)
{
    return r->ops->start == start_worker ? worker_vm(r->worker) : NULL;
}
