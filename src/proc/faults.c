/* Rows are only ever added, each before the number of them says so. What stands
 * in a message behind its place may be a client's, and is not kept. */
#include "proc/faults.h"

#include <ctype.h>
#include <string.h>

/* The length of "file:12" at the beginning of a message; 0: it has none. */
static size_t measure_place(const char *message)
{
    size_t line = strcspn(message, "\n");

    for (size_t i = 1; i < line; i++) {
        size_t digits = 0;

        if (message[i] != ':')
            continue;
        while (isdigit((unsigned char)message[i + 1 + digits]))
            digits++;
        if (digits > 0 && message[i + 1 + digits] == ':')
            return i + 1 + digits;
    }
    return 0;
}

size_t faults_count(const struct faults *f)
{
    uint32_t n = atomic_load_explicit(&f->count, memory_order_acquire);

    return n < FAULTS_MAX ? n : FAULTS_MAX;
}

static void count(_Atomic uint64_t *number)
{
    atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

void faults_note(struct faults *f, const char *message)
{
    size_t len = measure_place(message), n = faults_count(f);
    char place[FAULTS_PLACE_SIZE] = {0};

    if (len >= sizeof(place)) {
        message += len - (sizeof(place) - 1);
        len = sizeof(place) - 1;
    }
    memcpy(place, message, len);
    for (size_t i = 0; i < n && len > 0; i++) {
        if (strcmp(f->rows[i].place, place) == 0) {
            count(&f->rows[i].count);
            return;
        }
    }
    if (n == FAULTS_MAX || len == 0) {
        count(&f->others);
        return;
    }
    memcpy(f->rows[n].place, place, sizeof(place));
    count(&f->rows[n].count);
    atomic_store_explicit(&f->count, (uint32_t)n + 1, memory_order_release);
}
