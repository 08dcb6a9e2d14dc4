/* The first frame on each link: who we are, the secret key, and what we can do
 * with what a gateway may send. A gateway that is not gwrun's reads the first
 * two only. */
#include <string.h>

#include "wire/cmdjson.h"
#include "worker/gateways_impl.h"

/* Does nobody get events here? Then there are no event links. */
static bool is_program(const struct gateways *g)
{
    return !g->ops->on_event;
}

#define FEATURES_MAX 16

/* What a link for events offers, NULL behind it. */
static void list_features(const struct gateways *g, const char **out)
{
    static const char *const always[] = {"close_info", "client_addr",
        "handshake", "ack", "session", "limits", "name", "types",
        "handshake_answer", "request", "api", "receipts"};
    size_t n = sizeof(always) / sizeof(always[0]);

    memcpy(out, always, sizeof(always));
    if (g->conf->claims)
        out[n++] = "claims";
    if (g->decides)
        out[n++] = "on_handshake";
    if (g->answers)
        out[n++] = "on_request";
    out[n] = NULL;
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

    list_features(g, of_events);
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
