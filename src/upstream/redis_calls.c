/* Replies come in the order of the commands, so a call that was sent stays in
 * its place until its replies came, told or not; one that was not sent can go
 * at any time. One timer serves the earliest deadline. */
#include "upstream/redis_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/stream.h"
#include "util/alloc.h"

void redis_show(struct redis *r)
{
    bool up = r->state == UP && !r->closed;

    tally_show(
        &r->shown, up, up && r->ncalls == 0, up || r->closed ? 0 : r->ncalls);
}

static void free_call(struct redis_call *call)
{
    list_remove(&call->node);
    list_remove(&call->overdue);
    call->redis->ncalls--;
    redis_show(call->redis);
    call->redis->waiting_bytes -= call->commands.len;
    buf_fini(&call->commands);
    for (size_t i = 0; i < call->got; i++)
        redisvalue_clear(&call->replies[i]);
    free(call);
}

void redis_finish_call(struct redis_call *call, int err)
{
    list_remove(&call->node);
    if (call->done)
        call->done(err, err < 0 ? NULL : call->replies,
            err < 0 ? 0 : call->count, call->arg);
    free_call(call);
}

void redis_free_calls(struct list *calls)
{
    while (!list_empty(calls))
        free_call(LIST_ENTRY(calls->next, struct redis_call, node));
}

void redis_fail_calls(struct redis *r, int err)
{
    struct list failed;

    list_init(&failed);
    list_splice(&failed, &r->sent);
    list_splice(&failed, &r->waiting);
    while (!list_empty(&failed) && !r->closed)
        redis_finish_call(
            LIST_ENTRY(failed.next, struct redis_call, node), err);
    redis_free_calls(&failed);
}

/* ---- deadlines ---- */

static void on_due(uv_timer_t *timer);

static void set_timer(struct redis *r, uint64_t deadline)
{
    uint64_t now = clock_now(r->timer.loop);

    if (r->due != 0 && r->due <= deadline)
        return;
    r->due = deadline;
    uv_timer_start(&r->timer, on_due, deadline > now ? deadline - now : 0, 0);
}

static bool is_overdue(const struct redis_call *call, uint64_t now)
{
    return call->deadline <= now && call->done;
}

static void expire_calls(struct redis *r, struct list *calls, uint64_t now)
{
    struct list *node, *tmp;
    struct list overdue;

    list_init(&overdue);
    LIST_FOREACH_SAFE (node, tmp, calls) {
        struct redis_call *call = LIST_ENTRY(node, struct redis_call, node);

        if (!is_overdue(call, now)) {
            if (call->done)
                set_timer(r, call->deadline);
        } else if (!call->sent) {
            list_remove(&call->node);
            list_push_back(&overdue, &call->node);
        }
    }
    if (!list_empty(&overdue))
        redis_set_error(r, "no answer in time");
    while (!list_empty(&overdue) && !r->closed) {
        tally_timeout(&r->shown);
        redis_finish_call(
            LIST_ENTRY(overdue.next, struct redis_call, node), -ETIMEDOUT);
    }
    redis_free_calls(&overdue);
}

/* Tell those sent; each stays in its place until the replies came. Returns
 * whether the server is of no use: it has said nothing since one of them was
 * sent, or does not even let us in. */
static bool expire_sent(struct redis *r, uint64_t now)
{
    bool silent = false;
    struct list overdue, *node;

    list_init(&overdue);
    LIST_FOREACH (node, &r->sent) {
        struct redis_call *call = LIST_ENTRY(node, struct redis_call, node);

        if (is_overdue(call, now))
            list_push_back(&overdue, &call->overdue);
    }
    while (!list_empty(&overdue)) {
        struct redis_call *call =
            LIST_ENTRY(overdue.next, struct redis_call, overdue);
        redis_reply_cb done = call->done;

        list_remove(&call->overdue);
        silent = silent || r->state == GREETING ||
                 stream_bytes_in(r->conn) == call->seen;
        call->done = NULL;
        redis_set_error(r, "no answer in time");
        tally_timeout(&r->shown);
        done(-ETIMEDOUT, NULL, 0, call->arg);
        if (r->closed || !r->conn)
            return false; /* all calls are gone, also from overdue */
    }
    return silent;
}

