/* fuzz.h - what the fuzzers share: the entry that libFuzzer calls, and the
 * delivery of a byte stream in pieces.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SPEC_FUZZ_FUZZ_H
#define SPEC_FUZZ_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_LIMIT 4096 /* bytes of a packet, so that the limit is met too */

struct fuzz_stream {
    ssize_t (*measure)(const uint8_t *data, size_t len, size_t limit);
    /* Called with every whole packet; out collects what all of them gave. */
    void (*on_packet)(struct buf *out, const uint8_t *packet, size_t len);
};

/* Deliver data step bytes at a time, as a socket would. Returns 0, or the
 * error that ended the stream. */
static inline ssize_t fuzz_deliver(const struct fuzz_stream *s, struct buf *out,
    const uint8_t *data, size_t len, size_t step)
{
    struct buf in = {0};
    ssize_t n = 0;

    for (size_t at = 0; at < len && n >= 0; at += step) {
        buf_append(&in, data + at, step < len - at ? step : len - at);
        while ((n = s->measure(in.data, in.len, FUZZ_LIMIT)) > 0 &&
               (size_t)n <= in.len) {
            s->on_packet(out, in.data, (size_t)n);
            buf_consume(&in, (size_t)n);
        }
    }
    buf_fini(&in);
    return n < 0 ? n : 0;
}

static inline bool fuzz_same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* However a stream is cut, the same packets come out of it. */
static inline void fuzz_check_delivery(
    const struct fuzz_stream *s, const uint8_t *data, size_t len)
{
    struct buf whole = {0}, pieces = {0};
    ssize_t err = fuzz_deliver(s, &whole, data, len, len ? len : 1);

    for (size_t step = 1; step <= 9; step += 4) {
        assert(fuzz_deliver(s, &pieces, data, len, step) == err);
        assert(fuzz_same(&whole, &pieces));
        buf_clear(&pieces);
    }
    buf_fini(&whole);
    buf_fini(&pieces);
}

#endif /* SPEC_FUZZ_FUZZ_H */
