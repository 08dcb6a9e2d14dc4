/* A gateway's or worker's connections to its registers, as GatewayWorker's
 * BusinessWorker and Gateway have them: one link per register address, each
 * redialed for ever, with a ping every 25 s. Lists of several registers are
 * united. While a register is away its last list stays in force; who has found
 * none so far takes the list that was kept in a file, if there is one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/discovery_impl.h"
#include "net/clock.h"
#include "net/conn.h"
#include "net/dialer.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/framing.h"
#include "wire/regmsg.h"

#define LINK_PING_MS    25000 /* between pings */
#define LINK_ANSWER_MS  10000 /* a register silent for longer is redialed */
#define LINK_RETRY_MS   1000  /* longest wait between tries */
#define LINK_QUEUE_MAX  (64 * 1024) /* bytes that a register may not read */
#define LINK_REFUSED_MS 1000        /* closed within: perhaps the key */
#define KEPT_MS         2000 /* without any register, before the kept list */

/* "host:port" texts in order. */
struct addresses {
    char **items; /* owned, and each text too */
    size_t count;
};

/* The link to one register. */
struct link {
    struct registers *owner; /* borrowed; outlives it */
    uv_timer_t timer;        /* the limit of an answer, then ping */
    struct dialer *dialer;   /* owned */
    struct conn *conn;       /* owned; NULL while away */
    const char *address;     /* borrowed from the configuration */
    bool is_far;             /* it is connected on another machine */
    bool told_loopback;      /* its list has what only that machine can reach */
    struct addresses list;   /* what the register said last */
    uint64_t connected_at;   /* loop time, ms */
    bool complained;         /* since it last worked */
    bool answered;           /* it has sent its list, once at least */
};

struct registers {
    struct discovery d;
    struct turn *turn; /* borrowed */
    char *secret_key;  /* owned */
    char *address;     /* owned; NULL for a worker */
    discovery_changed_cb changed;
    void *arg;          /* borrowed, handed to changed */
    struct link *links; /* owned */
    size_t count;
    struct addresses united;  /* as changed knows it */
    const char *const *names; /* borrowed; of the registers */
    int kept_fd;              /* borrowed; 0: nothing is kept */
    struct addresses kept;    /* used while no register has answered */
    uv_timer_t patience;      /* … for so long */
    size_t handles;           /* timers not yet closed */
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

static bool has_answer(const struct registers *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->links[i].answered)
            return true;
    return false;
}

/* A register that was started a moment ago knows of nobody yet. */
static void keep(const struct registers *l)
{
    if (l->kept_fd > 0 && l->united.count > 0 && has_answer(l))
        discovery_kept_write(l->kept_fd, l->names,
            (const char *const *)l->united.items, l->united.count);
}

/* Unite the registers' lists; tell the owner when that changed. */
static void update_union(struct registers *l)
{
    struct addresses united = {NULL, 0};
    struct seen *seen = NULL;
    struct seen *s;
    struct seen *tmp;

    for (size_t i = 0; i < l->count; i++)
        unite(&united, &l->links[i].list, &seen);
    if (!has_answer(l))
        unite(&united, &l->kept, &seen);
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
    keep(l);
    l->changed((const char *const *)united.items, united.count, l->arg);
}

/* Nobody has told of any gateway: those of the last run are better than none.
 */
static void use_kept(struct registers *l)
{
    char *lines =
        has_answer(l) ? NULL : discovery_kept_read(l->kept_fd, l->names);
    char *rest = lines;
    const char *line;
    union addr addr;

    if (!lines)
        return;
    while ((line = strsep(&rest, "\n"))) {
        if (addr_parse(&addr, line) < 0)
            continue;
        l->kept.items = xrealloc(
            l->kept.items, (l->kept.count + 1) * sizeof(*l->kept.items));
        l->kept.items[l->kept.count++] = xstrdup(line);
    }
    free(lines);
    log_notice("no register answers, the gateways of its last list are dialed "
               "count=%zu",
        l->kept.count);
    update_union(l); /* may end in discovery_close() */
}

