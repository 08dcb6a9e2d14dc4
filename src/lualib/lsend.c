/* The gateway or gateways that a command is for get one frame each, which
 * gateways_send() copies: nothing is kept. */
#include "lualib/lsend.h"

#include <arpa/inet.h>
#include <errno.h>

#include "lualib/lvalue.h"
#include "wire/crossing.h"
#include "worker/vm.h"

#define EXT_KEEP (64 * 1024) /* bytes of the scratch buffer worth keeping */

struct buf *lsend_ext(lua_State *L)
{
    struct buf *ext = lua_touserdata(L, lua_upvalueindex(1));

    buf_clear(ext);
    buf_shrink(ext, EXT_KEEP);
    return ext;
}

void lsend_push_address(lua_State *L, const struct gateways_address *at)
{
    struct in_addr addr = {.s_addr = htonl(at->ip)};
    char ip[INET_ADDRSTRLEN];

    lua_pushfstring(
        L, "%s:%d", inet_ntop(AF_INET, &addr, ip, sizeof(ip)), at->port);
}

int lsend_fail(lua_State *L, int err, const struct gateways_address *from)
{
    const char *what;

    switch (err) {
    case -ENOTCONN:
        what = "is not connected";
        break;
    case -ENOTSUP:
        what = "sends all messages as its port does, it is not gwrun's or an "
               "older one: leave out binary";
        break;
    case -ENOSYS:
        what = "does not say which clients are this process's: it is not "
               "gwrun's or an older one, or this is a program and no worker";
        break;
    case -ENOBUFS:
        what = "is too far behind, the queue to it is full";
        break;
    case -ETIMEDOUT:
        what = "did not answer in time";
        break;
    case -ECONNRESET:
        what = "went away before it answered";
        break;
    case -EMSGSIZE:
        what = "has an answer that is too large for another cell";
        break;
    case -ENXIO:
        what = "is in no cell that is there";
        break;
    default:
        what = "sent an answer that cannot be read";
    }
    if (from->ip == 0 && from->port == 0) {
        lua_pushfstring(L, "the cluster's directory %s", what);
    } else {
        lsend_push_address(L, from);
        lua_pushfstring(L, "gateway %s %s", lua_tostring(L, -1), what);
        lua_remove(L, -2);
    }
    if (err != -ENXIO)
        return lvalue_fail_with(L, err);
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushliteral(L, "unknown_cell");
    return 3;
}

static size_t packet_max(lua_State *L)
{
    return gateways_packet_max(vm_gateways(vm_of(L)));
}

bool lsend_is_too_large(lua_State *L, const struct frame *f)
{
    return f->ext_len + f->body_len > packet_max(L) - FRAME_HEAD_LEN;
}

int lsend_fail_too_large(lua_State *L)
{
    lua_pushfstring(L, "more than %I bytes cannot be sent at once (max_packet)",
        (LUAI_UACINT)packet_max(L));
    return lvalue_fail_with(L, -EMSGSIZE);
}

void lsend_set_ext(struct frame *f, const struct buf *ext)
{
    f->ext = ext->data;
    f->ext_len = ext->len;
}

int lsend_to(lua_State *L, const struct client_id *id, struct frame *f)
{
    struct gateways_address to = {.ip = id->local_ip, .port = id->local_port};
    int err;

    f->flag |= FRAME_FLAG_STRING;
    f->connection_id = id->connection_id;
    if (lsend_is_too_large(L, f))
        return lsend_fail_too_large(L);
    err = gateways_send(vm_gateways(vm_of(L)), to.ip, to.port, f);
    if (err < 0)
        return lsend_fail(L, err, &to);
    lua_pushboolean(L, true);
    return 1;
}

/* How many gateways took a command, how many did not. */
struct sent {
    size_t taken;
    size_t missed;
};

static void count_send(struct sent *sent, int err)
{
    if (err < 0)
        sent->missed++;
    else
        sent->taken++;
}

/* alone: it was for all cells, and served this one. */
static int push_sent(lua_State *L, const struct sent *sent, bool alone)
{
    if (sent->missed == 0 && sent->taken > 0 && alone) {
        lua_pushboolean(L, true);
        lua_pushliteral(L, "local");
        return 2;
    }
    if (sent->missed > 0)
        lua_pushfstring(L, "%d of %d gateways did not take it",
            (int)sent->missed, (int)(sent->missed + sent->taken));
    else if (sent->taken == 0)
        lua_pushliteral(L, "no gateway connected");
    else
        lua_pushboolean(L, true);
    return lua_isboolean(L, -1) ? 1 : lvalue_fail_with(L, -ENOTCONN);
}

int lsend_to_all(lua_State *L, struct frame *f)
{
    return lsend_to_names(L, NULL, f);
}

