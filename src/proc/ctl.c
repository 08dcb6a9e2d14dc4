/* A ctl owns its conn and ends once: by ctl_close(), or with on_close() when
 * the other side is gone, has sent what is no message, or does not read. */
#include "proc/ctl.h"

#include <stdlib.h>

#include "net/conn.h"
#include "util/alloc.h"
#include "util/log.h"
#include "wire/framing.h"

#define CTL_QUEUE_MAX (64 * 1024 * 1024) /* bytes unread by the other side */

struct ctl {
    struct conn *conn; /* owned; NULL once ended */
    struct turn *turn; /* borrowed */
    const struct ctl_ops *ops;
    void *arg;                /* borrowed, handed to ops */
    struct turn_task give_up; /* scheduled when the other side does not read */
};

/* The other side is gone, or as good as gone. */
static void end(struct ctl *c)
{
    turn_cancel(&c->give_up);
    c->conn = NULL;
    c->ops->on_close(c, c->arg);
    free(c);
}

static void run_give_up(struct turn_task *task)
{
    struct ctl *c = LIST_ENTRY(task, struct ctl, give_up);

    conn_close(c->conn);
    end(c);
}

static void on_packet(
    struct conn *conn, const uint8_t *packet, size_t len, void *arg)
{
    struct ctl *c = arg;
    struct framing_message line = framing_line_message(packet, len);
    json_t *m = ctlmsg_parse(line.data, line.len);
    char quoted[LOG_QUOTE_SIZE];

    if (m) {
        c->ops->on_message(c, m, c->arg);
        json_decref(m);
        return;
    }
    log_error("closing a control connection, not a message line=%s",
        log_quote(quoted, line.data, line.len));
    conn_close(conn);
    end(c);
}

static void on_conn_close(struct conn *conn, int err, void *arg)
{
    end(arg);
}

static const struct conn_ops conn_ops = {
    .measure = framing_line_measure,
    .on_packet = on_packet,
    .on_close = on_conn_close,
};

static const struct conn_limits limits = {
    .packet_max = CTLMSG_MAX_LEN,
    .high_water = CTL_QUEUE_MAX,
};

struct ctl *ctl_open(
    struct turn *turn, int fd, const struct ctl_ops *ops, void *arg)
{
    struct ctl *c = xcalloc(1, sizeof(*c));

    c->conn = conn_open(turn, fd, &conn_ops, &limits, c);
    if (!c->conn) {
        free(c);
        return NULL;
    }
    c->turn = turn;
    c->ops = ops;
    c->arg = arg;
    list_init(&c->give_up.node);
    c->give_up.run = run_give_up;
    return c;
}

void ctl_send(struct ctl *c, json_t *m)
{
    if (!c->conn || conn_is_full(c->conn)) {
        if (c->conn && list_empty(&c->give_up.node)) {
            log_error("closing a control connection, it does not read");
            turn_schedule(c->turn, &c->give_up);
        }
        json_decref(m);
        return;
    }
    ctlmsg_put(conn_out(c->conn), m);
}

void ctl_close(struct ctl *c)
{
    if (!c->conn)
        return; /* within on_close, which ends it */
    turn_cancel(&c->give_up);
    conn_close_flushed(c->conn);
    free(c);
}