static void on_patience_over(uv_timer_t *timer)
{
    use_kept(timer->data);
}

static bool take_kept(struct discovery *d)
{
    struct registers *l = (struct registers *)d;

    if (!uv_is_active((uv_handle_t *)&l->patience))
        return false;
    uv_timer_stop(&l->patience);
    use_kept(l);
    return l->kept.count > 0;
}

/* A gateway that tells another machine a loopback address has no lan_ip; nobody
 * here can find it, and nobody there will notice. */
static bool complain_of_loopback(struct link *k, const char *address)
{
    if (!k->told_loopback)
        log_error(
            "register %s lists the gateway %s, which only its own machine "
            "can reach; set lan_ip there to the address that this machine "
            "reaches it at",
            k->address, address);
    return true;
}

/* Keep what a gateway can be dialed at. */
static void take_list(struct link *k, const struct regmsg *m)
{
    char quoted[LOG_QUOTE_SIZE];
    bool loopback = false;
    union addr addr;

    addresses_fini(&k->list);
    k->list.items = xcalloc(m->count + 1, sizeof(*k->list.items));
    for (size_t i = 0; i < m->count; i++) {
        if (addr_parse(&addr, m->addresses[i]) < 0) {
            log_warn("register lists what is no address address=%s",
                log_quote(quoted, m->addresses[i], strlen(m->addresses[i])));
            continue;
        }
        k->list.items[k->list.count++] = xstrdup(m->addresses[i]);
        if (k->is_far && addr_is_loopback(&addr))
            loopback = complain_of_loopback(k, m->addresses[i]);
    }
    k->told_loopback = loopback;
}

/* The conn is gone. A register that keeps closing is worth one line, not one a
 * second. */
