#include "gateway/commands.h"

#include <errno.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/phpser.h"

#define FAULT_LINES 10 /* a second, about commands that are not valid */

/* 0, or -errno: the command was not valid. answer is empty at the start. */
typedef int (*command_fn)(
    struct commands *cs, const struct frame *f, struct buf *answer);

static struct client *addressed(
    const struct commands *cs, const struct frame *f)
{
    return clients_find(cs->clients, f->connection_id);
}

/* ---- sending ---- */

static void count_send(struct commands *cs, int err)
{
    if (err == -ENOTCONN) /* -ENOBUFS is counted by client_io */
        cs->dropped++;
}

/* The body of f to all that are picked; encoded once. */
static void send_picked(struct commands *cs, const struct frame *f)
{
    bool raw = f->flag & FRAME_FLAG_RAW;
    struct blob *framed;

    if (cs->picked.count == 0)
        return;
    framed = client_io_frame(cs->io, f->body, f->body_len, raw);
    for (size_t i = 0; i < cs->picked.count; i++)
        count_send(cs, client_send_blob(cs->picked.items[i]->conn, framed));
    blob_unref(framed);
}

static int send_to_one(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    count_send(cs,
        c ? client_send(c->conn, f->body, f->body_len, f->flag & FRAME_FLAG_RAW)
          : -ENOTCONN);
    return 0;
}

static int send_to_all(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct cmdjson_target target;
    int err = cmdjson_parse_target(&target, f->ext, f->ext_len);

    if (err < 0)
        return err;
    if (target.has_connections) {
        cs->dropped += picked_add_ids(&cs->picked, &target.connections);
    } else {
        picked_pass_over(&cs->picked, &target.exclude);
        picked_add_all(&cs->picked);
    }
    cmdjson_fini_target(&target);
    send_picked(cs, f);
    return 0;
}

/* A client in several of the groups gets it once. */
static int send_to_group(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct cmdjson_target target;
    int err = cmdjson_parse_target(&target, f->ext, f->ext_len);

    if (err < 0)
        return err;
    picked_pass_over(&cs->picked, &target.exclude);
    picked_add_names(&cs->picked, &target.groups, clients_group);
    cmdjson_fini_target(&target);
    send_picked(cs, f);
    return 0;
}

static int send_to_uid(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct cmdjson_names uids;
    int err = cmdjson_parse_names(&uids, f->ext, f->ext_len);

    if (err < 0)
        return err;
    picked_add_names(&cs->picked, &uids, clients_uid);
    cmdjson_fini_names(&uids);
    send_picked(cs, f);
    return 0;
}

/* ---- closing: the client is offline from here on, as with GatewayWorker,
 * though its socket may need time to send what is queued ---- */

static void go_offline(
    struct commands *cs, struct client *c, const char *reason, int code)
{
    router_close(cs->router, c, code, reason);
    clients_remove(cs->clients, c);
}

static int kick(struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    if (!c)
        return 0;
    if (f->body_len > 0)
        count_send(cs, client_send(c->conn, f->body, f->body_len,
                           f->flag & FRAME_FLAG_RAW));
    client_close(c->conn, 1000, "kicked");
    go_offline(cs, c, "kicked", 1000);
    return 0;
}

static int destroy(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    if (!c)
        return 0;
    client_destroy(c->conn, "destroyed");
    go_offline(cs, c, "destroyed", 1006);
    return 0;
}

/* ---- sessions ---- */

static int set_session(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    return c ? clients_set_session(c, f->ext, f->ext_len) : 0;
}

static int update_session(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    return c ? clients_merge_session(c, f->ext, f->ext_len) : 0;
}

static int get_session(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    const struct client *c = addressed(cs, f);

    if (c && c->session)
        buf_append(answer, c->session, c->session_len);
    else
        buf_append_str(answer, c ? "a:0:{}" : "N;");
    return 0;
}

/* No link carries more: it is not worth going on. */
static bool is_too_large(const struct buf *answer)
{
    return answer->len > FRAME_MAX_LEN;
}

static void put_picked_sessions(const struct commands *cs, struct buf *answer)
{
    phpser_put_array(answer, cs->picked.count);
    for (size_t i = 0; i < cs->picked.count && !is_too_large(answer); i++) {
        const struct client *c = cs->picked.items[i];

        phpser_put_int(answer, c->id);
        phpser_put_string(answer, c->session, c->session_len);
    }
    phpser_put_end(answer);
}

static int get_all_sessions(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    picked_add_all(&cs->picked);
    put_picked_sessions(cs, answer);
    return 0;
}

static int get_sessions_by_group(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    picked_add_name(
        &cs->picked, clients_group(cs->clients, f->ext, f->ext_len));
    put_picked_sessions(cs, answer);
    return 0;
}

/* ---- uids ---- */

static int bind_uid(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);
    int err;

    if (!c)
        return 0;
    err = clients_bind_uid(cs->clients, c, f->ext, f->ext_len);
    if (err == 0)
        router_uid_bound(cs->router, c);
    return err;
}

