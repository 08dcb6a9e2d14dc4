/* load.h - what the load generators share: time, latencies, the processor time
 * of other processes, the head of a websocket frame.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_BENCH_LOAD_H
#define GW_BENCH_LOAD_H

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAME_EXTRA 14 /* the longest head of a websocket frame */

static void die(const char *what, const char *arg)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, arg);
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Latencies: 32 linear steps in each power of two of nanoseconds. */
#define HIST_STEPS 32
struct histogram {
    uint64_t count[64 * HIST_STEPS];
    uint64_t total;
    uint64_t max;
};

static void hist_add(struct histogram *h, uint64_t ns)
{
    unsigned power = ns < HIST_STEPS ? 0 : 63 - (unsigned)__builtin_clzll(ns);
    size_t step = power < 5 ? ns : (ns >> (power - 5)) & (HIST_STEPS - 1);

    h->count[power * HIST_STEPS + step]++;
    h->total++;
    if (ns > h->max)
        h->max = ns;
}

/* Microseconds below which the share p of the latencies lies. */
static double hist_percentile(const struct histogram *h, double p)
{
    uint64_t want = (uint64_t)((double)h->total * p);
    uint64_t seen = 0;

    for (size_t i = 0; i < 64 * HIST_STEPS; i++) {
        size_t power = i / HIST_STEPS;
        size_t step = i % HIST_STEPS;

        seen += h->count[i];
        if (seen > want && power < 5)
            return (double)step / 1e3;
        if (seen > want)
            return (double)((step + HIST_STEPS) << (power - 5)) / 1e3;
    }
    return (double)h->max / 1e3;
}

/* Nanoseconds on a processor of all threads of these processes. */
static uint64_t cpu_ns(const int *pids, unsigned count)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        char path[320];
        DIR *dir;
        struct dirent *e;

        snprintf(path, sizeof(path), "/proc/%d/task", pids[i]);
        dir = opendir(path);
        if (!dir)
            die("no such process", path);
        while ((e = readdir(dir))) {
            uint64_t ns = 0;
            FILE *f;

            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "/proc/%d/task/%.32s/schedstat",
                pids[i], e->d_name);
            f = fopen(path, "r");
            if (f && fscanf(f, "%" SCNu64, &ns) == 1)
                sum += ns;
            if (f)
                fclose(f);
        }
        closedir(dir);
    }
    return sum;
}

/* Write a masked frame, as clients send it; len + FRAME_EXTRA bytes are enough.
 * Returns its length. */
static size_t frame_put(
    uint8_t *out, uint8_t opcode, const uint8_t *data, size_t len)
{
    static const uint8_t mask[4] = {0x5a, 0xa5, 0x3c, 0xc3};
    uint8_t *p = out;

    *p++ = 0x80 | opcode;
    if (len < 126) {
        *p++ = (uint8_t)(0x80 | len);
    } else if (len < 65536) {
        *p++ = 0x80 | 126;
        *p++ = (uint8_t)(len >> 8);
        *p++ = (uint8_t)len;
    } else {
        *p++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *p++ = (uint8_t)((uint64_t)len >> shift);
    }
    memcpy(p, mask, 4);
    p += 4;
    for (size_t i = 0; i < len; i++)
        p[i] = data[i] ^ mask[i & 3];
    return (size_t)(p + len - out);
}

/* The length of the first frame, unmasked as servers send it, in the size bytes
 * at p, of its head and of its payload; 0 when it is not whole. */
static size_t frame_next(
    const uint8_t *p, size_t size, uint8_t *opcode, size_t *head, size_t *len)
{
    if (size < 2)
        return 0;
    *opcode = p[0] & 0x0f;
    *len = p[1] & 0x7f;
    *head = *len == 126 ? 4 : *len == 127 ? 10 : 2;
    if (size < *head)
        return 0;
    if (*len >= 126) {
        *len = 0;
        for (size_t i = 2; i < *head; i++)
            *len = *len << 8 | p[i];
    }
    return size >= *head + *len ? *head + *len : 0;
}

#endif /* GW_BENCH_LOAD_H */