int lsend_to_names(
    lua_State *L, const struct departures_names *names, struct frame *f)
{
    struct gateways *gateways = vm_gateways(vm_of(L));
    struct sent sent = {0};

    f->flag |= FRAME_FLAG_STRING;
    if (lsend_is_too_large(L, f))
        return lsend_fail_too_large(L);
    sent.taken = gateways_send_to_names(gateways, f, names, &sent.missed);
    return push_sent(L, &sent, gateways_are_alone(gateways));
}

/* The clients that are at the same gateway as all->items[at], from there on. */
static struct cmdjson_ids run_at(const struct largs_clients *all, size_t at)
{
    const struct client_id *first = &all->items[at];
    struct cmdjson_ids run = {.items = all->ids + at};

    while (at + run.count < all->count &&
           first[run.count].local_ip == first->local_ip &&
           first[run.count].local_port == first->local_port)
        run.count++;
    return run;
}

/* The clients that are at this gateway. */
static struct cmdjson_ids run_of(
    const struct largs_clients *all, const struct gateways_address *gateway)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].local_ip == gateway->ip &&
            all->items[i].local_port == gateway->port)
            return run_at(all, i);
    }
    return (struct cmdjson_ids){0};
}

int lsend_to_clients(
    lua_State *L, const struct largs_clients *to, struct frame *f)
{
    struct gateways *gateways = vm_gateways(vm_of(L));
    struct buf *ext = lsend_ext(L);
    struct sent sent = {0};
    struct cmdjson_ids ids;

    f->flag |= FRAME_FLAG_STRING;
    for (size_t at = 0; at < to->count; at += ids.count) {
        const struct client_id *first = &to->items[at];

        ids = run_at(to, at);
        buf_clear(ext);
        cmdjson_put_all_target(ext, &ids, NULL);
        lsend_set_ext(f, ext);
        if (lsend_is_too_large(L, f))
            return lsend_fail_too_large(L);
        count_send(&sent,
            gateways_send(gateways, first->local_ip, first->local_port, f));
    }
    if (to->count == 0)
        sent.taken = 1; /* nobody was meant: done */
    return push_sent(L, &sent, false);
}

void lsend_put_target(struct buf *ext, const struct cmdjson_names *groups,
    const struct cmdjson_ids *exclude)
{
    buf_clear(ext);
    if (groups)
        cmdjson_put_group_target(ext, groups, exclude);
    else
        cmdjson_put_all_target(ext, NULL, exclude);
}

static bool is_here(const struct gateways_address *list, size_t count,
    const struct client_id *id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].ip == id->local_ip && list[i].port == id->local_port)
            return true;
    return false;
}

/* Gateways of other cells: those that have some of the excluded clients get a
 * command of their own, and the one for all leaves them out. */
static void send_to_others_beyond(lua_State *L,
    const struct cmdjson_names *groups, const struct largs_clients *exclude,
    struct frame *f)
{
    struct gateways *gateways = vm_gateways(vm_of(L));
    struct departures_names names = {ENGINE_GROUP, groups};
    struct gateways_address but[CROSSING_SKIPS];
    struct buf *ext = lsend_ext(L);
    const struct gateways_address *list;
    size_t count = gateways_list(gateways, &list), n = 0;
    struct cmdjson_ids ids;

    for (size_t at = 0; at < exclude->count; at += ids.count) {
        const struct client_id *first = &exclude->items[at];

        ids = run_at(exclude, at);
        if (is_here(list, count, first) || n == CROSSING_SKIPS)
            continue;
        lsend_put_target(ext, groups, &ids);
        lsend_set_ext(f, ext);
        if (gateways_send(gateways, first->local_ip, first->local_port, f) == 0)
            but[n++] =
                (struct gateways_address){first->local_ip, first->local_port};
    }
    lsend_put_target(ext, groups, NULL);
    lsend_set_ext(f, ext);
    gateways_send_beyond(gateways, f, groups ? &names : NULL, but, n);
}

int lsend_to_others(lua_State *L, const struct cmdjson_names *groups,
    const struct largs_clients *exclude, struct frame *f)
{
    struct gateways *gateways = vm_gateways(vm_of(L));
    struct buf *ext = lsend_ext(L);
    const struct gateways_address *list;
    size_t count = gateways_list(gateways, &list);
    struct sent sent = {.missed = gateways_miss(gateways)};

    f->flag |= FRAME_FLAG_STRING;
    for (size_t i = 0; i < count; i++) {
        struct cmdjson_ids ids = run_of(exclude, &list[i]);

        lsend_put_target(ext, groups, ids.count > 0 ? &ids : NULL);
        lsend_set_ext(f, ext);
        if (lsend_is_too_large(L, f))
            return lsend_fail_too_large(L);
        count_send(&sent, gateways_send(gateways, list[i].ip, list[i].port, f));
    }
    if (gateways_has_beyond(gateways))
        send_to_others_beyond(L, groups, exclude, f);
    return push_sent(L, &sent, gateways_are_alone(gateways));
}
