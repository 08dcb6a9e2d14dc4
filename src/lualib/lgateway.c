/* Each call checks its arguments, makes one frame and has lsend.c send it.
 * Results are true (taken) or nil, message, code. All commands share one
 * scratch buffer for ext_data, an upvalue of each. */
#include "lualib/lgateway.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lualib/largs.h"
#include "lualib/lbuf.h"
#include "lualib/ldemand.h"
#include "lualib/loptions.h"
#include "lualib/lsend.h"
#include "lualib/lsession.h"
#include "lualib/lvalue.h"
#include "util/utf8.h"
#include "wire/cmdjson.h"
#include "wire/frame.h"
#include "wire/phpser.h"
#include "worker/coro.h"
#include "worker/vm.h"
#include "worker/worker_conf.h"

/* Gateway's functions; upvalue 1 is the shared buffer */

/* The client that the running code serves; raises when there is none. name and
 * other: the called function and the one to use instead. */
static struct client_id check_current(
    lua_State *L, const char *name, const char *other)
{
    const struct coro_client *client = coro_client(L);

    if (client)
        return client->id;
    luaL_error(L,
        "Gateway.%s: no client is served here (a timer and onWorkerStart "
        "have none): use Gateway.%s(client_id, ...)",
        name, other);
    return (struct client_id){0}; /* not reached */
}

/* gwrun dev wants to know where bytes were sent, in case they are to be text.
 */
static void note_bytes(
    lua_State *L, const struct worker_conf *conf, const struct frame *f)
{
    if (utf8_valid(f->body, f->body_len))
        return;
    luaL_traceback(L, L, "this call sent it", 1);
    conf->on_bytes(
        f->body, f->body_len, lua_tostring(L, -1), conf->on_bytes_arg);
    lua_pop(L, 1);
}

/* Put the label in front of the message; both stay on the stack. */
static void add_label(lua_State *L, struct frame *f, const struct label *label)
{
    struct buf *body = lbuf_push(L);

    label_put(body, label);
    buf_append(body, f->body, f->body_len);
    f->body = body->data;
    f->body_len = body->len;
}

/* The message at arg, and how it is to be sent. */
static void check_message(
    lua_State *L, struct frame *f, int arg, const struct loptions *o)
{
    const struct worker_conf *conf = vm_conf(vm_of(L));

    f->body = (const uint8_t *)largs_message(L, arg, &f->body_len);
    f->flag |= o->flag;
    if (conf->on_bytes && !(o->flag & (FRAME_FLAG_RAW | FRAME_FLAG_BINARY)))
        note_bytes(L, conf, f);
    if (o->flag & FRAME_FLAG_LABEL)
        add_label(L, f, &o->label);
}

/* Most have no options. */
static void check_sent(lua_State *L, struct frame *f, int arg, int options)
{
    static const struct loptions none;
    struct loptions o;

    if (lua_isnoneornil(L, options)) {
        check_message(L, f, arg, &none);
        return;
    }
    loptions_read(L, options, LOPTIONS_SEND, &o);
    check_message(L, f, arg, &o);
}

/* sendToAll(message, client_ids, exclude, options) */
static int send_to_all_clients(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SEND_TO_ALL};
    struct largs_clients to, exclude;

    lua_settop(L, 4);
    check_sent(L, &f, 1, 4);
    if (lua_isnil(L, 2) && lua_isnil(L, 3))
        return lsend_to_all(L, &f);
    largs_clients(L, 2, 4, &to);
    largs_clients(L, 3, 4, &exclude);
    if (lua_isnil(L, 2))
        return lsend_to_others(L, NULL, &exclude, &f);
    largs_drop_clients(&to, &exclude);
    return lsend_to_clients(L, &to, &f);
}

/* sendToClient(client_id, message, options) */
static int send_to_client(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SEND_TO_ONE};
    struct client_id id = largs_client(L, 1);

    check_sent(L, &f, 2, 3);
    return lsend_to(L, &id, &f);
}

/* sendToCurrentClient(message, options) */
static int send_to_current_client(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SEND_TO_ONE};
    struct client_id id =
        check_current(L, "sendToCurrentClient", "sendToClient");

    check_sent(L, &f, 1, 2);
    return lsend_to(L, &id, &f);
}

/* sendToUid(uid or list, message, options) */
static int send_to_uid(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SEND_TO_UID};
    struct cmdjson_names uids;
    struct departures_names names = {ENGINE_UID, &uids};
    struct buf *ext;

    lua_settop(L, 3);
    check_sent(L, &f, 2, 3);
    largs_names(L, 1, &uids);
    ext = lsend_ext(L);
    cmdjson_put_names(ext, &uids);
    lsend_set_ext(&f, ext);
    return lsend_to_names(L, &names, &f);
}