static void lose(struct link *k, const char *why)
{
    log_write(k->complained ? LOG_DEBUG : LOG_WARN, __FILE__,
        "register is away, trying on address=%s err=\"%s\"", k->address, why);
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
    uv_timer_start(&k->timer, on_ping_due, LINK_PING_MS, LINK_PING_MS);
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
    if (m.event == REGMSG_BROADCAST_ADDRESSES && k->owner->changed) {
        take_list(k, &m);
        regmsg_fini(&m);
        k->complained = false;
        k->answered = true;
        start_pings(k);
        update_union(k->owner); /* may end in discovery_close() */
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
    else if (now - k->connected_at < LINK_REFUSED_MS)
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
    .high_water = LINK_QUEUE_MAX,
};

/* Is the other end of fd on another machine? Whoever connects to an address of
 * his own machine comes from that address. */
static bool is_far(int fd)
{
    union addr ours = {.in = {0}}, theirs = {.in = {0}};
    socklen_t ours_len = sizeof(ours), theirs_len = sizeof(theirs);
    char our_host[ADDR_TEXT_SIZE], their_host[ADDR_TEXT_SIZE];

    return getsockname(fd, &ours.sa, &ours_len) == 0 &&
           getpeername(fd, &theirs.sa, &theirs_len) == 0 &&
           !addr_is_loopback(&theirs) &&
           strcmp(addr_format_host(our_host, &ours),
               addr_format_host(their_host, &theirs)) != 0;
}

static void on_connect(struct dialer *d, int fd, void *arg)
{
    struct link *k = arg;
    struct registers *l = k->owner;

    k->is_far = is_far(fd);
    k->conn = conn_open(l->turn, fd, &link_ops, &link_limits, k);
    if (!k->conn) {
        lose(k, "no connection");
        return;
    }
    k->connected_at = clock_now(turn_loop(l->turn));
    log_info("register is there address=%s", k->address);
    if (l->address) {
        regmsg_put_gateway_connect(
            conn_out(k->conn), l->address, l->secret_key);
        start_pings(k);
    } else {
        regmsg_put_worker_connect(conn_out(k->conn), l->secret_key);
        uv_timer_start(&k->timer, on_answer_missing, LINK_ANSWER_MS, 0);
    }
}

static void open_link(struct registers *l, const char *address)
{
    uv_loop_t *loop = turn_loop(l->turn);
    struct link *k = &l->links[l->count];

    k->dialer = dialer_open(loop, address, on_connect, k);
    if (!k->dialer) {
        log_error("register is no host:port, left out address=%s", address);
        return;
    }
    dialer_limit_wait(k->dialer, LINK_RETRY_MS);
    k->owner = l;
    k->address = address;
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    l->count++;
}

static size_t missing(const struct discovery *d)
{
    const struct registers *l = (const struct registers *)d;
    size_t count = 0;

    for (size_t i = 0; i < l->count; i++)
        count += l->links[i].conn == NULL;
    return count;
}

static bool is_settled(const struct discovery *d)
{
    const struct registers *l = (const struct registers *)d;

    for (size_t i = 0; i < l->count; i++) {
        const struct link *k = &l->links[i];

        if (!k->answered && !k->complained && !dialer_has_failed(k->dialer))
            return false;
    }
    return true;
}

static void free_registers(struct registers *l)
{
    for (size_t i = 0; i < l->count; i++)
        addresses_fini(&l->links[i].list);
    addresses_fini(&l->united);
    addresses_fini(&l->kept);
    free(l->links);
    free(l->secret_key);
    free(l->address);
    free(l);
}

static void end_handle(struct registers *l)
{
    if (--l->handles == 0)
        free_registers(l);
}

static void on_closed(uv_handle_t *handle)
{
    struct link *k = handle->data;

    end_handle(k->owner);
}

static void on_patience_closed(uv_handle_t *handle)
{
    end_handle(handle->data);
}

static void close_registers(struct discovery *d)
{
    struct registers *l = (struct registers *)d;

    l->handles = l->count + 1;
    uv_close((uv_handle_t *)&l->patience, on_patience_closed);
    for (size_t i = 0; i < l->count; i++) {
        struct link *k = &l->links[i];

        dialer_close(k->dialer);
        if (k->conn)
            conn_close(k->conn);
        uv_close((uv_handle_t *)&k->timer, on_closed);
    }
}

static const struct discovery_ops register_ops = {.missing = missing,
    .is_settled = is_settled,
    .take_kept = take_kept,
    .close = close_registers};

static struct registers *open_all(struct turn *turn,
    const char *const *registers, const char *secret_key, const char *address)
{
    struct registers *l = xcalloc(1, sizeof(*l));
    size_t count = 0;

    l->d.ops = &register_ops;
    l->names = registers;
    uv_timer_init(turn_loop(turn), &l->patience);
    l->patience.data = l;
    while (registers[count])
        count++;
    l->turn = turn;
    l->secret_key = xstrdup(secret_key);
    l->address = address ? xstrdup(address) : NULL;
    l->links = xcalloc(count + 1, sizeof(*l->links));
    for (size_t i = 0; i < count; i++)
        open_link(l, registers[i]);
    return l;
}

struct discovery *discovery_register_announce(struct turn *turn,
    const char *const *registers, const char *secret_key, const char *address)
{
    return &open_all(turn, registers, secret_key, address)->d;
}

struct discovery *discovery_register_watch(struct turn *turn,
    const struct discovery_conf *conf, const char *secret_key,
    discovery_changed_cb changed, void *arg)
{
    static const char *const nobody[] = {NULL};
    struct registers *l = open_all(
        turn, conf->registers ? conf->registers : nobody, secret_key, NULL);

    l->changed = changed;
    l->arg = arg;
    l->kept_fd = conf->kept_fd;
    if (l->kept_fd > 0 && l->count > 0)
        uv_timer_start(&l->patience, on_patience_over, KEPT_MS, 0);
    return &l->d;
}
