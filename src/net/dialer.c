/* Waiting between tries; connect.c does each of them. Either the timer runs, or
 * a connect is under way, or the connection is its owner's and the dialer
 * rests. */
#include "net/dialer.h"

#include <stdlib.h>

#include "net/addr.h"
#include "net/clock.h"
#include "net/connect.h"
#include "net/handle.h"
#include "util/alloc.h"
#include "util/log.h"

#define DIALER_WAIT_MIN_MS 100  /* longest first wait, then doubling */
#define DIALER_WAIT_MAX_MS 5000 /* longest wait there is */
#define DIALER_LASTING_MS  5000 /* a connection of this age resets the wait */
#define DIALER_TRY_MS      3000 /* a connect that takes longer has failed */

struct dialer {
    uv_timer_t timer; /* the wait before a try */
    char *address;    /* owned; "host:port", for people */
    char *host;       /* owned; looked up at each try */
    uint16_t port;
    char *path;       /* owned; of a unix socket to be tried first, or NULL */
    int path_err;     /* -errno of the last try of path, 0: none */
    bool path_logged; /* since path was last of use */
    struct connect *connect; /* owned; NULL between tries */
    dialer_connect_cb connect_cb;
    void *arg;             /* borrowed, handed to connect_cb */
    uint64_t wait_ms;      /* longest next wait */
    uint64_t limit_ms;     /* of wait_ms */
    uint64_t connected_at; /* ms, clock_now; the last success */
    bool failed;           /* since the last success … */
    bool complained;       /* … and the log says so */
};

static uint64_t quiet_until; /* ns, uv_hrtime(); 0: never was */

void dialer_start_together(uint64_t ms)
{
    quiet_until = ms ? uv_hrtime() + ms * UINT64_C(1000000) : 0;
}

static void on_wait_over(uv_timer_t *timer);

/* Evenly from 0 to max. */
static uint64_t jitter(uint64_t max)
{
    uint64_t random = 0;

    uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
    return random % (max + 1);
}

static void wait_and_try(struct dialer *d)
{
    uv_timer_start(&d->timer, on_wait_over, jitter(d->wait_ms), 0);
    d->wait_ms *= 2;
    if (d->wait_ms > d->limit_ms)
        d->wait_ms = d->limit_ms;
}

static void fail(struct dialer *d, int err)
{
    if (!d->complained && (!quiet_until || uv_hrtime() >= quiet_until)) {
        log_warn("cannot connect, trying on address=%s err=%s", d->address,
            uv_strerror(err));
        d->complained = true;
    }
    d->failed = true;
    wait_and_try(d);
}

/* Only what worked in the end tells that path is at fault. */
static void log_detour(struct dialer *d)
{
    if (d->path_err < 0 && !d->path_logged)
        log_warn("no connection by the unix socket %s, it goes by TCP "
                 "address=%s err=%s",
            d->path, d->address, uv_strerror(d->path_err));
    d->path_logged = d->path_err < 0;
}

static void on_tried(int err, int fd, void *arg)
{
    struct dialer *d = arg;

    d->connect = NULL;
    if (err < 0) {
        fail(d, err);
        return;
    }
    log_detour(d);
    d->failed = d->complained = false;
    d->connected_at = clock_now(d->timer.loop);
    d->connect_cb(d, fd, d->arg);
}

static const struct connect_limit try_limit = {DIALER_TRY_MS, .each = true};

static void try_address(struct dialer *d)
{
    d->connect =
        connect_start(d->timer.loop, d->host, d->port, try_limit, on_tried, d);
}

static void on_path_tried(int err, int fd, void *arg)
{
    struct dialer *d = arg;

    d->path_err = err;
    if (err < 0)
        try_address(d);
    else
        on_tried(0, fd, d);
}

static void on_wait_over(uv_timer_t *timer)
{
    struct dialer *d = timer->data;

    if (d->path)
        d->connect =
            connect_start(timer->loop, d->path, 0, try_limit, on_path_tried, d);
    else
        try_address(d);
}

struct dialer *dialer_open(uv_loop_t *loop, const char *address,
    dialer_connect_cb connect_cb, void *arg)
{
    char name[ADDR_NAME_SIZE], host[ADDR_TEXT_SIZE];
    union addr addr = {.in = {0}};
    uint16_t port = 0;
    bool numeric = addr_parse(&addr, address) == 0;
    struct dialer *d;

    if (!numeric && addr_parse_name(name, &port, address) < 0)
        return NULL;
    d = xcalloc(1, sizeof(*d));
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    d->address = xstrdup(address);
    d->host = xstrdup(numeric ? addr_format_host(host, &addr) : name);
    d->port = numeric ? addr_port(&addr) : port;
    d->connect_cb = connect_cb;
    d->arg = arg;
    d->wait_ms = DIALER_WAIT_MIN_MS;
    d->limit_ms = DIALER_WAIT_MAX_MS;
    uv_timer_start(&d->timer, on_wait_over, 0, 0);
    return d;
}

void dialer_prefer(struct dialer *d, const char *path)
{
    d->path = xstrdup(path);
}

bool dialer_has_failed(const struct dialer *d)
{
    return d->failed;
}

void dialer_limit_wait(struct dialer *d, uint64_t ms)
{
    d->limit_ms = ms;
}

void dialer_retry(struct dialer *d)
{
    if (d->connect || uv_is_active((uv_handle_t *)&d->timer))
        return;
    if (clock_now(d->timer.loop) - d->connected_at >= DIALER_LASTING_MS)
        d->wait_ms = DIALER_WAIT_MIN_MS;
    wait_and_try(d);
}

void dialer_close(struct dialer *d)
{
    if (d->connect)
        connect_cancel(d->connect);
    free(d->host);
    free(d->path);
    free(d->address);
    handle_close(&d->timer, d);
}