/* sendToGroup(group or list, message, exclude, options) */
static int send_to_group(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SEND_TO_GROUP};
    struct largs_clients exclude;
    struct cmdjson_names groups;
    struct departures_names names = {ENGINE_GROUP, &groups};
    struct buf *ext;

    lua_settop(L, 4);
    check_sent(L, &f, 2, 4);
    largs_names(L, 1, &groups);
    largs_clients(L, 3, 4, &exclude);
    if (exclude.count > 0)
        return lsend_to_others(L, &groups, &exclude, &f);
    ext = lsend_ext(L);
    lsend_put_target(ext, &groups, NULL);
    lsend_set_ext(&f, ext);
    return lsend_to_names(L, &names, &f);
}

/* The last message at arg, if there is one, and how to close behind it. */
static void check_close(lua_State *L, struct frame *f, int arg)
{
    struct loptions o;
    struct buf *ext;

    if (lua_istable(L, arg))
        luaL_argerror(L, arg,
            lua_pushfstring(L,
                "a table cannot be sent; options are argument #%d, behind the "
                "last message or nil",
                arg + 1));
    loptions_read(L, arg + 1, LOPTIONS_CLOSE, &o);
    if (!lua_isnoneornil(L, arg))
        check_message(L, f, arg, &o);
    if (o.close.code == 0)
        return;
    ext = lsend_ext(L);
    wsframe_put_close(ext, &o.close);
    lsend_set_ext(f, ext);
}

/* closeClient(client_id, message, options) */
static int close_client(lua_State *L)
{
    struct frame f = {.cmd = FRAME_KICK};
    struct client_id id = largs_client(L, 1);

    check_close(L, &f, 2);
    return lsend_to(L, &id, &f);
}

/* closeCurrentClient(message, options) */
static int close_current_client(lua_State *L)
{
    struct frame f = {.cmd = FRAME_KICK};
    struct client_id id = check_current(L, "closeCurrentClient", "closeClient");

    check_close(L, &f, 1);
    return lsend_to(L, &id, &f);
}

/* destroyClient(client_id) */
static int destroy_client(lua_State *L)
{
    struct frame f = {.cmd = FRAME_DESTROY};
    struct client_id id = largs_client(L, 1);

    return lsend_to(L, &id, &f);
}

/* destroyCurrentClient() */
static int destroy_current_client(lua_State *L)
{
    struct frame f = {.cmd = FRAME_DESTROY};
    struct client_id id =
        check_current(L, "destroyCurrentClient", "destroyClient");

    return lsend_to(L, &id, &f);
}

/* A command about a client with a uid or group as ext_data. */
static int send_name(
    lua_State *L, enum frame_cmd cmd, const struct client_id *id, int arg)
{
    struct frame f = {.cmd = (uint8_t)cmd};

    f.ext = (const uint8_t *)largs_name(L, arg, &f.ext_len);
    return lsend_to(L, id, &f);
}

/* bindUid(client_id, uid, options) */
static int bind_uid(lua_State *L)
{
    struct client_id id = largs_client(L, 1);
    struct cmdjson_name uid = {0};
    struct cmdjson_names uids = {&uid, 1};
    struct loptions o;

    if (lua_isnoneornil(L, 3))
        return send_name(L, FRAME_BIND_UID, &id, 2);
    loptions_read(L, 3, LOPTIONS_BIND, &o);
    uid.data = (char *)largs_name(L, 2, &uid.len);
    return ldemand_run(L, FRAME_BIND_UID, &id, &uids, &o);
}

/* unbindUid(client_id): whatever is bound; lua/gateway.lua looks at the uid. */
static int unbind_uid(lua_State *L)
{
    struct frame f = {.cmd = FRAME_UNBIND_UID};
    struct client_id id = largs_client(L, 1);

    return lsend_to(L, &id, &f);
}

