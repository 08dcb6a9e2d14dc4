/* Requests between their sockets and the workers. A request's bytes are kept
 * until a worker says that it has begun, for the case that it is lost before;
 * an answer is a stranger's bytes and checked. */
#include "gateway/calls.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/bigendian.h"

#define FAULTS_LOG 10000 /* ms; one line about answers not valid in it */

struct call {
    UT_hash_handle hh;
    uint32_t number;
    uint32_t serial; /* of the worker that has it … */
    uint32_t given;  /* … and its number there, router_note_request() */
    void *asker;     /* borrowed */
    bool begun;
    struct buf bytes; /* owned; the request, until it has begun */
    struct buf ext;   /* owned, likewise; of a call of the push API */
};

struct calls {
    struct calls_conf conf;
    struct call *map; /* owned; by number */
    uint32_t last;
    struct calls_counters counters;
    struct log_share faults;
};

struct calls *calls_new(const struct calls_conf *conf)
{
    struct calls *cs = xcalloc(1, sizeof(*cs));

    cs->conf = *conf;
    /* What a worker still answers the process before us is for nobody here. */
    cs->last = hash_bytes("calls", 5);
    return cs;
}

void calls_forget(struct calls *cs, struct call *call)
{
    HASH_DEL(cs->map, call);
    buf_fini(&call->bytes);
    buf_fini(&call->ext);
    free(call);
}

void calls_free(struct calls *cs)
{
    struct call *call, *tmp;

    MAP_FOREACH (hh, cs->map, call, tmp)
        calls_forget(cs, call);
    free(cs);
}

static struct call *find(const struct calls *cs, uint32_t number)
{
    struct call *call;

    HASH_FIND(hh, cs->map, &number, sizeof(number), call);
    return call;
}

/* False: no worker has room. */
static bool give(struct calls *cs, struct call *call)
{
    struct router_worker *worker = router_pick(
        cs->conf.router, call->ext.len > 0 ? ROUTER_API : ROUTER_ON_REQUEST);
    uint8_t max[4];
    struct frame f = {.cmd = FRAME_REQUEST,
        .flag = FRAME_FLAG_STRING | FRAME_FLAG_BEHIND,
        .connection_id = call->number,
        .ext = max,
        .ext_len = sizeof(max),
        .body = call->bytes.data,
        .body_len = call->bytes.len};

    if (!worker)
        return false;
    if (call->ext.len > 0) {
        f.ext = call->ext.data;
        f.ext_len = call->ext.len;
    }
    put32(max, (uint32_t)cs->conf.response_max);
    call->serial = router_serial(worker);
    call->given = router_note_request(worker);
    router_put(cs->conf.router, worker, &f);
    return true;
}

struct call *calls_begin(
    struct calls *cs, void *asker, const struct httpcall *h, const char *rights)
{
    struct call *call = xcalloc(1, sizeof(*call));

    while (find(cs, ++cs->last))
        ;
    call->number = cs->last;
    call->asker = asker;
    httpcall_put(&call->bytes, h);
    if (rights) {
        put32(buf_extend(&call->ext, 4), (uint32_t)cs->conf.response_max);
        buf_append_str(&call->ext, rights);
    }
    HASH_ADD(hh, cs->map, number, sizeof(call->number), call);
    if (!give(cs, call)) {
        calls_forget(cs, call);
        return NULL;
    }
    return call;
}

void calls_begun(
    struct calls *cs, uint32_t serial, const uint8_t *body, size_t len)
{
    for (size_t at = 0; at + 4 <= len; at += 4) {
        struct call *call = find(cs, get32(body + at));

        if (!call || call->serial != serial)
            continue;
        call->begun = true;
        buf_fini(&call->bytes);
        buf_fini(&call->ext);
        cs->conf.on_begun(call->asker);
    }
}

static void refuse_fault(
    struct calls *cs, const struct call *call, const char *fault)
{
    cs->counters.faulty++;
    if (log_may(&cs->faults, "answers to requests", 1, FAULTS_LOG))
        log_warn(
            "a worker's answer to a request is not valid why=\"%s\"", fault);
    cs->conf.on_answer(call->asker, NULL, 502);
}

void calls_answer(struct calls *cs, const struct frame *f, uint32_t serial)
{
    struct call *call = find(cs, f->connection_id);
    struct answer said;
    struct answer_part body;
    const char *fault;

    if (!call || call->serial != serial)
        return;
    call->serial = 0; /* the first answer counts */
    fault = answer_parse_reply(&said, f->body, f->body_len);
    if (!fault && answer_find(&said, ANSWER_BODY, &body) &&
        body.len > cs->conf.response_max)
        fault = "a body beyond max_response";
    if (fault)
        refuse_fault(cs, call, fault);
    else
        cs->conf.on_answer(call->asker, &said, said.status);
}

void calls_worker_settled(struct calls *cs, const struct router_worker *w)
{
    uint32_t serial = router_serial(w);
    struct call *call, *tmp;

    MAP_FOREACH (hh, cs->map, call, tmp) {
        if (call->serial != serial)
            continue;
        if (call->begun || router_may_have_begun(w, call->given)) {
            cs->counters.lost++;
            call->serial = 0;
            cs->conf.on_answer(call->asker, NULL, 502);
        } else if (give(cs, call)) {
            cs->counters.again++;
        } else {
            call->serial = 0;
            cs->conf.on_answer(call->asker, NULL, 503);
        }
    }
}

size_t calls_count(const struct calls *cs)
{
    return HASH_COUNT(cs->map);
}

const struct calls_counters *calls_counters(const struct calls *cs)
{
    return &cs->counters;
}
