/* The first frame on each link: who we are, the secret key, and what we can do
 * with what a gateway may send. A gateway that is not gwrun's reads the first
 * two only. */
#include <assert.h>
#include <string.h>

#include "wire/cmdjson.h"
#include "worker/gateways_impl.h"

#define FEATURES_MAX 32 /* with the NULL */

/* Does nobody get events here? Then there are no event links. */
static bool is_program(const struct gateways *g)
{
    return !g->ops->on_event;
}

/* What a worker can do, NULL-terminated. */
static void list_features(const struct peer *p, const char *out[FEATURES_MAX])
{
    static const char *const always[] = {"close_info", "client_addr",
        "handshake", "ack", "session", "limits", "name", "types",
        "handshake_answer", "request", "api", "receipts", "bound", "left",
        "window", "far_book"};
    size_t count = sizeof(always) / sizeof(always[0]);

    memcpy(out, always, sizeof(always));
    if (p->g->conf->claims) {
        out[count++] = "claims";
        out[count++] = "stall";
    }
    if (marks_may_be_asked(p))
        out[count++] = "book";
    if (p->g->conf->measures)
        out[count++] = "arrived";
    if (p->g->callbacks & GATEWAYS_DECIDES)
        out[count++] = "on_handshake";
    if (p->g->callbacks & GATEWAYS_ANSWERS)
        out[count++] = "on_request";
    if (p->g->callbacks & GATEWAYS_BINDS)
        out[count++] = "on_bound";
    assert(count < FEATURES_MAX);
    out[count] = NULL;
}

void offers_put(struct peer *p, struct conn *c, uint8_t cmd)
{
    const struct gateways *g = p->g;
    const char *of_events[FEATURES_MAX];
    const char *const of_program[] = {"limits", NULL};
    const char *const of_commands[] = {NULL};
    const struct cmdjson_tokens tokens = {
        .process = g->process, .pair = p->pair, .machine = g->conf->machine};
    bool events = cmd == FRAME_WORKER_CONNECT;
    struct buf json = {0};
    struct frame f = {.cmd = cmd, .flag = FRAME_FLAG_STRING};

    list_features(p, of_events);
    cmdjson_put_auth(&json, events ? g->worker_key : NULL, g->conf->secret_key,
        events          ? of_events
        : is_program(g) ? of_program
                        : of_commands,
        is_program(g) ? NULL : &tokens);
    f.body = json.data;
    f.body_len = json.len;
    frame_encode(conn_out(c), &f);
    buf_fini(&json);
}
