/* What workers and other programs tell the gateway to do, one handler an
 * order. An order that is not valid changes nothing and is counted; a question
 * (questions.c) is answered whatever is wrong with it. */
#include "gateway/commands.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

#include "gateway/delivery.h"
#include "gateway/questions.h"
#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/wsframe.h"

#define FAULT_LINES 10 /* a second, about commands that are not valid */

/* 0, or -errno: the order was not valid. */
typedef int (*order_fn)(struct commands *cs, const struct frame *f);

static struct client *addressed(
    const struct commands *cs, const struct frame *f)
{
    return roster_find(cs->roster, f->connection_id);
}

/* An order is about a client that is gone. */
static int count_gone(struct commands *cs)
{
    cs->dropped++;
    return 0;
}

/* ---- sending ---- */

static int send_to_one(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);

    if (c)
        cs->dropped += delivery_to_one(&cs->delivery, c, f);
    else
        cs->dropped++;
    return 0;
}

static int send_to_all(struct commands *cs, const struct frame *f)
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
    cs->dropped += delivery_to_picked(&cs->delivery, &cs->picked, f);
    return 0;
}

/* A client in several of the groups gets it once. */
static int send_to_group(struct commands *cs, const struct frame *f)
{
    struct cmdjson_target target;
    int err = cmdjson_parse_target(&target, f->ext, f->ext_len);

    if (err < 0)
        return err;
    picked_pass_over(&cs->picked, &target.exclude);
    picked_add_names(&cs->picked, &target.groups, roster_group);
    cmdjson_fini_target(&target);
    cs->dropped += delivery_to_picked(&cs->delivery, &cs->picked, f);
    return 0;
}

static int send_to_uid(struct commands *cs, const struct frame *f)
{
    struct cmdjson_names uids;
    int err = cmdjson_parse_names(&uids, f->ext, f->ext_len);

    if (err < 0)
        return err;
    picked_add_names(&cs->picked, &uids, roster_uid);
    cmdjson_fini_names(&uids);
    cs->dropped += delivery_to_picked(&cs->delivery, &cs->picked, f);
    return 0;
}

/* ---- closing: the client is offline from here on, as with GatewayWorker,
 * though its socket may need time to send what is queued ---- */

static void go_offline(struct commands *cs, struct client *c)
{
    const struct client_conn_end end = client_conn_how_ended(c->conn);

    router_close(cs->router, c, &end);
    roster_remove(cs->roster, c);
}

static bool is_null(const struct frame *f)
{
    return !(f->flag & FRAME_FLAG_STRING) && f->body_len == 2 &&
           memcmp(f->body, "N;", 2) == 0;
}

/* The ext of f is the payload of the Close frame, or empty. If it is not valid,
 * the client is closed all the same. */
static int kick(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);
    char reason[WSFRAME_REASON_MAX + 1] = "kicked";
    struct wsframe_close close;
    int err, code = 1000;

    if (!c)
        return 0;
    err = wsframe_read_close(&close, f->ext, f->ext_len);
    if (err == 0 && close.code != WSFRAME_NO_CODE) {
        code = (int)close.code;
        memcpy(reason, close.reason, close.len);
        reason[close.len] = '\0';
    }
    if (f->body_len > 0 && !is_null(f)) /* PHP's: no last message */
        cs->dropped += delivery_to_one(&cs->delivery, c, f);
    client_conn_close(c->conn, CLIENT_CONN_KICKED, code, reason);
    go_offline(cs, c);
    return err;
}

void commands_expel(struct commands *cs, struct client *c, const char *reason)
{
    client_conn_close(c->conn, CLIENT_CONN_EXPELLED, 1008, reason);
    go_offline(cs, c);
}

static int destroy(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);

    if (!c)
        return 0;
    client_conn_destroy(c->conn, CLIENT_CONN_DESTROYED);
    go_offline(cs, c);
    return 0;
}

/* ---- sessions ---- */

static int set_session(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);
    bool known = c && c->session && c->session_known;
    int err = c ? roster_set_session(cs->roster, c, f->ext, f->ext_len) : 0;

    if (!c)
        return count_gone(cs);
    if (err == 0)
        router_session_changed(cs->router, c, known);
    return err;
}

static int update_session(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);
    bool known = c && c->session && c->session_known;
    int err = c ? roster_merge_session(cs->roster, c, f->ext, f->ext_len) : 0;

    if (!c)
        return count_gone(cs);
    if (err == 0)
        router_session_changed(cs->router, c, known);
    return err;
}

