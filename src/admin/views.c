/* What everybody may see: each answer is made at once, from a look at shared
 * memory. */
#include <string.h>

#include "admin/admin_impl.h"
#include "admin/exposition.h"
#include "admin/overview.h"
#include "admin/poolmetrics.h"
#include "admin/scriptmetrics.h"
#include "net/clock.h"
#include "proc/verdict.h"

#define RETRY_AFTER "1" /* seconds; slow readers are given up after a few */

static void look(struct admin *a, struct snapshot *out)
{
    snapshot_take(out, a->system, clock_now(a->loop));
}

/* Readers that are slow leave their scrapes here; these are megabytes each. */
static bool may_scrape(const struct admin *a)
{
    return a->scraped + port_counters(a->port)->queued <= ADMIN_WAITING_MAX;
}

void views_metrics(struct call *call, const struct httpcall *request)
{
    struct admin *a = call->admin;
    struct snapshot s;
    struct buf text = {0};

    if (!may_scrape(a)) {
        answers_put_text(call, 503, "earlier scrapes wait to be read\n");
        answers_put_header(call, "retry-after", RETRY_AFTER);
        return;
    }
    look(a, &s);
    exposition_put(&text, &s);
    poolmetrics_put(&text, &s);
    scriptmetrics_put(&text, &s);
    answers_put(call, 200, EXPOSITION_TYPE, text.data, text.len);
    call->scraped = call->answer.len;
    a->scraped += call->scraped;
    buf_fini(&text);
    snapshot_fini(&s);
}

static json_t *make_status(struct admin *a)
{
    struct snapshot s;
    json_t *status;

    look(a, &s);
    status = overview_make(&s);
    snapshot_fini(&s);
    return status;
}

void views_status(struct call *call, const struct httpcall *request)
{
    answers_put_json(call, 200, make_status(call->admin));
}

/* This process runs; that is all it says. */
void views_livez(struct call *call, const struct httpcall *request)
{
    answers_put_text(call, 200, "ok\n");
}

static void put_lines(struct buf *text, const char *before, const json_t *lines)
{
    const json_t *line;
    size_t i;

    json_array_foreach(lines, i, line)
        buf_printf(text, "%s%s\n", before, json_string_value(line));
}

/* A cell without its cluster serves its clients: whoever would rather send them
 * to another cell asks for /readyz?cluster. */
void views_readyz(struct call *call, const struct httpcall *request)
{
    bool strict = strcmp(request->head.target, "/readyz?cluster") == 0;
    struct buf text = {0};
    json_t *status = make_status(call->admin);
    json_t *why = verdict_refusals(status);
    json_t *alone =
        call->admin->has_cluster ? verdict_alone(status) : json_array();
    bool ready = json_array_size(why) == 0;

    if (ready && !(strict && json_array_size(alone) > 0))
        buf_append_str(&text, "ok\n");
    else
        ready = false;
    put_lines(&text, "", why);
    put_lines(&text, strict ? "" : "degraded: ", alone);
    answers_put(call, ready ? 200 : 503, "text/plain; charset=utf-8", text.data,
        text.len);
    buf_fini(&text);
    json_decref(alone);
    json_decref(why);
    json_decref(status);
}

json_t *views_make_event(void *arg)
{
    struct admin *a = arg;
    struct snapshot s;
    json_t *event;

    look(a, &s);
    event = json_pack("{s:o,s:o,s:o,s:o,s:o}", "status", overview_make(&s),
        "event_times", overview_event_times(&s), "faults", overview_faults(&s),
        "callbacks", overview_callbacks(&s), "cells",
        a->has_cluster ? overview_cells(a->system, s.now) : json_null());
    snapshot_fini(&s);
    return event;
}

/* on_stream() follows. */
void views_live(struct call *call, const struct httpcall *request)
{
    answers_put_head(call, 200, NULL);
    answer_put(&call->answer, ANSWER_STREAM, NULL, 0);
}
