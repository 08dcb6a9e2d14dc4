/* The register's lines: what was read is written so that it reads back. */
#include "fuzz.h"

#include "wire/regmsg.h"

static void put(struct buf *out, const struct regmsg *m)
{
    switch (m->event) {
    case REGMSG_GATEWAY_CONNECT:
        regmsg_put_gateway_connect(out, m->address, m->secret_key);
        break;
    case REGMSG_WORKER_CONNECT:
        regmsg_put_worker_connect(out, m->secret_key);
        break;
    case REGMSG_PING:
        regmsg_put_ping(out);
        break;
    case REGMSG_BROADCAST_ADDRESSES:
        regmsg_put_broadcast_addresses(
            out, (const char *const *)m->addresses, m->count);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf once = {0}, twice = {0};
    struct regmsg m, again;

    if (regmsg_parse(&m, data, len) < 0)
        return 0;
    put(&once, &m);
    assert(memchr(once.data, '\n', once.len) == once.data + once.len - 1);
    assert(regmsg_parse(&again, once.data, once.len - 1) == 0);
    assert(again.event == m.event && again.count == m.count);
    put(&twice, &again);
    assert(fuzz_same(&once, &twice));
    regmsg_fini(&m);
    regmsg_fini(&again);
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
