#include "gateway/asks.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/hash.h"

struct ask {
    UT_hash_handle hh;
    uint32_t number;
    uint32_t serial;          /* of the worker asked */
    struct client_conn *conn; /* borrowed */
};

struct asks {
    struct router *router; /* borrowed */
    struct ask *map;       /* owned; by number */
    uint32_t last;
};

struct asks *asks_new(struct router *router)
{
    struct asks *a = xcalloc(1, sizeof(*a));

    a->router = router;
    return a;
}

void asks_forget(struct asks *a, struct ask *ask)
{
    HASH_DEL(a->map, ask);
    free(ask);
}

void asks_free(struct asks *a)
{
    struct ask *ask, *tmp;

    MAP_FOREACH (hh, a->map, ask, tmp)
        asks_forget(a, ask);
    free(a);
}

static struct ask *find(const struct asks *a, uint32_t number)
{
    struct ask *ask;

    HASH_FIND(hh, a->map, &number, sizeof(number), ask);
    return ask;
}

struct ask *asks_begin(
    struct asks *a, struct client_conn *conn, const uint8_t *body, size_t len)
{
    struct router_worker *w = router_pick_decider(a->router);
    struct frame f = {.cmd = FRAME_HANDSHAKE, .body = body, .body_len = len};
    struct ask *ask;

    if (w == NULL)
        return NULL;
    while (find(a, ++a->last) != NULL)
        ;
    ask = xcalloc(1, sizeof(*ask));
    ask->number = a->last;
    ask->serial = router_serial(w);
    ask->conn = conn;
    HASH_ADD(hh, a->map, number, sizeof(ask->number), ask);
    f.connection_id = ask->number;
    router_put(a->router, w, &f);
    return ask;
}

static void answer(
    struct asks *a, struct ask *ask, unsigned status, const char *reason)
{
    struct client_conn *conn = ask->conn;

    asks_forget(a, ask);
    client_answer(conn, status, reason);
}

void asks_answer(struct asks *a, const struct frame *f, uint32_t serial)
{
    struct ask *ask = find(a, f->connection_id);
    size_t len =
        f->body_len < ASKS_REASON_MAX + 4 ? f->body_len : ASKS_REASON_MAX + 4;
    char text[ASKS_REASON_MAX + 4 + 1];
    char *reason;
    unsigned long status;

    if (ask == NULL || ask->serial != serial)
        return;
    if (len > 0)
        memcpy(text, f->body, len);
    text[len] = '\0';
    status = strtoul(text, &reason, 10);
    if (reason == text || (status != 0 && (status < 400 || status > 599)))
        status = 500;
    if (*reason == ' ')
        reason++;
    answer(a, ask, (unsigned)status, *reason != '\0' ? reason : NULL);
}

void asks_worker_gone(struct asks *a, uint32_t serial)
{
    struct ask *ask, *tmp;

    MAP_FOREACH (hh, a->map, ask, tmp)
        if (ask->serial == serial)
            answer(a, ask, 503, "nobody can decide now");
}
