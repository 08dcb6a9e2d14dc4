/* An open connection: notes of what happened, its timer, and what its owner
 * wants. wsdial.c begins it, wsevents.c has what the library tells. The library
 * calls in the middle of its work, where nothing but notes are made; they are
 * acted on at the end of the turn, when the library is at rest. So flow control
 * changes between reads only, where nothing is buffered half-way, and a
 * connection never ends under the library's feet.
 *
 * Once the owner is gone (ws_free()), turn is NULL and the connection lives on
 * alone until its Close frame is answered or its timer fires. */
#include "upstream/ws.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/handle.h"
#include "net/resolve.h"
#include "upstream/ws_impl.h"
#include "util/alloc.h"

/* ---- notes ---- */

static void release(struct ws *ws);

void ws_note(struct ws *ws)
{
    ws->changed = true;
    if (ws->turn)
        turn_schedule(ws->turn, &ws->task);
    else if (ws->lost)
        release(ws);
}

void ws_fail(struct ws *ws, int err, const char *why)
{
    if (ws->err < 0)
        return;
    ws->err = err;
    snprintf(ws->why, sizeof(ws->why), "%s", why);
}

void ws_forget_try(struct ws *ws)
{
    ws->wsi = NULL;
    ws->id = wshub_rename(ws->hub, ws->id);
}

void ws_lose(struct ws *ws)
{
    ws_forget_try(ws);
    ws->lost = true;
    ws_note(ws);
}

/* End it from outside of the library. */
static void cut(struct ws *ws)
{
    struct lws *wsi = ws->wsi;

    if (!wsi)
        return;
    ws_forget_try(ws);
    shutdown(lws_get_socket_fd(wsi), SHUT_RDWR);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

/* ---- time ---- */

static void on_alive_time(struct ws *ws)
{
    uint64_t now = clock_now(ws->timer.loop);

    if (ws->paused)
        ws->heard_at = now; /* who is not read from cannot be heard */
    if (ws->idle_ms > 0 && now - ws->heard_at >= ws->idle_ms) {
        ws_fail(ws, -ETIMEDOUT, "nothing came for too long");
        cut(ws);
        ws->lost = true;
        ws_note(ws);
        return;
    }
    if (ws->ping_ms > 0 && now - ws->pinged_at >= ws->ping_ms) {
        ws->pinged_at = now;
        ws->ping_due = true;
        lws_callback_on_writable(ws->wsi);
    }
    ws_watch(ws);
}

static void on_time(uv_timer_t *timer)
{
    struct ws *ws = timer->data;

    if (ws->lost)
        return;
    if (ws->state == WS_OPEN && ws->turn && ws->err == 0) {
        on_alive_time(ws);
        return;
    }
    if (ws->state == WS_CONNECTING)
        ws_fail(ws, -ETIMEDOUT, "no websocket within connect_timeout");
    if (ws->lookup)
        resolve_cancel(ws->lookup);
    ws->lookup = NULL;
    ws->next = NULL;
    cut(ws);
    ws->lost = true;
    ws_note(ws);
}

void ws_watch(struct ws *ws)
{
    uint64_t now = clock_now(ws->timer.loop);
    uint64_t due = UINT64_MAX;

    if (ws->ping_ms > 0)
        due = ws->pinged_at + ws->ping_ms;
    if (ws->idle_ms > 0 && ws->heard_at + ws->idle_ms < due)
        due = ws->heard_at + ws->idle_ms;
    if (due == UINT64_MAX)
        uv_timer_stop(&ws->timer);
    else
        uv_timer_start(&ws->timer, on_time, due > now ? due - now : 0, 0);
}

void ws_watch_connect(struct ws *ws, uint64_t ms)
{
    uv_update_time(ws->timer.loop);
    uv_timer_start(&ws->timer, on_time, ms, 0);
}

void ws_watch_close(struct ws *ws)
{
    uv_timer_start(&ws->timer, on_time, WS_CLOSE_MS, 0);
}

void ws_control_flow(struct ws *ws)
{
    size_t max = ws->paused ? WS_WAITING_MAX / 2 : WS_WAITING_MAX;
    bool paused = ws->waiting_bytes >= max;

    if (paused == ws->paused || !ws->wsi || ws->state != WS_OPEN)
        return;
    ws->paused = paused;
    if (!paused)
        ws->heard_at = clock_now(ws->timer.loop);
    lws_rx_flow_control(ws->wsi, !paused);
}

/* ---- life ---- */

static void free_lists(struct ws *ws)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &ws->waiting)
        free(LIST_ENTRY(node, struct ws_message, node));
    LIST_FOREACH_SAFE (node, tmp, &ws->queue)
        free(LIST_ENTRY(node, struct outgoing, node));
}

