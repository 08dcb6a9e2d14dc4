/* Orders that stand: bans until they are over, and gateways that take no new
 * clients. A process that begins gets them all, so that a crash lifts none;
 * they end with the master. */
#include <string.h>

#include "master/master_impl.h"
#include "net/clock.h"

void standing_init(struct master *m)
{
    m->orders = json_array();
}

void standing_fini(struct master *m)
{
    json_decref(m->orders);
}

static bool is(const json_t *order, const char *what)
{
    return strcmp(ctlmsg_string(order, "do", ""), what) == 0;
}

/* Both NULL, or the same text. */
static bool same(const json_t *a, const json_t *b, const char *key)
{
    const char *x = ctlmsg_string(a, key, NULL);
    const char *y = ctlmsg_string(b, key, NULL);

    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool same_target(const json_t *a, const json_t *b)
{
    return same(a, b, "do") && same(a, b, "uid") && same(a, b, "address") &&
           same(a, b, "name");
}

static double seconds_left(const struct master *m, const json_t *order)
{
    double until = json_number_value(json_object_get(order, "until"));

    return (until - (double)clock_now(m->loop)) / 1000;
}

/* Take out what is over, and what a new order replaces. */
static void tidy(struct master *m, const json_t *replaced)
{
    for (size_t i = json_array_size(m->orders); i-- > 0;) {
        const json_t *order = json_array_get(m->orders, i);

        if (same_target(order, replaced) ||
            (is(order, "ban") && seconds_left(m, order) <= 0))
            json_array_remove(m->orders, i);
    }
}

static bool names_gateway(const struct master *m, const char *name)
{
    for (size_t i = 0; i < m->conf->nchildren; i++) {
        const struct child *c = &m->children[i];

        if (child_is(c, "gateway") && strcmp(c->conf->name, name) == 0)
            return true;
    }
    return false;
}

const char *standing_take(struct master *m, const json_t *order)
{
    double seconds = json_number_value(json_object_get(order, "seconds"));
    bool stands = is(order, "ban")
                      ? seconds > 0
                      : json_is_true(json_object_get(order, "drained"));
    json_t *kept;

    if (is(order, "kick"))
        return NULL;
    if (!is(order, "ban") && !is(order, "drain"))
        return "unknown order";
    if (is(order, "drain") &&
        !names_gateway(m, ctlmsg_string(order, "name", "")))
        return "no gateway here has that name; gwrun status lists them";
    tidy(m, order);
    if (!stands)
        return NULL;
    if (json_array_size(m->orders) >= MASTER_ORDERS_MAX)
        return "too many bans at a time; gwrun ban … 0 lifts one";
    kept = json_deep_copy(order);
    json_object_set_new(
        kept, "until", json_real((double)clock_now(m->loop) + seconds * 1000));
    json_array_append_new(m->orders, kept);
    return NULL;
}

bool standing_concern(const json_t *order, const struct child *c)
{
    const char *name = ctlmsg_string(order, "name", NULL);

    return child_is(c, "gateway") &&
           (!name || strcmp(name, c->conf->name) == 0);
}

void standing_repeat(struct child *c)
{
    const struct master *m = c->master;
    json_t *order;
    size_t i;

    json_array_foreach(m->orders, i, order)
    {
        json_t *again;

        if (!standing_concern(order, c) ||
            (is(order, "ban") && seconds_left(m, order) <= 0))
            continue;
        again = json_deep_copy(order);
        json_object_set_new(
            again, "seconds", json_real(seconds_left(m, order)));
        child_send(c, again);
    }
}

bool standing_drain(const struct child *c)
{
    json_t *order;
    size_t i;

    json_array_foreach(c->master->orders, i, order)
    {
        if (is(order, "drain") && standing_concern(order, c))
            return true;
    }
    return false;
}
