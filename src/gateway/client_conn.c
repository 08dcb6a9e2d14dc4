#include "gateway/client_io_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"

#define CODE_NONE 1006 /* gone without a Close frame */

/* The end of a turn: everything that the turn left to do for one client. */
static void on_turn(struct turn_task *task)
{
    struct client_conn *c = LIST_ENTRY(task, struct client_conn, task);

    if (c->kill) {
        client_lws_kill(c);
        return;
    }
    if (c->hold != NULL) {
        client_hold_turn(c);
        return;
    }
    if (c->state == CLIENT_HANDSHAKE && c->secured &&
        client_conn_open_stream(c) < 0) {
        client_lws_kill(c);
        return;
    }
    client_recv_kept(c);
    if (client_queue_flush(c) < 0) {
        client_lws_kill(c);
        return;
    }
    if (c->state == CLIENT_CLOSING && client_queue_done(c) &&
        c->io->conf->protocol != CLIENT_IO_WEBSOCKET)
        client_lws_kill(c);
}

struct client_conn *client_conn_new(
    struct client_io *io, const union addr *peer, struct client_limit *limit)
{
    struct client_conn *c = xcalloc(1, sizeof(*c));

    c->io = io;
    c->peer = *peer;
    c->limit = limit;
    list_init(&c->task.node);
    c->task.run = on_turn;
    list_init(&c->deadline);
    list_push_back(&io->conns, &c->node);
    io->counters.connections++;
    return c;
}

void client_conn_free(struct client_conn *c)
{
    client_conn_gone(c);
    client_limits_leave(&c->io->limits, c->limit);
    c->io->counters.connections--;
    list_remove(&c->node);
    free(c->reason);
    free(c);
}

void client_conn_schedule(struct client_conn *c)
{
    turn_schedule(c->io->turn, &c->task);
}

int client_conn_open(
    struct client_conn *c, const struct client_io_request *request)
{
    struct client_io *io = c->io;

    c->state = CLIENT_OPEN;
    c->owner = io->ops->on_open(c, &c->peer, request, io->arg);
    if (c->owner == NULL) {
        client_conn_dead(c, CODE_NONE, "refused");
        c->told = true;
        return -EACCES;
    }
    return 0;
}

void client_conn_secured(struct client_conn *c, int fd, void *ssl)
{
    if (c->state != CLIENT_HANDSHAKE || c->secured)
        return;
    c->secured = true;
    client_hold_begin(c, fd, ssl);
    if (c->io->conf->protocol != CLIENT_IO_WEBSOCKET)
        client_conn_schedule(c);
}

int client_conn_open_stream(struct client_conn *c)
{
    if (c->state != CLIENT_HANDSHAKE)
        return 0;
    client_lws_no_timeout(c);
    if (client_conn_open(c, NULL) < 0)
        return -EACCES;
    client_conn_established(c);
    return 0;
}

void client_conn_established(struct client_conn *c)
{
    c->ready = true;
    if (c->state == CLIENT_OPEN)
        list_remove(&c->deadline);
    if (c->paused)
        client_lws_read(c, false);
    if (c->queued > 0)
        client_conn_schedule(c);
}

void client_conn_blame(struct client_conn *c, int code, const char *reason)
{
    if (c->reason != NULL)
        return;
    c->code = (uint16_t)code;
    c->reason = xstrdup(reason);
}

void client_conn_dead(struct client_conn *c, int code, const char *reason)
{
    client_conn_blame(c, code, reason);
    c->state = CLIENT_DEAD;
    turn_cancel(&c->task);
    list_remove(&c->deadline);
    client_hold_end(c);
    client_queue_drop(c);
    client_recv_drop(c);
}

void client_conn_gone(struct client_conn *c)
{
    client_conn_dead(c, CODE_NONE, "client");
    if (c->told)
        return;
    c->told = true;
    if (c->owner != NULL)
        c->io->ops->on_close(c->owner, c->code, c->reason, c->io->arg);
}

void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms)
{
    list_remove(&c->deadline);
    c->due = clock_now(c->io->loop) + ms;
    list_push_back(list, &c->deadline);
    client_conn_start_sweep(c->io);
}

void client_conn_failed(struct client_conn *c)
{
    client_conn_expect(c, &c->io->failing, CLIENT_FAIL_TIMEOUT);
}

/* Each list has one length of wait, so its front is due first. */
static void sweep_list(struct list *list, uint64_t now, const char *what)
{
    char peer[ADDR_TEXT_SIZE];

    while (!list_empty(list)) {
        struct client_conn *c =
            LIST_ENTRY(list->next, struct client_conn, deadline);

        if (c->due > now)
            break;
        if (client_hold_timeout(c))
            continue;
        list_remove(&c->deadline);
        log_info(
            "%s timed out, closing peer=%s", what, addr_format(peer, &c->peer));
        client_conn_blame(c, CODE_NONE, "timeout");
        c->kill = true;
        client_conn_schedule(c);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct client_io *io = timer->data;
    uint64_t now = clock_now(io->loop);

    client_proxy_sweep(io, now);
    sweep_list(&io->opening, now, "handshake");
    sweep_list(&io->closing, now, "close");
    sweep_list(&io->failing, now, "close");
    if (list_empty(&io->proxied) && list_empty(&io->opening) &&
        list_empty(&io->closing) && list_empty(&io->failing))
        uv_timer_stop(&io->sweep);
}

void client_conn_start_sweep(struct client_io *io)
{
    double step = io->conf->handshake_timeout * 1000 / 8;
    uint64_t ms = step < 10 ? 10 : step > 500 ? 500 : (uint64_t)step;

    if (!uv_is_active((uv_handle_t *)&io->sweep))
        uv_timer_start(&io->sweep, on_sweep, ms, ms);
}
