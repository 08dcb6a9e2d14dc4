/* The first frame on each link: who we are, the secret key, and what we can do
 * with what a gateway may send. A gateway that is not gwrun's reads the first
 * two only. */
#include "wire/cmdjson.h"
#include "worker/gateways_impl.h"

/* Does nobody get events here? Then there are no event links. */
static bool is_program(const struct gateways *g)
{
    return !g->ops->on_event;
}

void offers_put(struct peer *p, struct conn *c, uint8_t cmd)
{
    const struct gateways *g = p->g;
    const char *answers = g->answers ? "on_request" : NULL;
    const char *const of_events[] = {"close_info", "client_addr", "handshake",
        "ack", "session", "limits", "name", "types", "handshake_answer",
        "request", "api", "receipts", g->decides ? "on_handshake" : answers,
        g->decides ? answers : NULL, NULL};
    const char *const of_program[] = {"limits", NULL};
    const char *const of_commands[] = {NULL};
    const struct cmdjson_tokens tokens = {
        .process = g->process, .pair = p->pair, .machine = g->conf->machine};
    bool events = cmd == FRAME_WORKER_CONNECT;
    struct buf json = {0};
    struct frame f = {.cmd = cmd, .flag = FRAME_FLAG_STRING};

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