static void release(struct ws *ws)
{
    if (ws->lookup)
        resolve_cancel(ws->lookup);
    if (ws->list)
        uv_freeaddrinfo(ws->list);
    free_lists(ws);
    buf_fini(&ws->partial);
    buf_fini(&ws->headers);
    free(ws->host);
    free(ws->origin);
    free(ws->path);
    free(ws->protocols);
    wshub_leave(ws->hub, ws->id);
    wshub_drop(ws->hub);
    handle_close(&ws->timer, ws);
}

void ws_free(struct ws *ws)
{
    if (ws->state == WS_OPEN)
        ws_shut(ws, 1001, NULL, 0);
    turn_cancel(&ws->task);
    ws->turn = NULL;
    if (ws->state == WS_CONNECTING)
        cut(ws);
    if (!ws->wsi)
        release(ws);
    else
        uv_timer_start(&ws->timer, on_time, WS_LINGER_MS, 0);
}

enum ws_state ws_state(const struct ws *ws)
{
    return ws->state;
}

bool ws_was_open(const struct ws *ws)
{
    return ws->opened;
}

const char *ws_protocol(const struct ws *ws)
{
    return ws->protocol;
}

int ws_error(const struct ws *ws, const char **why)
{
    *why = ws->why;
    return ws->err;
}

unsigned ws_code(const struct ws *ws)
{
    return ws->code;
}

const char *ws_reason(const struct ws *ws, size_t *len)
{
    *len = ws->reason_len;
    return ws->reason;
}

struct ws_message *ws_take(struct ws *ws)
{
    struct ws_message *m;

    if (list_empty(&ws->waiting))
        return NULL;
    m = LIST_ENTRY(ws->waiting.next, struct ws_message, node);
    list_remove(&m->node);
    ws->waiting_bytes -= sizeof(*m) + m->len;
    ws_control_flow(ws);
    return m;
}

bool ws_has_message(const struct ws *ws)
{
    return !list_empty(&ws->waiting);
}

int ws_send(struct ws *ws, const void *data, size_t len, bool binary)
{
    struct outgoing *o;

    if (ws->state != WS_OPEN || !ws->wsi)
        return -ENOTCONN;
    if (ws->queued + WS_OVERHEAD + len > ws->queue_max)
        return -ENOBUFS;
    o = xmalloc(sizeof(*o) + LWS_PRE + len);
    list_init(&o->node);
    o->len = len;
    o->binary = binary;
    if (len > 0)
        memcpy(o->space + LWS_PRE, data, len);
    list_push_back(&ws->queue, &o->node);
    ws->queued += WS_OVERHEAD + len;
    lws_callback_on_writable(ws->wsi);
    return 0;
}

void ws_shut(struct ws *ws, unsigned code, const char *reason, size_t len)
{
    if (ws->state != WS_OPEN)
        return;
    ws->state = WS_CLOSING;
    if (!ws->wsi)
        return; /* the end of the turn will say so */
    if (ws->code == 0) {
        ws->code = code;
        ws->reason_len = len < WS_REASON_MAX ? len : WS_REASON_MAX;
        if (len > 0)
            memcpy(ws->reason, reason, ws->reason_len);
    }
    if (ws->paused)
        lws_rx_flow_control(ws->wsi, 1); /* or the answer is never read */
    ws_watch_close(ws);
    lws_callback_on_writable(ws->wsi);
}
