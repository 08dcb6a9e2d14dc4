/* What each gateway allows, so that a script is refused more where it asks. A
 * gateway tells it on a worker's event link; a program has none, and hears it
 * in front of the first answer. One of another cell tells it with its claim. Of
 * one that says nothing no limit is known. */
#include "util/log.h"
#include "wire/bigendian.h"
#include "wire/framing.h"
#include "worker/gateways_impl.h"

void allowed_take(struct peer *p, const uint8_t *body, size_t len)
{
    size_t ours = gateways_packet_max(p->g);

    if (len >= 4)
        p->groups_max = get32(body);
    if (len >= 8 && get32(body + 4) != ours)
        log_error("gateway %s takes and sends packets of up to %u bytes, this "
                  "process of up to %zu: make max_packet the same on all "
                  "machines, or what is larger for one of them cuts the link",
            p->name, get32(body + 4), ours);
    if (len >= 12)
        p->session_max = get32(body + 8);
    p->labels = len >= 16 && (get32(body + 12) & FRAME_TAKES_LABELS);
    p->demands = len >= 16 && (get32(body + 12) & FRAME_TAKES_DEMANDS);
}

/* A gateway of gwrun's own tells a program its limits in front of all answers,
 * any other one nothing. So something is asked first: once that is answered,
 * the limits are known, if ever. */
void allowed_greet(struct peer *p)
{
    struct frame f = {.cmd = FRAME_IS_ONLINE, .flag = FRAME_FLAG_STRING};

    frame_encode(conn_out(p->commands), &f);
    p->greets = true;
}

void allowed_hear(struct peer *p, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_reply_message(packet, len);

    if (m.len > 0 && m.data[0] == FRAME_LIMITS)
        allowed_take(p, m.data + 1, m.len - 1);
    else
        p->greets = false;
}

size_t gateways_packet_max(const struct gateways *g)
{
    return frame_max(g->conf->packet_max);
}

unsigned gateways_groups_max(
    const struct gateways *g, struct gateways_address at)
{
    const struct peer *p = gateways_find(g, at.ip, at.port);

    return p ? p->groups_max : departures_limits(g->departures, at).groups;
}

size_t gateways_session_max(
    const struct gateways *g, uint32_t ip, uint16_t port)
{
    const struct peer *p = gateways_find(g, ip, port);
    struct gateways_address at = {ip, port};

    return p ? p->session_max : departures_limits(g->departures, at).session;
}
