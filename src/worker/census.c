/* When the links to a gateway come back after a loss, it may have been the
 * network or a new process: ask which of the clients that this worker knew are
 * still there, and close the others for the script. */
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "wire/cmdjson.h"
#include "wire/phpser.h"
#include "worker/gateways_impl.h"

#define CENSUS_TIMEOUT 10.0 /* seconds; without an answer all stay */

/* Take the keys of the answer's outermost array out of ids. 0 or -errno. */
static int strike_present(
    struct idset *ids, const struct gateways_answer *answer)
{
    struct phpser_reader r;
    struct phpser_token t;
    int n;

    phpser_read(&r, answer->data, answer->len);
    while ((n = phpser_next(&r, &t)) > 0) {
        if (r.depth == 1 && t.is_key && t.type == PHPSER_INT)
            idset_remove(ids, (uint32_t)t.integer);
    }
    return n;
}

static void on_census(
    const struct gateways_answer *answers, size_t count, void *arg)
{
    struct peer *p = arg;
    struct idset gone = p->census_ids;

    p->census = NULL;
    p->census_ids = (struct idset){0};
    if (answers[0].err == 0 && strike_present(&gone, &answers[0]) == 0) {
        uint32_t id;

        while ((id = idset_pop(&gone)) != 0) {
            if (!idset_has(&p->clients, id))
                continue; /* closed meanwhile */
            idset_remove(&p->clients, id);
            peer_lose_client(p, id);
        }
    }
    idset_fini(&gone);
}

void census_take(struct peer *p)
{
    struct cmdjson_select select = {.uid = true, .has_where = true};
    struct frame f = {.cmd = FRAME_SELECT, .flag = FRAME_FLAG_STRING};
    struct buf json = {0};

    if (p->clients.count == 0)
        return;
    select.where_ids.items = xmalloc(p->clients.count * sizeof(uint32_t));
    for (size_t i = 0; i < p->clients.size; i++) {
        uint32_t id = p->clients.slots[i];

        if (id == 0)
            continue;
        select.where_ids.items[select.where_ids.count++] = id;
        idset_add(&p->census_ids, id);
    }
    cmdjson_put_select(&json, &select);
    f.ext = json.data;
    f.ext_len = json.len;
    p->census = gateways_ask(p->g, &p->at, 1, &f, CENSUS_TIMEOUT, on_census, p);
    buf_fini(&json);
    free(select.where_ids.items);
}

void census_drop(struct peer *p)
{
    if (p->census)
        gateways_cancel(p->census);
    p->census = NULL;
    idset_fini(&p->census_ids);
}
