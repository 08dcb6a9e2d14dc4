/* Pools add what has changed since they showed it last, so that a sum needs no
 * list of them. */
#include "util/tallies.h"

const char *const tallies_names[TALLIES_KINDS] = {"mysql", "redis", "http"};

/* Nobody else writes. */
static void add(_Atomic uint64_t *number, uint64_t by)
{
    uint64_t was = atomic_load_explicit(number, memory_order_relaxed);

    atomic_store_explicit(number, was + by, memory_order_relaxed);
}

void tallies_begin(struct tallies *t)
{
    for (size_t i = 0; i < TALLIES_KINDS; i++) {
        atomic_store(&t->of[i].open, 0);
        atomic_store(&t->of[i].idle, 0);
        atomic_store(&t->of[i].waiting, 0);
    }
}

/* The difference may be less than zero: unsigned numbers wrap. */
static void change(_Atomic uint64_t *number, size_t *shown, size_t now)
{
    if (*shown != now)
        add(number, (uint64_t)now - *shown);
    *shown = now;
}

void tally_show(struct tally_share *s, size_t open, size_t idle, size_t waiting)
{
    if (!s->tally)
        return;
    change(&s->tally->open, &s->open, open);
    change(&s->tally->idle, &s->idle, idle);
    change(&s->tally->waiting, &s->waiting, waiting);
}

void tally_wait(struct tally_share *s)
{
    if (s->tally)
        add(&s->tally->waits, 1);
}

void tally_timeout(struct tally_share *s)
{
    if (s->tally)
        add(&s->tally->timeouts, 1);
}