static bool has_uid(const struct client *c, const void *uid, size_t len)
{
    const struct clients_name *bound = c->uid.name;

    return bound && bound->len == len && memcmp(bound->text, uid, len) == 0;
}

/* Only the uid that is named, when one is (PHP: whatever is bound). */
static int unbind_uid(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    if (c && (f->ext_len == 0 || has_uid(c, f->ext, f->ext_len)))
        clients_unbind_uid(cs->clients, c);
    return 0;
}

/* A list of the connection ids. */
static void put_members(struct buf *answer, const struct clients_name *name)
{
    uint32_t count = name ? name->count : 0;

    phpser_put_array(answer, count);
    for (uint32_t i = 0; i < count; i++) {
        phpser_put_int(answer, i);
        phpser_put_int(answer, name->members[i].client->id);
    }
    phpser_put_end(answer);
}

static int get_ids_by_uid(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    put_members(answer, clients_uid(cs->clients, f->ext, f->ext_len));
    return 0;
}

/* A name that was asked for, on the way to keys that occur once. */
struct asked {
    UT_hash_handle hh;
    const struct cmdjson_name *name; /* borrowed */
};

/* Keep the first of equal names: they become keys of one array. */
static void drop_repeated(struct cmdjson_names *names)
{
    struct asked *all = xmalloc((names->count + 1) * sizeof(*all));
    struct asked *seen = NULL;
    size_t kept = 0;

    for (size_t i = 0; i < names->count; i++) {
        struct cmdjson_name name = names->items[i];
        struct asked *same;

        HASH_FIND(hh, seen, name.data, (unsigned)name.len, same);
        if (same) {
            free(name.data);
            continue;
        }
        names->items[kept] = name;
        HASH_ADD_KEYPTR(
            hh, seen, names->items[kept].data, (unsigned)name.len, &all[kept]);
        kept++;
    }
    HASH_CLEAR(hh, seen);
    names->count = kept;
    free(all);
}

/* Answer a list of names with an array name => what put() says of it. */
static int answer_names(const struct commands *cs, const struct frame *f,
    struct buf *answer,
    void (*put)(const struct commands *cs, const struct cmdjson_name *name,
        struct buf *answer))
{
    struct cmdjson_names names;
    int err = cmdjson_parse_names(&names, f->ext, f->ext_len);

    if (err < 0)
        return err;
    drop_repeated(&names);
    phpser_put_array(answer, names.count);
    for (size_t i = 0; i < names.count; i++) {
        phpser_put_key(answer, names.items[i].data, names.items[i].len);
        put(cs, &names.items[i], answer);
    }
    phpser_put_end(answer);
    cmdjson_fini_names(&names);
    return 0;
}

static void put_uid_members(const struct commands *cs,
    const struct cmdjson_name *name, struct buf *answer)
{
    put_members(answer, clients_uid(cs->clients, name->data, name->len));
}

static int batch_get_ids_by_uid(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    return answer_names(cs, f, answer, put_uid_members);
}

/* ---- groups ---- */

static int join_group(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    return c ? clients_join(cs->clients, c, f->ext, f->ext_len) : 0;
}

static int leave_group(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct client *c = addressed(cs, f);

    if (c)
        clients_leave(cs->clients, c, f->ext, f->ext_len);
    return 0;
}

static int ungroup(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    clients_ungroup(cs->clients, f->ext, f->ext_len);
    return 0;
}

static size_t group_size(
    const struct commands *cs, const void *name, size_t len)
{
    const struct clients_name *group = clients_group(cs->clients, name, len);

    return group ? group->count : 0;
}

static int get_group_count(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    size_t count = f->ext_len == 0 ? clients_count(cs->clients)
                                   : group_size(cs, f->ext, f->ext_len);

    phpser_put_int(answer, (int64_t)count);
    return 0;
}

static void put_group_count(const struct commands *cs,
    const struct cmdjson_name *name, struct buf *answer)
{
    phpser_put_int(answer, (int64_t)group_size(cs, name->data, name->len));
}

static int batch_get_group_count(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    return answer_names(cs, f, answer, put_group_count);
}

/* PHP's array_keys(): names that look like integers are integers. */
static int get_group_list(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    const struct clients_name *group = clients_first_group(cs->clients);
    int64_t i = 0;

    phpser_put_array(answer, clients_group_count(cs->clients));
    for (; group; group = clients_next_group(group)) {
        phpser_put_int(answer, i++);
        phpser_put_key(answer, group->text, group->len);
    }
    phpser_put_end(answer);
    return 0;
}

/* ---- questions about clients ---- */

static int is_online(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    phpser_put_int(answer, addressed(cs, f) ? 1 : 0);
    return 0;
}

static void put_groups(struct buf *answer, const struct client *c)
{
    if (c->ngroups == 0) {
        phpser_put_null(answer);
        return;
    }
    phpser_put_array(answer, c->ngroups);
    for (uint16_t i = 0; i < c->ngroups; i++) {
        const struct clients_name *name = c->groups[i].name;

        phpser_put_key(answer, name->text, name->len);
        phpser_put_string(answer, name->text, name->len);
    }
    phpser_put_end(answer);
}

