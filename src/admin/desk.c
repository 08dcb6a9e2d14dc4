/* Questions stand in a list; the first one has been asked. One that is
 * forgotten while it is answered stays until the answer has ended. */
#include "admin/desk.h"

#include <stdlib.h>
#include <string.h>

#include "proc/ctl.h"
#include "util/alloc.h"
#include "util/list.h"

struct desk_question {
    struct list node;
    json_t *question;      /* owned */
    json_t *rows;          /* owned; of "connections" so far */
    bool more;             /* there are others */
    desk_answer_cb answer; /* NULL: forgotten */
    void *arg;
};

struct desk {
    struct ctl *ctl; /* owned; NULL once the master is gone */
    struct list questions;
    size_t count; /* of them */
};

static struct desk_question *first(const struct desk *d)
{
    return list_empty(&d->questions)
               ? NULL
               : LIST_ENTRY(d->questions.next, struct desk_question, node);
}

static void send_first(struct desk *d)
{
    const struct desk_question *q = first(d);

    if (q && d->ctl)
        ctl_send(d->ctl, json_incref(q->question));
}

/* Takes the reference to answer. */
static void end(struct desk *d, struct desk_question *q, json_t *answer)
{
    list_remove(&q->node);
    d->count--;
    if (q->answer)
        q->answer(answer, q->arg);
    else
        json_decref(answer);
    json_decref(q->question);
    json_decref(q->rows);
    free(q);
}

static void take_rows(struct desk *d, struct desk_question *q, const json_t *m)
{
    json_t *gateway = json_sprintf("%s/%lld", ctlmsg_string(m, "name", "?"),
        (long long)ctlmsg_int(m, "slot", 0));
    bool more = json_is_true(json_object_get(m, "more"));
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(m, "rows"), i, row)
    {
        if (json_array_size(q->rows) >= DESK_ROWS_MAX) {
            more = q->more = true;
            break;
        }
        json_object_set(row, "gateway", gateway);
        json_array_append(q->rows, row);
    }
    json_decref(gateway);
    if (more && (q->more || json_array_size(q->rows) >= DESK_ROWS_MAX)) {
        q->more = true;
        ctl_send(d->ctl, json_pack("{s:s}", "type", "enough"));
    } else if (more) {
        ctl_send(d->ctl, json_pack("{s:s,s:I}", "type", "more", "row",
                             (json_int_t)ctlmsg_int(m, "row", 0)));
    }
}

static void on_message(struct ctl *ctl, const json_t *m, void *arg)
{
    struct desk *d = arg;
    struct desk_question *q = first(d);
    const char *type = ctlmsg_type(m);
    const char *wrong = ctlmsg_string(m, "message", NULL);
    long long silent = (long long)ctlmsg_int(m, "unanswered", 0);

    if (!q)
        return;
    if (strcmp(type, "connections") == 0) {
        take_rows(d, q, m);
        return;
    }
    if (wrong)
        end(d, q,
            json_pack("{s:s,s:o*}", "error", wrong, "clients",
                json_incref(json_object_get(m, "clients"))));
    else if (strcmp(type, "connections_end") == 0)
        end(d, q,
            json_pack("{s:O,s:b,s:I}", "rows", q->rows, "more", q->more,
                "unanswered", (json_int_t)silent));
    else
        end(d, q,
            json_pack("{s:I,s:I}", "clients",
                (json_int_t)ctlmsg_int(m, "clients", 0), "unanswered",
                (json_int_t)silent));
    send_first(d);
}

static void on_close(struct ctl *ctl, void *arg)
{
    struct desk *d = arg;

    d->ctl = NULL;
    while (first(d))
        end(d, first(d), json_pack("{s:s}", "error", "the master is gone"));
}

struct desk *desk_open(struct turn *turn, int fd)
{
    static const struct ctl_ops ops = {on_message, on_close};
    struct desk *d = xcalloc(1, sizeof(*d));

    list_init(&d->questions);
    d->ctl = ctl_open(turn, fd, &ops, d);
    if (d->ctl)
        return d;
    free(d);
    return NULL;
}

void desk_close(struct desk *d)
{
    while (first(d)) {
        first(d)->answer = NULL;
        end(d, first(d), NULL);
    }
    if (d->ctl)
        ctl_close(d->ctl);
    free(d);
}

struct desk_question *desk_ask(
    struct desk *d, json_t *question, desk_answer_cb answer, void *arg)
{
    struct desk_question *q;

    if (!d->ctl || d->count >= DESK_WAITING_MAX) {
        json_decref(question);
        return NULL;
    }
    q = xcalloc(1, sizeof(*q));
    q->question = question;
    q->rows = json_array();
    q->answer = answer;
    q->arg = arg;
    list_push_back(&d->questions, &q->node);
    if (d->count++ == 0)
        send_first(d);
    return q;
}

void desk_forget(struct desk_question *q)
{
    q->answer = NULL;
}