/* Names that differ. */
static size_t count_different(lua_State *L, const struct cmdjson_names *names)
{
    size_t count = 0;

    lua_newtable(L);
    for (size_t i = 0; i < names->count; i++) {
        lua_pushlstring(L, names->items[i].data, names->items[i].len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pushvalue(L, -2);
            lua_pushboolean(L, true);
            lua_rawset(L, -5);
            count++;
        }
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    return count;
}

/* joinGroup and leaveGroup: one command for each group of the list. */
static int send_groups(lua_State *L, enum frame_cmd cmd)
{
    struct client_id id = largs_client(L, 1);
    struct gateways_address at = {.ip = id.local_ip, .port = id.local_port};
    unsigned max = gateways_groups_max(vm_gateways(vm_of(L)), at);
    struct cmdjson_names groups;
    struct loptions o;

    lua_settop(L, 3);
    largs_names(L, 2, &groups);
    if (cmd == FRAME_JOIN_GROUP && max > 0 && groups.count > max &&
        count_different(L, &groups) > max) {
        lua_pushfstring(L,
            "a client may be in at most %d groups (max_groups), not in %d",
            (int)max, (int)groups.count);
        return lvalue_fail_with(L, -E2BIG);
    }
    if (cmd == FRAME_JOIN_GROUP && !lua_isnil(L, 3)) {
        loptions_read(L, 3, LOPTIONS_JOIN, &o);
        return ldemand_run(L, cmd, &id, &groups, &o);
    }
    for (size_t i = 0; i < groups.count; i++) {
        struct frame f = {
            .cmd = (uint8_t)cmd,
            .ext = (const uint8_t *)groups.items[i].data,
            .ext_len = groups.items[i].len,
        };
        int results = lsend_to(L, &id, &f);

        if (results > 1)
            return results;
        lua_pop(L, results);
    }
    lua_pushboolean(L, true);
    return 1;
}

/* joinGroup(client_id, group or list, options) */
static int join_group(lua_State *L)
{
    return send_groups(L, FRAME_JOIN_GROUP);
}

/* leaveGroup(client_id, group or list) */
static int leave_group(lua_State *L)
{
    return send_groups(L, FRAME_LEAVE_GROUP);
}

/* ungroup(group) */
static int ungroup(lua_State *L)
{
    struct frame f = {.cmd = FRAME_UNGROUP};
    struct cmdjson_name group = {0};
    struct cmdjson_names groups = {&group, 1};
    struct departures_names names = {ENGINE_GROUP, &groups};

    f.ext = (const uint8_t *)largs_name(L, 1, &f.ext_len);
    group.data = (char *)f.ext;
    group.len = f.ext_len;
    return lsend_to_names(L, &names, &f);
}

/* The session table at arg, serialized into the shared buffer. */
static struct buf *check_session(lua_State *L, int arg)
{
    struct buf *ext = lsend_ext(L);
    const char *error;

    luaL_checktype(L, arg, LUA_TTABLE);
    error = lvalue_put(L, arg, ext, "session");
    if (error)
        luaL_argerror(L, arg, error);
    return ext;
}

/* Whether the client's gateway has said that it takes less; how much: *max. */
static bool is_too_large(lua_State *L, const struct client_id *id,
    const struct buf *session, size_t *max)
{
    *max = gateways_session_max(
        vm_gateways(vm_of(L)), id->local_ip, id->local_port);
    return *max > 0 && session->len > *max;
}

/* setSession(client_id, table) */
static int set_session(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SET_SESSION};
    struct client_id id = largs_client(L, 1);
    struct buf *ext = check_session(L, 2);
    size_t max;

    if (lsession_is_current(L, &id))
        return lsession_replace(L, ext);
    if (is_too_large(L, &id, ext, &max))
        return lsession_fail_too_large(L, ext->len, max);
    lsend_set_ext(&f, ext);
    return lsend_to(L, &id, &f);
}

/* updateSession(client_id, table) */
static int update_session(lua_State *L)
{
    struct frame f = {.cmd = FRAME_UPDATE_SESSION};
    struct client_id id = largs_client(L, 1);
    struct buf *ext = check_session(L, 2);
    size_t max;

    if (lsession_is_current(L, &id))
        return lsession_merge(L, ext);
    if (is_too_large(L, &id, ext, &max))
        return lsession_fail_too_large(L, ext->len, max);
    lsend_set_ext(&f, ext);
    return lsend_to(L, &id, &f);
}

void lgateway_push(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"sendToAll", send_to_all_clients},
        {"sendToClient", send_to_client},
        {"sendToCurrentClient", send_to_current_client},
        {"sendToUid", send_to_uid},
        {"sendToGroup", send_to_group},
        {"closeClient", close_client},
        {"closeCurrentClient", close_current_client},
        {"destroyClient", destroy_client},
        {"destroyCurrentClient", destroy_current_client},
        {"destoryClient", destroy_client}, /* as GatewayWorker spells it */
        {"destoryCurrentClient", destroy_current_client},
        {"bindUid", bind_uid},
        {"unbindUid", unbind_uid},
        {"joinGroup", join_group},
        {"leaveGroup", leave_group},
        {"ungroup", ungroup},
        {"setSession", set_session},
        {"updateSession", update_session},
        {NULL, NULL},
    };

    luaL_newlibtable(L, functions);
    lbuf_push(L);
    luaL_setfuncs(L, functions, 1);
}
