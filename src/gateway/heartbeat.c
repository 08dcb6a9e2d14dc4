/* One timer goes round all clients, a slice of the roster at a time. What it
 * knows of a client (since, seen, pinged) is in struct client; the timer is all
 * that it owns. Nobody is ended for a silence in which this process slept. */
#include "gateway/heartbeat.h"

#include <stdlib.h>
#include <string.h>

#include "clients/client_conn.h"
#include "net/clock.h"
#include "net/handle.h"
#include "util/alloc.h"

#define VISITS 8  /* of a client per interval or timeout */
#define SLICES 16 /* in which all clients are visited once */

struct heartbeat {
    uv_timer_t timer;
    struct roster *roster; /* borrowed */
    const char *data;      /* borrowed; NULL: websocket PING, or nothing */
    size_t data_len;
    bool ping;
    uint32_t interval; /* ticks */
    uint32_t beats;    /* of PHP's heartbeat in an interval: 1 or 2 */
    uint32_t deadline; /* ticks of silence; 0: none */
    uint32_t last;     /* ticks, of the slice before */
    uint32_t mercy;    /* ticks: nobody is dead before … */
    bool merciful;     /* … while this is set */
    size_t at;         /* where the next slice begins */
};

uint32_t heartbeat_ticks(const uv_loop_t *loop)
{
    return (uint32_t)(clock_now(loop) / (1000 / ROSTER_TICKS));
}

/* PHP's Gateway::ping() goes round once in an interval, or twice with a limit,
 * counts for each client the rounds without a word of it, and pings those with
 * as many whole ones as an interval has. Here each client's rounds begin when
 * it came. */
static bool is_data_due(
    const struct heartbeat *h, const struct client *c, uint32_t now)
{
    uint32_t round = h->interval / h->beats;
    uint32_t at = (now - c->since) / round;
    uint32_t silent = at - (c->seen - c->since) / round;

    return silent > h->beats && (silent - 1) % h->beats == 0 &&
           at != (c->pinged - c->since) / round;
}

static bool is_ping_due(
    const struct heartbeat *h, const struct client *c, uint32_t now)
{
    return now - c->seen >= h->interval && now - c->pinged >= h->interval;
}

static void visit(struct heartbeat *h, struct client *c, uint32_t now)
{
    uint32_t silence = now - c->seen;

    if (c->paused || c->streams) { /* nobody reads, or it never speaks */
        c->seen = now;
    } else if (h->deadline > 0 && silence >= h->deadline && !h->merciful) {
        client_conn_destroy(c->conn, CLIENT_CONN_TIMEOUT);
    } else if (h->ping &&
               (h->data ? is_data_due(h, c, now) : is_ping_due(h, c, now))) {
        c->pinged = now;
        if (h->data)
            client_conn_send(c->conn, h->data, h->data_len, PROTOCOL_AS_USUAL);
        else
            client_conn_ping(c->conn);
    }
}

/* If this process did not run for long (stopped, its machine paused), clients
 * were silent because nobody listened: they get all the time again. */
static void look_at_self(struct heartbeat *h, uint32_t now)
{
    if (now - h->last > h->deadline / 2) {
        h->merciful = true;
        h->mercy = now + h->deadline;
    } else if (h->merciful && (int32_t)(now - h->mercy) >= 0) {
        h->merciful = false;
    }
    h->last = now;
}

static void on_slice(uv_timer_t *timer)
{
    struct heartbeat *h = timer->data;
    size_t count = roster_count(h->roster);
    uint32_t now = heartbeat_ticks(timer->loop);

    look_at_self(h, now);
    if (h->at >= count)
        h->at = 0;
    for (size_t n = (count + SLICES - 1) / SLICES; n > 0 && h->at < count; n--)
        visit(h, roster_at(h->roster, h->at++), now);
}

static uint32_t to_ticks(double seconds)
{
    return (uint32_t)(seconds * ROSTER_TICKS + 0.5);
}

/* Seconds of silence after which a client is dead; 0: never. */
static double find_deadline(const struct gateway_conf *conf, bool pongs)
{
    unsigned limit = conf->ping_not_response_limit;
    /* In PHP it is half an interval less or up to that: as its rounds fall. */
    double as_php = limit > 0 ? conf->ping_interval * (limit + 1.0) : 0;
    double idle = conf->idle_timeout;

    if (idle < 0)
        idle = pongs ? GATEWAY_IDLE_TIMEOUT : 0;
    return as_php > 0 && (idle == 0 || as_php < idle) ? as_php : idle;
}

struct heartbeat *heartbeat_open(
    uv_loop_t *loop, const struct gateway_conf *conf, struct roster *roster)
{
    bool has_data = conf->ping_data && *conf->ping_data;
    bool pongs = conf->ping_interval > 0 && !has_data &&
                 conf->ping_not_response_limit == 0 &&
                 conf->clients.protocol->ping != NULL;
    bool ping = pongs || (conf->ping_interval > 0 && has_data);
    double deadline = find_deadline(conf, pongs);
    double step = ping ? conf->ping_interval : deadline;
    uint64_t period_ms;
    struct heartbeat *h;

    if (step <= 0)
        return NULL;
    if (deadline > 0 && deadline < step)
        step = deadline;
    h = xcalloc(1, sizeof(*h));
    h->roster = roster;
    h->last = heartbeat_ticks(loop);
    h->interval = to_ticks(conf->ping_interval);
    h->beats = conf->ping_not_response_limit > 0 ? 2 : 1;
    if (h->interval < h->beats)
        h->interval = h->beats;
    h->ping = ping;
    h->deadline = to_ticks(deadline);
    if (has_data) {
        h->data = conf->ping_data;
        h->data_len = strlen(conf->ping_data);
    }
    period_ms = (uint64_t)(step * 1000 / VISITS / SLICES);
    if (period_ms == 0)
        period_ms = 1;
    uv_timer_init(loop, &h->timer);
    h->timer.data = h;
    uv_timer_start(&h->timer, on_slice, period_ms, period_ms);
    return h;
}

void heartbeat_close(struct heartbeat *h)
{
    if (h)
        handle_close(&h->timer, h);
}
