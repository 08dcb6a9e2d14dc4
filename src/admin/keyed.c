/* The key, and what is for those who have given it: clients, which take a
 * question to the master (desk.c). Who kicks is in the log. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/admin_impl.h"
#include "admin/overview.h"
#include "net/clock.h"

#define GUESS_LOG_MS 1000 /* for one line of a wrong key */

/* ---- who asks, for the log ---- */

#define WHO_SIZE (2 * ADDR_TEXT_SIZE + 16)

/* "127.0.0.1:4711", which nobody can make up, and behind it whom a trusted
 * proxy speaks for. Returns out. */
static const char *name_peer(char out[WHO_SIZE], const struct call *call)
{
    union addr real = {0};
    socklen_t len = sizeof(real);
    char peer[ADDR_TEXT_SIZE], said[ADDR_TEXT_SIZE];

    if (getpeername(client_conn_fd(call->c), &real.sa, &len) < 0 ||
        real.sa.sa_family == AF_UNIX)
        real = call->peer;
    addr_unmap(&real);
    addr_format(peer, &real);
    addr_format(said, &call->peer);
    if (strcmp(peer, said) == 0)
        snprintf(out, WHO_SIZE, "%s", peer);
    else
        snprintf(out, WHO_SIZE, "%s forwarded=%s", peer, said);
    return out;
}

/* ---- the key ---- */

void keyed_session(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;

    answers_put_json(call, 200,
        json_pack("{s:b,s:b}", "has_key", guard_has_key(a->guard), "known",
            guard_knows(a->guard, request, clock_now(a->loop))));
}

void keyed_login(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;
    struct buf cookie = {0};
    char peer[WHO_SIZE];
    unsigned refused =
        guard_enter(a->guard, request, clock_now(a->loop), &cookie);

    if (refused) {
        answers_put_text(call, refused,
            refused == 404   ? "there is no key_file\n"
            : refused == 429 ? "too many wrong keys; wait a minute\n"
                             : "that is not the key\n");
    } else {
        buf_append_byte(&cookie, '\0');
        answers_put_head(call, 204, NULL);
        answers_put_header(call, "set-cookie", (const char *)cookie.data);
    }
    if (refused == 0 || log_may(&a->guesses, "wrong keys", 1, GUESS_LOG_MS))
        log_notice("the key was given peer=%s right=%d", name_peer(peer, call),
            refused == 0);
    buf_fini(&cookie);
}

void keyed_logout(struct call *call, const struct httpcall *request)
{
    guard_leave(call->admin->guard, request);
    answers_put_head(call, 204, NULL);
    answers_put_header(call, "set-cookie",
        GUARD_COOKIE "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
}

/* False: it was told why not. */
static bool is_known(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;

    if (!guard_has_key(a->guard)) {
        answers_put_text(
            call, 403, "this takes a key, and there is no key_file\n");
        return false;
    }
    if (guard_knows(a->guard, request, clock_now(a->loop)))
        return true;
    answers_put_text(call, 401, "this takes the key\n");
    answers_put_header(call, "www-authenticate", "Bearer");
    return false;
}

/* ---- clients ---- */

static const char *const picks[] = {"client_id", "uid", "group", "ip"};
#define PICKS (sizeof(picks) / sizeof(picks[0]))

/* What the body, an object, says of whom is meant; how much: *count. NULL: it
 * is not valid. */
static json_t *read_pick(const struct httpcall *request, size_t *count)
{
    json_t *body = json_loadb((const char *)request->body, request->body_len,
        JSON_REJECT_DUPLICATES, NULL);
    json_t *pick = json_is_object(body) ? json_object() : NULL;

    *count = 0;
    for (size_t i = 0; pick && i < PICKS; i++) {
        json_t *value = json_object_get(body, picks[i]);

        if (!json_is_string(value))
            continue;
        json_object_set(pick, picks[i], value);
        ++*count;
    }
    if (pick && *count != json_object_size(body)) {
        json_decref(pick);
        pick = NULL;
    }
    json_decref(body);
    return pick;
}

/* Who orders it: nobody may be there any more when it is done. */
static void log_order(const struct call *call)
{
    char peer[WHO_SIZE], quoted[LOG_QUOTE_SIZE];

    for (size_t i = 0; i < PICKS; i++) {
        const char *text = ctlmsg_string(call->said, picks[i], NULL);

        if (text)
            log_notice("an operator kicks peer=%s %s=%s", name_peer(peer, call),
                picks[i], log_quote(quoted, text, strlen(text)));
    }
}

static void on_answer(json_t *answer, void *arg)
{
    struct call *call = arg;
    const json_t *clients = json_object_get(answer, "clients");
    char peer[WHO_SIZE];

    call->question = NULL;
    if (clients)
        log_notice("kicked by an operator closed=%lld peer=%s",
            (long long)json_integer_value(clients), name_peer(peer, call));
    answers_put_json(
        call, json_object_get(answer, "error") ? 503 : 200, answer);
    turn_schedule(call->admin->turn, &call->task);
}

/* Takes the reference to question. */
static void ask(struct call *call, json_t *question)
{
    struct admin *a = call->admin;

    if (a->desk)
        call->question = desk_ask(a->desk, question, on_answer, call);
    else
        json_decref(question);
    if (!call->question)
        answers_put_json(call, 503,
            json_pack("{s:s}", "error",
                a->desk ? "too many ask" : "there is no master to ask"));
}

static void ask_for(struct call *call, const struct httpcall *request,
    const char *type, size_t least)
{
    size_t count;
    json_t *question;

    if (!is_known(call, request))
        return;
    question = read_pick(request, &count);
    if (!question || count < least) {
        json_decref(question);
        answers_put_json(call, 400,
            json_pack("{s:s}", "error",
                "give an object with client_id, uid, group or ip"));
        return;
    }
    call->said = json_copy(question);
    json_object_set_new(question, "type", json_string(type));
    if (least > 0) {
        json_object_set_new(question, "do", json_string("kick"));
        log_order(call);
    }
    ask(call, question);
}

/* Their names are clients' affairs. */
void keyed_groups(struct call *call, const struct httpcall *request)
{
    if (is_known(call, request))
        answers_put_json(call, 200,
            json_pack("{s:o}", "groups", overview_groups(call->admin->system)));
}

void keyed_clients(struct call *call, const struct httpcall *request)
{
    ask_for(call, request, "connections", 0);
}

void keyed_kick(struct call *call, const struct httpcall *request)
{
    ask_for(call, request, "order", 1);
}
