/* A refusal counts, is logged, and is the last that its connection says. What
 * else there was of the request is let go of by the connection. */

#include "clients/refusal.h"

#include "clients/client_conn_impl.h"
#include "clients/response.h"
#include "util/log.h"

#define REFUSAL_LINES 10    /* about refused handshakes … */
#define REFUSAL_MS    10000 /* … in so many ms */

/* Who is not let in is worth a line of notice, but anybody can be refused as
 * often as he likes. */
static void note(struct client_conn *c, unsigned status)
{
    char peer[ADDR_TEXT_SIZE];

    addr_format(peer, &c->peer);
    if (!c->upgrades)
        log_info("request refused status=%u peer=%s", status, peer);
    else if (log_may(&c->shared->handshakes, NULL, REFUSAL_LINES, REFUSAL_MS))
        log_notice("handshake refused status=%u peer=%s left_out=%u", status,
            peer, c->shared->handshakes_left_out);
    c->shared->handshakes_left_out = c->shared->handshakes.left_out;
}

void refusal_send_reply(
    struct client_conn *c, unsigned status, struct buf *reply)
{
    c->shared->counters.refused++;
    note(c, status);
    client_conn_queue(c, reply->data, reply->len);
    buf_fini(reply);
    client_conn_finish(c);
}

void refusal_send(
    struct client_conn *c, unsigned status, const char *reason, bool with_body)
{
    struct buf answer = {0};

    response_put_refusal(&answer, status, reason, with_body);
    refusal_send_reply(c, status, &answer);
}

void refusal_send_answer(
    struct client_conn *c, const struct answer *said, bool with_body)
{
    struct buf answer = {0};

    response_put_answer(&answer, said, with_body);
    refusal_send_reply(c, said->status, &answer);
}
