/* What clients there are, with which sessions, uids and groups: the commands
 * that ask, one handler each. A handler appends one serialized value to answer,
 * or returns -errno: the question is not valid. Handlers change nothing
 * but what is picked. */
#include "gateway/questions.h"

#include <errno.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/hash.h"
#include "wire/cmdjson.h"
#include "wire/phpser.h"

typedef int (*question_fn)(const struct question *q, struct buf *answer);

/* No link carries the answer: it is not worth going on with. */
static bool is_too_large(const struct question *q, const struct buf *answer)
{
    return answer->len > q->answer_max;
}

static struct client *addressed(const struct question *q)
{
    return roster_find(q->roster, q->f->connection_id);
}

/* ---- sessions ---- */

static int get_session(const struct question *q, struct buf *answer)
{
    const struct client *c = addressed(q);

    if (c && c->session)
        buf_append(answer, c->session, c->session_len);
    else
        buf_append_str(answer, c ? "a:0:{}" : "N;");
    return 0;
}

static void put_picked_sessions(const struct question *q, struct buf *answer)
{
    phpser_put_array(answer, q->picked->count);
    for (size_t i = 0; i < q->picked->count && !is_too_large(q, answer); i++) {
        const struct client *c = q->picked->items[i];

        phpser_put_int(answer, c->id);
        phpser_put_string(answer, c->session, c->session_len);
    }
    phpser_put_end(answer);
}

static int get_all_sessions(const struct question *q, struct buf *answer)
{
    picked_add_all(q->picked);
    put_picked_sessions(q, answer);
    return 0;
}

static int get_sessions_by_group(const struct question *q, struct buf *answer)
{
    picked_add_name(
        q->picked, roster_group(q->roster, q->f->ext, q->f->ext_len));
    put_picked_sessions(q, answer);
    return 0;
}

/* ---- uids ---- */

/* A list of the connection ids. */
static void put_members(struct buf *answer, const struct roster_name *name)
{
    uint32_t count = name ? name->count : 0;

    phpser_put_array(answer, count);
    for (uint32_t i = 0; i < count; i++) {
        phpser_put_int(answer, i);
        phpser_put_int(answer, name->members[i].client->id);
    }
    phpser_put_end(answer);
}

static int get_ids_by_uid(const struct question *q, struct buf *answer)
{
    put_members(answer, roster_uid(q->roster, q->f->ext, q->f->ext_len));
    return 0;
}

/* A name that was asked for, on the way to keys that occur once. */
struct wanted {
    UT_hash_handle hh;
    const struct cmdjson_name *name; /* borrowed */
};

