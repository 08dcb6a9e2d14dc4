#include "proc/reglink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/conn.h"
#include "net/dialer.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/framing.h"
#include "wire/regmsg.h"

#define REGLINK_PING_MS   25000 /* between pings */
#define REGLINK_ANSWER_MS 10000 /* a register silent for longer is redialed */
#define REGLINK_RETRY_MS  1000  /* longest wait between tries */
#define REGLINK_QUEUE_MAX (64 * 1024) /* bytes that a register may not read */
#define REFUSED_MS        1000        /* closed within: perhaps the key */

/* "host:port" texts in order. */
struct addresses {
    char **items; /* owned, and each text too */
    size_t count;
};

/* The link to one register. */
struct link {
    struct reglink *owner; /* borrowed; outlives it */
    uv_timer_t timer;      /* the limit of an answer, then ping */
    struct dialer *dialer; /* owned */
    struct conn *conn;     /* owned; NULL while away */
    union addr addr;
    struct addresses list; /* what the register said last */
    uint64_t connected_at; /* loop time, ms */
    bool complained;       /* since it last worked */
    bool answered;         /* it has sent its list, once at least */
};

struct reglink {
    struct turn *turn; /* borrowed */
    char *secret_key;  /* owned */
    char *address;     /* owned; NULL for a worker */
    reglink_addresses_cb addresses_cb;
    void *arg;          /* borrowed, handed to addresses_cb */
    struct link *links; /* owned */
    size_t count;
    struct addresses united; /* as addresses_cb knows it */
    size_t handles;          /* timers not yet closed */
};

static void addresses_fini(struct addresses *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->items[i]);
    free(a->items);
    a->items = NULL;
    a->count = 0;
}