static void put_fields(struct buf *answer, const struct client *c,
    const struct cmdjson_select *ask)
{
    const struct clients_name *uid = c->uid.name;

    phpser_put_array(
        answer, (size_t)ask->session + (size_t)ask->uid + (size_t)ask->groups);
    if (ask->session) {
        phpser_put_string(answer, "session", 7);
        phpser_put_string(answer, c->session, c->session_len);
    }
    if (ask->uid) {
        phpser_put_string(answer, "uid", 3);
        if (uid)
            phpser_put_string(answer, uid->text, uid->len);
        else
            phpser_put_null(answer);
    }
    if (ask->groups) {
        phpser_put_string(answer, "groups", 6);
        put_groups(answer, c);
    }
    phpser_put_end(answer);
}

static int select_clients(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    struct cmdjson_select ask;
    int err = cmdjson_parse_select(&ask, f->ext, f->ext_len);

    if (err < 0)
        return err;
    if (ask.has_where) {
        picked_add_names(&cs->picked, &ask.where_groups, clients_group);
        picked_add_names(&cs->picked, &ask.where_uids, clients_uid);
        picked_add_ids(&cs->picked, &ask.where_ids);
    } else {
        picked_add_all(&cs->picked);
    }
    phpser_put_array(answer, cs->picked.count);
    for (size_t i = 0; i < cs->picked.count && !is_too_large(answer); i++) {
        phpser_put_int(answer, cs->picked.items[i]->id);
        put_fields(answer, cs->picked.items[i], &ask);
    }
    phpser_put_end(answer);
    cmdjson_fini_select(&ask);
    return 0;
}

/* ---- the table ---- */

static const struct {
    command_fn run;
    bool answers;
} table[UINT8_MAX + 1] = {
    [FRAME_SEND_TO_ONE] = {send_to_one, false},
    [FRAME_SEND_TO_ALL] = {send_to_all, false},
    [FRAME_KICK] = {kick, false},
    [FRAME_DESTROY] = {destroy, false},
    [FRAME_UPDATE_SESSION] = {update_session, false},
    [FRAME_GET_ALL_CLIENT_SESSIONS] = {get_all_sessions, true},
    [FRAME_IS_ONLINE] = {is_online, true},
    [FRAME_BIND_UID] = {bind_uid, false},
    [FRAME_UNBIND_UID] = {unbind_uid, false},
    [FRAME_SEND_TO_UID] = {send_to_uid, false},
    [FRAME_GET_CLIENT_ID_BY_UID] = {get_ids_by_uid, true},
    [FRAME_BATCH_GET_CLIENT_ID_BY_UID] = {batch_get_ids_by_uid, true},
    [FRAME_JOIN_GROUP] = {join_group, false},
    [FRAME_LEAVE_GROUP] = {leave_group, false},
    [FRAME_SEND_TO_GROUP] = {send_to_group, false},
    [FRAME_GET_CLIENT_SESSIONS_BY_GROUP] = {get_sessions_by_group, true},
    [FRAME_GET_CLIENT_COUNT_BY_GROUP] = {get_group_count, true},
    [FRAME_SELECT] = {select_clients, true},
    [FRAME_GET_GROUP_ID_LIST] = {get_group_list, true},
    [FRAME_UNGROUP] = {ungroup, false},
    [FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP] = {batch_get_group_count, true},
    [FRAME_GET_SESSION_BY_CLIENT_ID] = {get_session, true},
    [FRAME_SET_SESSION] = {set_session, false},
};

/* A script may let clients cause as many as they like: a group for each
 * message, say, beyond those that a client may be in. */
static void log_fault(struct commands *cs, const struct frame *f, int err)
{
    char quoted[LOG_QUOTE_SIZE];

    if (log_may(&cs->faults, "commands that are not valid", FAULT_LINES, 1000))
        log_warn("command not valid cmd=%s err=\"%s\" ext=%s",
            frame_cmd_name(f->cmd), strerror(-err),
            log_quote(quoted, f->ext, f->ext_len));
}

int commands_run(struct commands *cs, const struct frame *f, struct buf *answer)
{
    int err;

    cs->run++;
    if (!table[f->cmd].run)
        return -ENOSYS;
    buf_clear(answer);
    picked_begin(&cs->picked, cs->clients);
    err = table[f->cmd].run(cs, f, answer);
    picked_end(&cs->picked);
    if (err < 0) {
        log_fault(cs, f, err);
        buf_clear(answer);
        buf_append_str(answer, "a:0:{}");
    }
    if (is_too_large(answer)) {
        log_warn("answer is larger than 64 MiB, saying false cmd=%s",
            frame_cmd_name(f->cmd));
        buf_clear(answer);
        buf_append_str(answer, "b:0;");
    }
    return table[f->cmd].answers ? 1 : 0;
}

void commands_fini(struct commands *cs)
{
    picked_fini(&cs->picked);
}