static void on_due(uv_timer_t *timer)
{
    struct redis *r = timer->data;
    uint64_t now = clock_now(timer->loop);

    r->due = 0;
    expire_calls(r, &r->waiting, now);
    if (r->closed)
        return;
    if (r->conn && expire_sent(r, now)) {
        redis_end_link(r, -ECONNRESET, "the server is silent, connecting anew");
        return;
    }
    if (!r->closed)
        expire_calls(r, &r->sent, now); /* sets the timer again */
}

static void begin_deadline(
    struct redis *r, struct redis_call *call, uint64_t timeout_ms)
{
    uv_update_time(r->timer.loop); /* a handler may have computed for long */
    call->deadline = clock_now(r->timer.loop) + timeout_ms;
    set_timer(r, call->deadline);
}

struct redis_call *redis_new_call(
    struct redis *r, const struct redis_request *request)
{
    struct redis_call *call =
        xcalloc(1, sizeof(*call) + request->count * sizeof(call->replies[0]));

    list_init(&call->node);
    list_init(&call->overdue);
    call->redis = r;
    call->count = request->count;
    call->done = request->done;
    call->arg = request->arg;
    r->ncalls++;
    begin_deadline(r, call, request->timeout_ms);
    return call;
}

/* ---- sending ---- */

void redis_transmit(struct redis *r, struct redis_call *call)
{
    struct buf *out = stream_out(r->conn);

    if (call->commands.len > 0) {
        buf_append(out, call->commands.data, call->commands.len);
        r->waiting_bytes -= call->commands.len;
        buf_fini(&call->commands);
        memset(&call->commands, 0, sizeof(call->commands));
    }
    call->sent = true;
    call->seen = stream_bytes_in(r->conn);
    list_remove(&call->node);
    list_push_back(&r->sent, &call->node);
}

void redis_transmit_all(struct redis *r)
{
    struct list told;

    list_init(&told);
    while (!list_empty(&r->waiting)) {
        struct redis_call *call =
            LIST_ENTRY(r->waiting.next, struct redis_call, node);

        redis_transmit(r, call);
        if (call->count == 0) {
            list_remove(&call->node);
            list_push_back(&told, &call->node);
        }
    }
    while (!list_empty(&told) && !r->closed)
        redis_finish_call(LIST_ENTRY(told.next, struct redis_call, node), 0);
    redis_free_calls(&told);
}

int redis_send(struct redis *r, const struct redis_request *request,
    struct redis_call **out)
{
    size_t queued = r->waiting_bytes + (r->conn ? stream_queued(r->conn) : 0);
    struct redis_call *call;

    if (r->closed || r->ncalls >= REDIS_CALLS_MAX ||
        queued + request->commands->len > REDIS_QUEUE_MAX)
        return -ENOBUFS;
    call = redis_new_call(r, request);
    *out = call;
    if (r->state != UP)
        tally_wait(&r->shown);
    redis_show(r);
    if (r->state == UP && request->count > 0) {
        buf_append(stream_out(r->conn), request->commands->data,
            request->commands->len);
        redis_transmit(r, call);
        return 0;
    }
    buf_append(
        &call->commands, request->commands->data, request->commands->len);
    r->waiting_bytes += call->commands.len;
    list_push_back(&r->waiting, &call->node);
    turn_schedule(r->turn, &r->begin_task);
    return 0;
}

bool redis_was_sent(const struct redis_call *call)
{
    return call->sent;
}

static void on_cancelled(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

void redis_cancel(struct redis_call *call)
{
    if (!call->sent)
        free_call(call);
    else /* its replies are still to come, or the server is found silent */
        call->done = on_cancelled;
}