/* Only workers that keep sessions know this order. */
static int patch_session(struct commands *cs, const struct frame *f)
{
    return cs->from && router_keeps_sessions(cs->from)
               ? router_patch_session(cs->router, cs->from, cs->roster, f)
               : -EPERM;
}

/* ---- what a join or bind may want beside ---- */

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* Others than gwrun's own might have anything in the body. */
static struct demand demand_of(const struct frame *f)
{
    struct demand demand;

    if (demand_read(&demand, f->body, f->body_len) < 0)
        demand.flags = 0;
    return demand;
}

static void answer_demand(struct commands *cs, const struct frame *f,
    const struct demand *demand, bool done)
{
    if (demand->flags && cs->on_demand)
        cs->on_demand(f, demand, done, cs->arg);
}

/* ---- uids ---- */

/* Close all that have the uid, but that one. */
static void expel_others(
    struct commands *cs, const struct frame *f, const struct client *keep)
{
    const struct roster_name *uid;

    while ((uid = roster_uid(cs->roster, f->ext, f->ext_len))) {
        struct client *c = uid->members[uid->count - 1].client;

        if (c == keep && uid->count == 1)
            return;
        if (c == keep)
            c = uid->members[uid->count - 2].client;
        commands_expel(cs, c, "logged in elsewhere");
    }
}

/* 1: c has the uid; 0: c was closed, it may not; or -errno. */
static int bind_as(struct commands *cs, const struct frame *f, struct client *c,
    const struct demand *demand)
{
    int err;

    if ((demand->flags & DEMAND_ONLY) &&
        !logins_note(
            &cs->logins, f->ext, f->ext_len, demand->login, c->id, now_ms())) {
        commands_expel(cs, c, "logged in elsewhere");
        return 0;
    }
    err = roster_bind_uid(cs->roster, c, f->ext, f->ext_len);
    if (err == -EPERM) {
        commands_expel(cs, c, "banned");
        return 0;
    }
    if (err < 0)
        return err;
    router_uid_bound(cs->router, c);
    if (demand->flags & DEMAND_ONLY)
        expel_others(cs, f, c);
    return 1;
}

static int bind_uid(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);
    struct demand demand = demand_of(f);
    int bound = c ? bind_as(cs, f, c, &demand) : count_gone(cs);

    answer_demand(cs, f, &demand, bound > 0);
    return bound < 0 ? bound : 0;
}

/* The uid is of the login of that time, wherever it is. */
static int only(struct commands *cs, const struct frame *f)
{
    uint64_t login, newest, now = now_ms();
    uint32_t connection;
    int err = demand_read_login(&login, f->body, f->body_len);

    if (err < 0)
        return err;
    if (logins_note(&cs->logins, f->ext, f->ext_len, login, 0, now)) {
        expel_others(cs, f, NULL);
        return 0;
    }
    newest = logins_newest(&cs->logins, f->ext, f->ext_len, now, &connection);
    if (newest > login && connection != 0 && cs->on_newer)
        cs->on_newer(f->ext, f->ext_len, newest, cs->arg);
    return 0;
}

static bool has_uid(const struct client *c, const void *uid, size_t len)
{
    const struct roster_name *bound = c->uid.name;

    return bound && bound->len == len && memcmp(bound->text, uid, len) == 0;
}

/* Only the uid that is named, when one is (PHP: whatever is bound). */
static int unbind_uid(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);

    if (c && (f->ext_len == 0 || has_uid(c, f->ext, f->ext_len)))
        roster_unbind_uid(cs->roster, c);
    return 0;
}

/* ---- groups ---- */

/* Limited: a script may let a client join one for each of its messages. */
static void refuse_group(
    struct commands *cs, const struct client *c, const struct frame *f)
{
    char quoted[LOG_QUOTE_SIZE];

    cs->groups_refused++;
    if (log_may(&cs->full, "refused groups", FAULT_LINES, 1000))
        log_warn("group refused, its client is in %u already (max_groups) "
                 "connection=%u group=%s",
            c->ngroups, c->id, log_quote(quoted, f->ext, f->ext_len));
}

static int join_group(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);
    struct demand demand = demand_of(f);
    int err = c ? roster_join(cs->roster, c, f->ext, f->ext_len) : -ENOENT;

    answer_demand(cs, f, &demand, err == 0);
    if (!c)
        return count_gone(cs);
    if (err != -E2BIG)
        return err;
    refuse_group(cs, c, f);
    return 0;
}

