/* What connections have begun to say and not finished: requests, lines, frames,
 * messages in fragments. Whoever begins one has memory for the bytes that came,
 * so all of them together have a limit, the largest end first, and each message
 * has a time. Nothing here runs for messages that come whole.
 *
 * Parts lie in lists by the power of two of their size: of the largest ones,
 * the first that became so large is closed first. */
#include "clients/part.h"

#include <stdlib.h>

#include "clients/trim.h"
#include "util/alloc.h"
#include "util/log.h"

#define CLOSED_LOG 10000 /* ms; one line about closed clients in it */

static size_t weigh(const struct part *p)
{
    return sizeof(*p) + p->in.cap + p->message.cap + p->asked.cap;
}

static struct list *list_of(struct client_shared *shared, size_t weight)
{
    return &shared->parts[63 - __builtin_clzll(weight)];
}

struct part *part_need(struct client_conn *c)
{
    struct part *p = c->part;

    if (p != NULL)
        return p;
    p = c->part = xcalloc(1, sizeof(*p));
    p->conn = c;
    list_init(&p->node);
    return p;
}

void part_drop(struct client_conn *c)
{
    struct part *p = c->part;

    if (p == NULL)
        return;
    c->part = NULL;
    if (c->state == CLIENT_CONN_OPEN)
        list_remove(&c->deadline);
    c->shared->counters.unfinished -= p->counted;
    list_remove(&p->node);
    buf_fini(&p->in);
    buf_fini(&p->message);
    buf_fini(&p->asked);
    free(p);
}

/* Time runs while its message is unfinished and it may send. */
static void watch_time(struct client_conn *c, bool anew)
{
    double timeout = c->shared->conf->message_timeout;
    bool paused = !client_conn_is_taken(c);

    if (c->state != CLIENT_CONN_OPEN || timeout == 0)
        return;
    if (anew || paused)
        list_remove(&c->deadline);
    if (!paused && list_empty(&c->deadline))
        client_conn_expect(
            c, &c->shared->receiving, (uint64_t)(timeout * 1000));
}

/* Its memory is free when this returns. */
static void give_up(struct client_conn *c)
{
    struct client_shared *shared = c->shared;
    char peer[ADDR_TEXT_SIZE];

    shared->counters.unfinished_closed++;
    if (log_may(&shared->given_up, "closed clients", 1, CLOSED_LOG))
        log_warn("unfinished messages take too much memory, closing the "
                 "largest peer=%s bytes=%zu all=%zu limit=%zu",
            addr_format(peer, &c->peer), c->part->counted,
            shared->counters.unfinished, shared->conf->unfinished_total_max);
    c->stage->crowded(c);
}

static void make_room(struct client_shared *shared)
{
    size_t max = shared->conf->unfinished_total_max;
    size_t i = CLIENT_SHARED_PARTS;

    while (max > 0 && shared->counters.unfinished > max && i > 0) {
        struct list *list = &shared->parts[i - 1];

        if (list_empty(list))
            i--;
        else
            give_up(LIST_ENTRY(list->next, struct part, node)->conn);
    }
}

void part_update(struct client_conn *c, bool anew)
{
    struct part *p = c->part;
    struct list *list;
    size_t weight;

    if (p->in.len == 0 && !p->in_message && p->asked.len == 0) {
        part_drop(c);
        return;
    }
    watch_time(c, anew);
    weight = weigh(p);
    list = list_of(c->shared, weight);
    if (p->counted == 0 || list != list_of(c->shared, p->counted)) {
        list_remove(&p->node);
        list_push_back(list, &p->node);
    }
    c->shared->counters.unfinished += weight - p->counted;
    p->counted = weight;
    trim_note(c->shared);
    make_room(c->shared);
}
