/* Orders of the operator, from messages of the master. What they do to clients
 * is the gateway's (gateway_orders.c). */
#include "role/orders.h"

#include <string.h>

struct gateway_pick orders_pick(const json_t *m)
{
    return (struct gateway_pick){
        .client_id = ctlmsg_string(m, "client_id", NULL),
        .uid = ctlmsg_string(m, "uid", NULL),
        .group = ctlmsg_string(m, "group", NULL),
        .ip = ctlmsg_string(m, "ip", NULL),
    };
}

static ssize_t ban(struct gateway *g, const json_t *m)
{
    double seconds = json_number_value(json_object_get(m, "seconds"));
    const char *uid = ctlmsg_string(m, "uid", NULL);

    if (uid)
        return gateway_ban_uid(g, uid, seconds);
    return gateway_ban_address(g, ctlmsg_string(m, "address", ""), seconds);
}

static ssize_t run(struct gateway *g, const json_t *m)
{
    const char *what = ctlmsg_string(m, "do", "");
    struct gateway_pick pick = orders_pick(m);

    if (strcmp(what, "ban") == 0)
        return ban(g, m);
    if (strcmp(what, "kick") == 0)
        return (ssize_t)gateway_expel(g, &pick, "kicked");
    if (strcmp(what, "drain") == 0)
        gateway_drain(g, json_is_true(json_object_get(m, "drained")));
    return 0;
}

json_t *orders_run(struct gateway *g, const json_t *m)
{
    ssize_t clients = g ? run(g, m) : 0;
    json_t *answer = json_pack("{s:s,s:I,s:I}", "type", "order", "gather",
        (json_int_t)ctlmsg_int(m, "gather", 0), "clients",
        (json_int_t)(clients > 0 ? clients : 0));

    if (clients < 0)
        json_object_set_new(
            answer, "message", json_string(strerror((int)-clients)));
    return answer;
}
