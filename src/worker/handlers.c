/* What came of handlers. A script that fails with every message must not fill
 * the disk: of its errors so many a second are logged, the others are counted,
 * and one line says how many they were. */
#include "worker/handlers.h"

#include "net/clock.h"
#include "proc/faults.h"
#include "proc/timings.h"
#include "util/log.h"
#include "worker/complaints.h"

static uint64_t this_second(const struct handlers *h)
{
    return clock_now(h->loop) / 1000;
}

void handlers_init(struct handlers *h, const uv_loop_t *loop)
{
    *h = (struct handlers){.loop = loop};
}

/* Count a failure; whether it is to be logged. */
static bool count(struct handlers *h)
{
    uint64_t second = this_second(h);

    h->failed++;
    if (second != h->second) {
        h->second = second;
        h->lines = 0;
    }
    if (h->lines++ < HANDLERS_ERROR_LINES)
        return true;
    h->suppressed++;
    return false;
}

void handlers_fail(struct handlers *h, const char *event, const char *client,
    const char *error)
{
    complaints_take(h->complaints, event, client, error);
    if (h->faults)
        faults_note(h->faults, error);
    if (!count(h))
        return;
    if (client)
        log_error("handler failed event=%s client=%s", event, client);
    else
        log_error("handler failed event=%s", event);
    log_block(LOG_ERROR, error);
}

uint64_t handlers_now(const struct handlers *h)
{
    return h->timings ? clock_precise(h->loop) : 0;
}

void handlers_took(
    struct handlers *h, const char *event, uint64_t begun, uint64_t now)
{
    if (begun > 0 && now >= begun && h->timings)
        timings_note(h->timings, event, now - begun);
}

void handlers_tick(struct handlers *h)
{
    if (h->suppressed == 0 || this_second(h) == h->second)
        return;
    log_error("more handlers failed suppressed=%llu",
        (unsigned long long)h->suppressed);
    h->suppressed = 0;
}
