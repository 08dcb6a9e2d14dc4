/* When the links to a gateway come back after a loss, it may have been the
 * network or a new process: ask which of the clients that this worker knew are
 * still there, and close the others for the script. Asked in slices, so that
 * no answer is too long; what is no answer closes nobody. */
#include <errno.h>

#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/phpser.h"
#include "worker/asks.h"
#include "worker/gateways_impl.h"

#define CENSUS_TIMEOUT 10.0 /* seconds; without an answer all stay */

/* Take the keys of the answer's outermost array out of ids. 0, or -EPROTO: the
 * answer is no array and says nothing. */
static int strike_present(
    struct idmap *ids, const struct queries_answer *answer)
{
    struct phpser_reader r;
    struct phpser_token t;
    int n;

    phpser_read(&r, answer->data, answer->len);
    n = phpser_next(&r, &t);
    if (n > 0 && t.type != PHPSER_ARRAY)
        return -EPROTO;
    while (n > 0 && (n = phpser_next(&r, &t)) > 0) {
        if (r.depth == 1 && t.is_key && t.type == PHPSER_INT)
            idmap_remove(ids, (uint32_t)t.integer);
    }
    return n;
}

/* Those of the asked clients that are not among the answered ones are gone. */
static void lose_absent(struct peer *p, const struct queries_answer *answer)
{
    struct idmap gone = p->census_ids;
    uint32_t id;

    p->census_ids = (struct idmap){0};
    if (strike_present(&gone, answer) < 0) {
        log_warn("gateway %s does not say which clients are still there "
                 "asked=%zu bytes=%zu",
            p->name, gone.count, answer->len);
        idmap_fini(&gone);
        return;
    }
    while ((id = idmap_pop(&gone)) != 0) {
        if (!idmap_has(&p->clients, id))
            continue; /* closed meanwhile */
        idmap_remove(&p->clients, id);
        peer_lose_client(p, id, true);
    }
    idmap_fini(&gone);
}

static void ask_next(struct peer *p);

static void on_census(
    const struct queries_answer *answers, size_t count, void *arg)
{
    struct peer *p = arg;

    p->census = NULL;
    if (answers[0].err < 0) {
        census_drop(p);
        return;
    }
    lose_absent(p, &answers[0]);
    ask_next(p);
}

/* Move a slice of the clients to be asked for into the question. */
static void ask_next(struct peer *p)
{
    struct cmdjson_select select = {.uid = true, .has_where = true};
    struct frame f = {.cmd = FRAME_SELECT, .flag = FRAME_FLAG_STRING};
    struct cmdjson_ids *ids = &select.where_ids;
    struct buf json = {0};
    uint32_t slice[GATEWAYS_CENSUS_SLICE];

    ids->items = slice;
    while (ids->count < GATEWAYS_CENSUS_SLICE && p->census_left.count > 0) {
        slice[ids->count] = idmap_pop(&p->census_left);
        idmap_add(&p->census_ids, slice[ids->count++]);
    }
    if (ids->count == 0) {
        census_drop(p);
        return;
    }
    cmdjson_put_select(&json, &select);
    f.ext = json.data;
    f.ext_len = json.len;
    p->census = asks_put(p->g, &p->at, 1, &f, CENSUS_TIMEOUT, on_census, p);
    buf_fini(&json);
}

void census_take(struct peer *p)
{
    for (size_t i = 0; i < p->clients.size; i++)
        if (p->clients.ids[i] != 0)
            idmap_add(&p->census_left, p->clients.ids[i]);
    ask_next(p);
}

void census_drop(struct peer *p)
{
    if (p->census)
        queries_cancel(p->census);
    p->census = NULL;
    idmap_fini(&p->census_ids);
    idmap_fini(&p->census_left);
}