static int leave_group(struct commands *cs, const struct frame *f)
{
    struct client *c = addressed(cs, f);

    if (c)
        roster_leave(cs->roster, c, f->ext, f->ext_len);
    return 0;
}

static int ungroup(struct commands *cs, const struct frame *f)
{
    roster_ungroup(cs->roster, f->ext, f->ext_len);
    return 0;
}

/* ---- the table ---- */

static const order_fn orders[UINT8_MAX + 1] = {
    [FRAME_SEND_TO_ONE] = send_to_one,
    [FRAME_SEND_TO_ALL] = send_to_all,
    [FRAME_KICK] = kick,
    [FRAME_DESTROY] = destroy,
    [FRAME_UPDATE_SESSION] = update_session,
    [FRAME_BIND_UID] = bind_uid,
    [FRAME_UNBIND_UID] = unbind_uid,
    [FRAME_ONLY] = only,
    [FRAME_SEND_TO_UID] = send_to_uid,
    [FRAME_JOIN_GROUP] = join_group,
    [FRAME_LEAVE_GROUP] = leave_group,
    [FRAME_SEND_TO_GROUP] = send_to_group,
    [FRAME_UNGROUP] = ungroup,
    [FRAME_SET_SESSION] = set_session,
    [FRAME_PATCH_SESSION] = patch_session,
};

static const char *fault_text(int err)
{
    if (err == -EMSGSIZE)
        return "more than max_session";
    if (err == -ENOTSUP)
        return "a PHP reference would lose what it means";
    return strerror(-err);
}

/* The log does not show what is in a session. */
static void log_refused_session(
    struct commands *cs, const struct frame *f, int err)
{
    cs->sessions_refused++;
    if (log_may(&cs->faults, "commands that are not valid", FAULT_LINES, 1000))
        log_warn(
            "session not changed cmd=%s err=\"%s\" connection=%u bytes=%zu",
            frame_cmd_name(f->cmd), fault_text(err), f->connection_id,
            f->ext_len);
}

/* Limited: a script may let clients cause as many as they like. */
static void log_fault(struct commands *cs, const struct frame *f, int err)
{
    char quoted[LOG_QUOTE_SIZE];

    if (f->cmd == FRAME_SET_SESSION || f->cmd == FRAME_UPDATE_SESSION ||
        f->cmd == FRAME_PATCH_SESSION) {
        log_refused_session(cs, f, err);
        return;
    }
    cs->refused++;
    if (log_may(&cs->faults, "commands that are not valid", FAULT_LINES, 1000))
        log_warn("command not valid cmd=%s err=\"%s\" ext=%s",
            frame_cmd_name(f->cmd), strerror(-err),
            log_quote(quoted, f->ext, f->ext_len));
}

/* A question must have an answer, so that those of a link stay in step. */
static void answer_question(
    struct commands *cs, const struct frame *f, struct buf *answer)
{
    const struct question q = {
        f, cs->roster, &cs->picked, frame_max(cs->packet_max), cs->from};
    int err = questions_answer(&q, answer);

    if (err < 0) {
        log_fault(cs, f, err);
        buf_clear(answer);
        buf_append_str(answer, "a:0:{}");
    }
    if (answer->len > q.answer_max) {
        cs->refused++;
        log_warn("answer is larger than max_packet (%zu), saying false cmd=%s",
            q.answer_max, frame_cmd_name(f->cmd));
        buf_clear(answer);
        buf_append_str(answer, "b:0;");
    }
}

int commands_run(struct commands *cs, const struct frame *f, struct buf *answer)
{
    bool asks = frame_cmd_kind(f->cmd) == FRAME_KIND_QUESTION;
    int err;

    cs->run++;
    if (!asks && !orders[f->cmd])
        return -ENOSYS;
    picked_begin(&cs->picked, cs->roster);
    if (asks) {
        buf_clear(answer);
        answer_question(cs, f, answer);
    } else {
        err = orders[f->cmd](cs, f);
        if (err < 0)
            log_fault(cs, f, err);
    }
    picked_end(&cs->picked);
    return asks;
}

void commands_fini(struct commands *cs)
{
    picked_fini(&cs->picked);
    delivery_fini(&cs->delivery);
    logins_fini(&cs->logins);
}
