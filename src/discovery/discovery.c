/* Which way of discovery a configuration asks for. Each way is a file of its
 * own and begins what it keeps with a struct discovery; afterwards only the
 * functions in there are called. */
#include "discovery/discovery_impl.h"

static bool has_registers(const struct discovery_conf *conf)
{
    return conf->registers && conf->registers[0];
}

bool discovery_is_possible(const struct discovery_conf *conf)
{
    return conf->gateways || has_registers(conf);
}

/* Those who need it have this gateway in their lists: nobody is told. */
struct discovery *discovery_announce(struct turn *turn,
    const struct discovery_conf *conf, const char *secret_key,
    const char *address)
{
    if (conf->gateways || !has_registers(conf))
        return NULL;
    return discovery_register_announce(
        turn, conf->registers, secret_key, address);
}

struct discovery *discovery_watch(struct turn *turn,
    const struct discovery_conf *conf, const char *secret_key,
    discovery_changed_cb changed, void *arg)
{
    if (conf->gateways)
        return discovery_static_watch(turn, conf->gateways, changed, arg);
    return discovery_register_watch(turn, conf, secret_key, changed, arg);
}

bool discovery_take_kept(struct discovery *d)
{
    return d->ops->take_kept && d->ops->take_kept(d);
}

size_t discovery_missing(const struct discovery *d)
{
    return d->ops->missing(d);
}

bool discovery_is_settled(const struct discovery *d)
{
    return d->ops->is_settled(d);
}

void discovery_close(struct discovery *d)
{
    d->ops->close(d);
}
