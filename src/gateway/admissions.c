/* Websockets that wait for a script's word before they are clients: the
 * question to a worker, its answer, checked as a stranger's bytes, and what
 * the answer sets of a client before the first event. An admission ends exactly
 * once, by admissions_forget(), however its websocket fares. */
#include "gateway/admissions.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/hash.h"
#include "util/log.h"
#include "wire/bigendian.h"

#define FAULTS_LOG 10000 /* ms; one line about answers not valid in it */

/* One websocket that waits. */
struct admission {
    UT_hash_handle hh;
    uint32_t number;
    uint32_t serial;          /* of the worker asked; 0: it has answered */
    struct client_conn *conn; /* borrowed */
    struct buf bytes;     /* owned; the answer as it came, if it has parts */
    struct answer answer; /* points into bytes */
};

struct admissions {
    struct router *router; /* borrowed */
    struct admission *map; /* owned; by number */
    uint32_t last;
    struct admissions_limits limits;
    struct log_share faults;
};

struct admissions *admissions_new(
    struct router *router, const struct admissions_limits *limits)
{
    struct admissions *a = xcalloc(1, sizeof(*a));

    a->router = router;
    a->limits = *limits;
    /* What a worker still decides for the process before us is for nobody. */
    a->last = hash_bytes("admissions", 10);
    return a;
}

void admissions_forget(struct admissions *a, struct admission *admission)
{
    HASH_DEL(a->map, admission);
    buf_fini(&admission->bytes);
    free(admission);
}

void admissions_free(struct admissions *a)
{
    struct admission *admission, *tmp;

    MAP_FOREACH (hh, a->map, admission, tmp)
        admissions_forget(a, admission);
    free(a);
}

static struct admission *find(const struct admissions *a, uint32_t number)
{
    struct admission *admission;

    HASH_FIND(hh, a->map, &number, sizeof(number), admission);
    return admission;
}

struct admission *admissions_begin(struct admissions *a,
    struct client_conn *conn, const uint8_t *body, size_t len)
{
    struct router_worker *w = router_pick(a->router, ROUTER_ON_HANDSHAKE);
    struct frame f = {.cmd = FRAME_HANDSHAKE, .body = body, .body_len = len};
    uint8_t limits[8];
    struct admission *admission;

    if (w == NULL)
        return NULL;
    while (find(a, ++a->last) != NULL)
        ;
    admission = xcalloc(1, sizeof(*admission));
    admission->number = a->last;
    admission->serial = router_serial(w);
    admission->conn = conn;
    HASH_ADD(hh, a->map, number, sizeof(admission->number), admission);
    f.connection_id = admission->number;
    if (router_takes_answers(w)) {
        put32(limits, (uint32_t)a->limits.session_max);
        put32(limits + 4, a->limits.groups_max);
        f.ext = limits;
        f.ext_len = sizeof(limits);
    }
    router_put(a->router, w, &f);
    return admission;
}

/* "0", or a status, a space and a reason. */
static void take_text(struct admission *admission, const struct frame *f)
{
    size_t len = f->body_len < ADMISSIONS_REASON_MAX + 4
                     ? f->body_len
                     : ADMISSIONS_REASON_MAX + 4;
    char text[ADMISSIONS_REASON_MAX + 4 + 1];
    char *reason;
    unsigned long status;

    if (len > 0)
        memcpy(text, f->body, len);
    text[len] = '\0';
    status = strtoul(text, &reason, 10);
    if (reason == text || (status != 0 && (status < 400 || status > 599)))
        status = 500;
    if (*reason == ' ')
        reason++;
    request_answer(
        admission->conn, (unsigned)status, *reason != '\0' ? reason : NULL);
}

/* NULL, or what is wrong with the answer. */
static const char *check_limits(
    const struct admissions_limits *limits, const struct answer *said)
{
    struct answer_part session;

    if (answer_find(said, ANSWER_SESSION, &session) &&
        session.len > limits->session_max)
        return "a session beyond max_session";
    if (answer_count(said, ANSWER_GROUP) > limits->groups_max)
        return "more groups than max_groups";
    return NULL;
}

static void take_parts(
    struct admissions *a, struct admission *admission, const struct frame *f)
{
    const char *fault;

    buf_append(&admission->bytes, f->body, f->body_len);
    fault = answer_parse(
        &admission->answer, admission->bytes.data, admission->bytes.len);
    if (!fault)
        fault = check_limits(&a->limits, &admission->answer);
    if (!fault) {
        request_answer_with(admission->conn, &admission->answer);
        return;
    }
    if (log_may(&a->faults, "answers to handshakes", 1, FAULTS_LOG))
        log_warn("a worker's answer to a handshake is not valid, refusing "
                 "why=\"%s\"",
            fault);
    request_answer(admission->conn, 500, NULL);
}

void admissions_answer(
    struct admissions *a, const struct frame *f, uint32_t serial)
{
    struct admission *admission = find(a, f->connection_id);

    if (admission == NULL || admission->serial != serial)
        return;
    admission->serial = 0; /* the first answer counts */
    if (f->flag & FRAME_FLAG_STRING)
        take_text(admission, f);
    else
        take_parts(a, admission, f);
}

static int admit_part(
    struct roster *roster, struct client *c, const struct answer_part *part)
{
    switch (part->kind) {
    case ANSWER_SESSION:
        return roster_set_session(roster, c, part->data, part->len);
    case ANSWER_UID:
        return roster_bind_uid(roster, c, part->data, part->len);
    case ANSWER_GROUP:
        return roster_join(roster, c, part->data, part->len);
    default:
        return 0;
    }
}

int admissions_apply(
    const struct admission *admission, struct roster *roster, struct client *c)
{
    return admissions_apply_answer(&admission->answer, roster, c);
}

int admissions_apply_answer(
    const struct answer *said, struct roster *roster, struct client *c)
{
    struct answer_part part;
    size_t at = 0;

    while (answer_next(said, &at, &part)) {
        int err = admit_part(roster, c, &part);

        if (err < 0) {
            log_warn("client refused, what its script gave it is not valid "
                     "err=%s",
                strerror(-err));
            return err;
        }
    }
    return 0;
}

void admissions_worker_gone(struct admissions *a, uint32_t serial)
{
    struct admission *admission, *tmp;

    MAP_FOREACH (hh, a->map, admission, tmp) {
        if (admission->serial != serial)
            continue;
        admission->serial = 0;
        request_answer(admission->conn, 503, "nobody can decide now");
    }
}
