/* Lines, prefixes and replies: the first byte says which. */
#include "fuzz.h"

#include "wire/framing.h"

static void take_line(struct buf *out, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_line_message(packet, len);

    assert(m.data == packet && m.len < len);
    assert(m.len == 0 || m.data[m.len - 1] != '\r');
    framing_line_encode(out, m.data, m.len);
}

static void assert_written_again(
    const struct buf *out, size_t from, const uint8_t *packet, size_t len)
{
    assert(out->len - from == len);
    assert(memcmp(out->data + from, packet, len) == 0);
}

static void take_prefix(struct buf *out, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_prefix_message(packet, len);
    size_t from = out->len;

    framing_prefix_encode(out, m.data, m.len);
    assert_written_again(out, from, packet, len);
}

static void take_reply(struct buf *out, const uint8_t *packet, size_t len)
{
    struct framing_message m = framing_reply_message(packet, len);
    size_t from = out->len;

    framing_reply_encode(out, m.data, m.len);
    assert_written_again(out, from, packet, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct fuzz_stream streams[] = {
        {framing_line_measure, take_line},
        {framing_prefix_measure, take_prefix},
        {framing_reply_measure, take_reply},
    };

    if (len > 0)
        fuzz_check_delivery(&streams[data[0] % 3], data + 1, len - 1);
    return 0;
}