/* Keep the first of equal names: they become keys of one array. */
static void drop_repeated(struct cmdjson_names *names)
{
    struct wanted *all = xmalloc((names->count + 1) * sizeof(*all));
    struct wanted *seen = NULL;
    size_t kept = 0;

    for (size_t i = 0; i < names->count; i++) {
        struct cmdjson_name name = names->items[i];
        struct wanted *same;

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
static int answer_names(const struct question *q, struct buf *answer,
    void (*put)(const struct question *q, const struct cmdjson_name *name,
        struct buf *answer))
{
    struct cmdjson_names names;
    int err = cmdjson_parse_names(&names, q->f->ext, q->f->ext_len);

    if (err < 0)
        return err;
    drop_repeated(&names);
    phpser_put_array(answer, names.count);
    for (size_t i = 0; i < names.count; i++) {
        phpser_put_key(answer, names.items[i].data, names.items[i].len);
        put(q, &names.items[i], answer);
    }
    phpser_put_end(answer);
    cmdjson_fini_names(&names);
    return 0;
}

static void put_uid_members(const struct question *q,
    const struct cmdjson_name *name, struct buf *answer)
{
    put_members(answer, roster_uid(q->roster, name->data, name->len));
}

static int batch_get_ids_by_uid(const struct question *q, struct buf *answer)
{
    return answer_names(q, answer, put_uid_members);
}

/* ---- groups ---- */

static size_t group_size(const struct question *q, const void *name, size_t len)
{
    const struct roster_name *group = roster_group(q->roster, name, len);

    return group ? group->count : 0;
}

static int get_group_count(const struct question *q, struct buf *answer)
{
    size_t count = q->f->ext_len == 0 ? roster_count(q->roster)
                                      : group_size(q, q->f->ext, q->f->ext_len);

    phpser_put_int(answer, (int64_t)count);
    return 0;
}

static void put_group_count(const struct question *q,
    const struct cmdjson_name *name, struct buf *answer)
{
    phpser_put_int(answer, (int64_t)group_size(q, name->data, name->len));
}

static int batch_get_group_count(const struct question *q, struct buf *answer)
{
    return answer_names(q, answer, put_group_count);
}

/* PHP's array_keys(): names that look like integers are integers. */
static int get_group_list(const struct question *q, struct buf *answer)
{
    const struct roster_name *group = roster_first_group(q->roster);
    int64_t i = 0;

    phpser_put_array(answer, roster_group_count(q->roster));
    for (; group; group = roster_next_group(group)) {
        phpser_put_int(answer, i++);
        phpser_put_key(answer, group->text, group->len);
    }
    phpser_put_end(answer);
    return 0;
}

/* ---- clients ---- */

static int is_online(const struct question *q, struct buf *answer)
{
    phpser_put_int(answer, addressed(q) ? 1 : 0);
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
        const struct roster_name *name = c->groups[i].name;

        phpser_put_key(answer, name->text, name->len);
        phpser_put_string(answer, name->text, name->len);
    }
    phpser_put_end(answer);
}

static void put_fields(struct buf *answer, const struct client *c,
    const struct cmdjson_select *select)
{
    const struct roster_name *uid = c->uid.name;

    phpser_put_array(answer,
        (size_t)select->session + (size_t)select->uid + (size_t)select->groups);
    if (select->session) {
        phpser_put_string(answer, "session", 7);
        phpser_put_string(answer, c->session, c->session_len);
    }
    if (select->uid) {
        phpser_put_string(answer, "uid", 3);
        if (uid)
            phpser_put_string(answer, uid->text, uid->len);
        else
            phpser_put_null(answer);
    }
    if (select->groups) {
        phpser_put_string(answer, "groups", 6);
        put_groups(answer, c);
    }
    phpser_put_end(answer);
}

static bool is_bound_to(const struct client *c, const void *worker)
{
    return worker && router_has(worker, c);
}

static int select_clients(const struct question *q, struct buf *answer)
{
    struct cmdjson_select select;
    int err = cmdjson_parse_select(&select, q->f->ext, q->f->ext_len);

    if (err < 0)
        return err;
    if (select.has_where) {
        picked_add_names(q->picked, &select.where_groups, roster_group);
        picked_add_names(q->picked, &select.where_uids, roster_uid);
        picked_add_ids(q->picked, &select.where_ids);
        if (select.where_mine)
            picked_add_if(q->picked, is_bound_to, q->from);
    } else {
        picked_add_all(q->picked);
    }
    phpser_put_array(answer, q->picked->count);
    for (size_t i = 0; i < q->picked->count && !is_too_large(q, answer); i++) {
        phpser_put_int(answer, q->picked->items[i]->id);
        put_fields(answer, q->picked->items[i], &select);
    }
    phpser_put_end(answer);
    cmdjson_fini_select(&select);
    return 0;
}

static const question_fn table[UINT8_MAX + 1] = {
    [FRAME_GET_ALL_CLIENT_SESSIONS] = get_all_sessions,
    [FRAME_IS_ONLINE] = is_online,
    [FRAME_GET_CLIENT_ID_BY_UID] = get_ids_by_uid,
    [FRAME_BATCH_GET_CLIENT_ID_BY_UID] = batch_get_ids_by_uid,
    [FRAME_GET_CLIENT_SESSIONS_BY_GROUP] = get_sessions_by_group,
    [FRAME_GET_CLIENT_COUNT_BY_GROUP] = get_group_count,
    [FRAME_SELECT] = select_clients,
    [FRAME_GET_GROUP_ID_LIST] = get_group_list,
    [FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP] = batch_get_group_count,
    [FRAME_GET_SESSION_BY_CLIENT_ID] = get_session,
};

int questions_answer(const struct question *q, struct buf *answer)
{
    return table[q->f->cmd] ? table[q->f->cmd](q, answer) : -ENOSYS;
}
