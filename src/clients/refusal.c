/* A refusal counts, is logged, and is the last that its connection says. What
 * else there was of the request is let go of by the connection. */

#include "clients/refusal.h"

#include "clients/client_conn_impl.h"
#include "clients/response.h"
#include "util/log.h"

/* Send the answer, and close. */
static void send_last(
    struct client_conn *c, unsigned status, struct buf *answer)
{
    char peer[ADDR_TEXT_SIZE];

    c->shared->counters.refused++;
    log_info("request refused status=%u peer=%s", status,
        addr_format(peer, &c->peer));
    client_conn_queue(c, answer->data, answer->len);
    buf_fini(answer);
    client_conn_finish(c);
}

void refusal_send(
    struct client_conn *c, unsigned status, const char *reason, bool with_body)
{
    struct buf answer = {0};

    response_put_refusal(&answer, status, reason, with_body);
    send_last(c, status, &answer);
}

void refusal_send_answer(struct client_conn *c, const struct answer *said)
{
    struct buf answer = {0};

    response_put_answer(&answer, said);
    send_last(c, said->status, &answer);
}
