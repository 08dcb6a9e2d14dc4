#include "gateway/client_io_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"

#define CODE_NONE 1006 /* gone without a Close frame */

/* Everything has been sent: the owner hears of the end, its peer reads it.
 * Closing at once could reset the connection under data on its way. */
static void finish(struct client_conn *c)
{
    if (client_sock_shutdown(c) < 0)
        return;
    client_conn_gone(c);
    client_conn_expect(c, &c->io->lingering, CLIENT_LINGER);
}

/* The end of a turn: everything that the turn left to do for one client. */
static void on_turn(struct turn_task *task)
{
    struct client_conn *c = LIST_ENTRY(task, struct client_conn, task);

    if (c->kill) {
        client_conn_kill(c);
        return;
    }
    if (c->state == CLIENT_DEAD)
        return;
    if (c->request != NULL)
        client_request_turn(c);
    else if (c->state == CLIENT_HANDSHAKE && c->secured)
        client_conn_open_stream(c);
    client_recv_kept(c);
    if (c->kill || client_queue_flush(c) < 0) {
        client_conn_kill(c);
        return;
    }
    if (c->files != NULL)
        client_files_more(c);
    if (c->last && c->queued == 0)
        finish(c);
    client_sock_watch(c);
}

struct client_conn *client_conn_new(
    struct client_io *io, const union addr *peer, struct client_limit *limit)
{
    struct client_conn *c = xcalloc(1, sizeof(*c));

    c->io = io;
    c->peer = *peer;
    c->limit = limit;
    c->fd = -1;
    list_init(&c->task.node);
    c->task.run = on_turn;
    list_init(&c->deadline);
    list_push_back(&io->conns, &c->node);
    io->counters.connections++;
    return c;
}

void client_conn_free(struct client_conn *c)
{
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
    list_remove(&c->deadline);
    c->owner = io->ops->on_open(c, &c->peer, request, io->arg);
    if (c->owner != NULL)
        return 0;
    c->state = CLIENT_CLOSING;
    c->last = true;
    client_queue_drop(c);
    return -EACCES;
}

void client_conn_open_stream(struct client_conn *c)
{
    if (c->io->conf->protocol == CLIENT_IO_WEBSOCKET ||
        client_conn_open(c, NULL) == 0)
        return;
    c->kill = true;
    client_conn_schedule(c);
}

void client_conn_blame(struct client_conn *c, int code, const char *reason)
{
    if (c->reason != NULL)
        return;
    c->code = (uint16_t)code;
    c->reason = xstrdup(reason);
}

void client_conn_gone(struct client_conn *c)
{
    if (c->state == CLIENT_DEAD)
        return;
    client_conn_blame(c, CODE_NONE, "client");
    c->state = CLIENT_DEAD;
    turn_cancel(&c->task);
    list_remove(&c->deadline);
    client_request_end(c);
    client_files_stop(c);
    client_queue_drop(c);
    client_recv_drop(c);
    if (c->owner != NULL)
        c->io->ops->on_close(c->owner, c->code, c->reason, c->io->arg);
}

void client_conn_kill(struct client_conn *c)
{
    client_conn_gone(c);
    turn_cancel(&c->task);
    list_remove(&c->deadline);
    client_sock_close(c);
}

void client_conn_end(struct client_conn *c)
{
    c->state = CLIENT_CLOSING;
    c->last = true;
    client_recv_drop(c);
    client_conn_expect(c, &c->io->closing, CLIENT_CLOSE_TIMEOUT);
    client_conn_schedule(c);
}

void client_conn_expect(struct client_conn *c, struct list *list, uint64_t ms)
{
    list_remove(&c->deadline);
    c->due = clock_now(c->io->loop) + ms;
    list_push_back(list, &c->deadline);
    client_conn_start_sweep(c->io);
}

/* Each list has one length of wait, so its front is due first. what NULL: none
 * is surprising. */
static void sweep_list(struct list *list, uint64_t now, const char *what)
{
    char peer[ADDR_TEXT_SIZE];

    while (!list_empty(list)) {
        struct client_conn *c =
            LIST_ENTRY(list->next, struct client_conn, deadline);

        if (c->due > now)
            break;
        if (client_request_timeout(c))
            continue;
        list_remove(&c->deadline);
        if (what != NULL)
            log_info("%s timed out, closing peer=%s", what,
                addr_format(peer, &c->peer));
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
    sweep_list(&io->opening, now, "handshake or request");
    sweep_list(&io->closing, now, "close");
    sweep_list(&io->lingering, now, NULL);
    if (list_empty(&io->proxied) && list_empty(&io->opening) &&
        list_empty(&io->closing) && list_empty(&io->lingering))
        uv_timer_stop(&io->sweep);
}

void client_conn_start_sweep(struct client_io *io)
{
    double step = io->conf->handshake_timeout * 1000 / 8;
    uint64_t ms = step < 10 ? 10 : step > 500 ? 500 : (uint64_t)step;

    if (!uv_is_active((uv_handle_t *)&io->sweep))
        uv_timer_start(&io->sweep, on_sweep, ms, ms);
}
