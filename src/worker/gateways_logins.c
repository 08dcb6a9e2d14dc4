/* Logins that leave no other one. The client's gateway binds it and closes the
 * others that it has itself; those of this cell's other gateways are closed
 * once it has answered that the client is there still. Whatever comes back but
 * a no, as when the gateway is lost, has them closed as well: two that stay
 * would be worse than one that has to log in again. */
#include "worker/gateways_impl.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "wire/demand.h"
#include "worker/asks.h"

#define ANSWER_WAIT 60.0 /* seconds; then it counts as there */

struct login {
    struct list node; /* in gateways->logins */
    struct gateways *g;
    uint64_t time;
    size_t len;
    char uid[];
};

static void end(struct login *l)
{
    list_remove(&l->node);
    free(l);
}

/* By link, to those gateways that know what it is; those of other cells are
 * told by the client's own. */
static void tell(const struct login *l)
{
    struct frame f = {.cmd = FRAME_ONLY,
        .flag = FRAME_FLAG_STRING,
        .ext = (const uint8_t *)l->uid,
        .ext_len = l->len};
    struct buf body = {0};
    struct list *node;

    demand_put_login(&body, l->time);
    f.body = body.data;
    f.body_len = body.len;
    LIST_FOREACH (node, &l->g->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, node);

        if (p->demands)
            gateways_send(l->g, p->at.ip, p->at.port, &f);
    }
    buf_fini(&body);
}

static void on_answer(
    const struct queries_answer *answers, size_t count, void *arg)
{
    const struct queries_answer *a = &answers[0];

    if (a->err < 0 || a->len != 4 || memcmp(a->data, "i:0;", 4) != 0)
        tell(arg);
    end(arg);
}

void gateways_log_in(struct gateways *g, const struct gateways_login *login)
{
    struct login *l = xcalloc(1, sizeof(*l) + login->len);
    struct frame online = {.cmd = FRAME_IS_ONLINE,
        .flag = FRAME_FLAG_STRING,
        .connection_id = login->connection};

    l->g = g;
    l->time = login->time;
    l->len = login->len;
    memcpy(l->uid, login->uid, login->len);
    list_init(&l->node);
    list_push_back(&g->logins, &l->node);
    asks_put(g, &login->at, 1, &online, ANSWER_WAIT, on_answer, l);
}

void gateways_free_logins(struct gateways *g)
{
    while (!list_empty(&g->logins))
        end(LIST_ENTRY(g->logins.next, struct login, node));
}