static bool addresses_equal(
    const struct addresses *a, const struct addresses *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

struct seen {
    UT_hash_handle hh;
};

/* Append those of from that are not in seen yet. */
static void unite(
    struct addresses *to, const struct addresses *from, struct seen **seen)
{
    to->items =
        xrealloc(to->items, (to->count + from->count + 1) * sizeof(*to->items));
    for (size_t i = 0; i < from->count; i++) {
        size_t len = strlen(from->items[i]);
        struct seen *s;

        HASH_FIND(hh, *seen, from->items[i], len, s);
        if (s)
            continue;
        s = xcalloc(1, sizeof(*s));
        to->items[to->count] = xstrdup(from->items[i]);
        HASH_ADD_KEYPTR(hh, *seen, to->items[to->count], len, s);
        to->count++;
    }
}

/* Unite the registers' lists; tell the owner when that changed. */
static void update_union(struct reglink *l)
{
    struct addresses united = {NULL, 0};
    struct seen *seen = NULL;
    struct seen *s;
    struct seen *tmp;

    for (size_t i = 0; i < l->count; i++)
        unite(&united, &l->links[i].list, &seen);
    MAP_FOREACH (hh, seen, s, tmp) {
        HASH_DELETE(hh, seen, s);
        free(s);
    }
    if (addresses_equal(&united, &l->united)) {
        addresses_fini(&united);
        return;
    }
    addresses_fini(&l->united);
    l->united = united;
    l->addresses_cb((const char *const *)united.items, united.count, l->arg);
}

/* Keep what a gateway can be dialed at. */
static void take_list(struct link *k, const struct regmsg *m)
{
    char quoted[LOG_QUOTE_SIZE];
    union addr addr;

    addresses_fini(&k->list);
    k->list.items = xcalloc(m->count + 1, sizeof(*k->list.items));
    for (size_t i = 0; i < m->count; i++) {
        if (addr_parse(&addr, m->addresses[i]) == 0)
            k->list.items[k->list.count++] = xstrdup(m->addresses[i]);
        else
            log_warn("register lists what is no address address=%s",
                log_quote(quoted, m->addresses[i], strlen(m->addresses[i])));
    }
}

/* The conn is gone. A register that keeps closing is worth one line, not one a
 * second. */
static void lose(struct link *k, const char *why)
{
    char text[ADDR_TEXT_SIZE];

    log_write(k->complained ? LOG_DEBUG : LOG_WARN, __FILE__,
        "register is away, trying on address=%s err=\"%s\"",
        addr_format(text, &k->addr), why);
    k->complained = true;
    k->conn = NULL;
    uv_timer_stop(&k->timer);
    dialer_retry(k->dialer);
}

static void drop(struct link *k, const char *why)
{
    conn_close(k->conn);
    lose(k, why);
}

static void on_answer_missing(uv_timer_t *timer)
{
    drop(timer->data, "it does not answer");
}

static void on_ping_due(uv_timer_t *timer)
{
    struct link *k = timer->data;

    k->complained = false; /* it kept us that long */
    if (conn_is_full(k->conn))
        drop(k, "it does not read");
    else
        regmsg_put_ping(conn_out(k->conn));
}

static void start_pings(struct link *k)
{
    uv_timer_start(&k->timer, on_ping_due, REGLINK_PING_MS, REGLINK_PING_MS);
}

static void on_packet(
    struct conn *c, const uint8_t *packet, size_t len, void *arg)
{
    struct link *k = arg;
    struct framing_message line = framing_line_message(packet, len);
    struct regmsg m;

    if (regmsg_parse(&m, line.data, line.len) < 0) {
        drop(k, "it sent what is no message");
        return;
    }
    if (m.event == REGMSG_BROADCAST_ADDRESSES && k->owner->addresses_cb) {
        take_list(k, &m);
        regmsg_fini(&m);
        k->complained = false;
        k->answered = true;
        start_pings(k);
        update_union(k->owner); /* may end in reglink_close() */
        return;
    }
    regmsg_fini(&m);
}

static void on_conn_close(struct conn *c, int err, void *arg)
{
    struct link *k = arg;
    uint64_t now = clock_now(turn_loop(k->owner->turn));

    if (err < 0)
        lose(k, uv_strerror(err));
    else if (now - k->connected_at < REFUSED_MS)
        lose(k, "closed at once; is secret_key the same there? see its log");
    else
        lose(k, "closed");
}

static const struct conn_ops link_ops = {
    .measure = framing_line_measure,
    .on_packet = on_packet,
    .on_close = on_conn_close,
};

static const struct conn_limits link_limits = {
    .packet_max = REGMSG_MAX_LEN,
    .high_water = REGLINK_QUEUE_MAX,
};

static void on_connect(struct dialer *d, int fd, void *arg)
{
    struct link *k = arg;
    struct reglink *l = k->owner;
    char text[ADDR_TEXT_SIZE];

    k->conn = conn_open(l->turn, fd, &link_ops, &link_limits, k);
    if (!k->conn) {
        lose(k, "no connection");
        return;
    }
    k->connected_at = clock_now(turn_loop(l->turn));
    log_info("register is there address=%s", addr_format(text, &k->addr));
    if (l->address) {
        regmsg_put_gateway_connect(
            conn_out(k->conn), l->address, l->secret_key);
        start_pings(k);
    } else {
        regmsg_put_worker_connect(conn_out(k->conn), l->secret_key);
        uv_timer_start(&k->timer, on_answer_missing, REGLINK_ANSWER_MS, 0);
    }
}

static void open_link(struct reglink *l, struct link *k, const union addr *addr)
{
    uv_loop_t *loop = turn_loop(l->turn);

    k->owner = l;
    k->addr = *addr;
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    k->dialer = dialer_open(loop, addr, on_connect, k);
    dialer_limit_wait(k->dialer, REGLINK_RETRY_MS);
}

static struct reglink *open_all(struct turn *turn, const char *const *registers,
    const char *secret_key, const char *address)
{
    struct reglink *l = xcalloc(1, sizeof(*l));
    size_t count = 0;

    while (registers[count])
        count++;
    l->turn = turn;
    l->secret_key = xstrdup(secret_key);
    l->address = address ? xstrdup(address) : NULL;
    l->links = xcalloc(count + 1, sizeof(*l->links));
    for (size_t i = 0; i < count; i++) {
        union addr addr;

        if (addr_parse(&addr, registers[i]) == 0)
            open_link(l, &l->links[l->count++], &addr);
        else
            log_error(
                "register is no host:port, left out address=%s", registers[i]);
    }
    return l;
}

struct reglink *reglink_open_gateway(struct turn *turn,
    const char *const *registers, const char *secret_key, const char *address)
{
    return open_all(turn, registers, secret_key, address);
}

struct reglink *reglink_open_worker(struct turn *turn,
    const char *const *registers, const char *secret_key,
    reglink_addresses_cb addresses_cb, void *arg)
{
    struct reglink *l = open_all(turn, registers, secret_key, NULL);

    l->addresses_cb = addresses_cb;
    l->arg = arg;
    return l;
}

size_t reglink_missing(const struct reglink *l)
{
    size_t count = 0;

    for (size_t i = 0; i < l->count; i++)
        count += l->links[i].conn == NULL;
    return count;
}

bool reglink_is_settled(const struct reglink *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct link *k = &l->links[i];

        if (!k->answered && !k->complained && !dialer_has_failed(k->dialer))
            return false;
    }
    return true;
}

static void free_reglink(struct reglink *l)
{
    for (size_t i = 0; i < l->count; i++)
        addresses_fini(&l->links[i].list);
    addresses_fini(&l->united);
    free(l->links);
    free(l->secret_key);
    free(l->address);
    free(l);
}

static void on_closed(uv_handle_t *handle)
{
    struct link *k = handle->data;

    if (--k->owner->handles == 0)
        free_reglink(k->owner);
}

void reglink_close(struct reglink *l)
{
    l->handles = l->count;
    for (size_t i = 0; i < l->count; i++) {
        struct link *k = &l->links[i];

        dialer_close(k->dialer);
        if (k->conn)
            conn_close(k->conn);
        uv_close((uv_handle_t *)&k->timer, on_closed);
    }
    if (l->count == 0)
        free_reglink(l);
}
