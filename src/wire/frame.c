#include "wire/frame.h"

#include <assert.h>
#include <errno.h>

#include "wire/bigendian.h"

#define LEN_FIELD 4 /* bytes of pack_len */

ssize_t frame_measure(const uint8_t *data, size_t len, size_t limit)
{
    uint32_t pack_len;

    if (len < LEN_FIELD)
        return 0;
    pack_len = get32(data);
    if (pack_len < FRAME_HEAD_LEN)
        return -EPROTO;
    if (pack_len > limit)
        return -EMSGSIZE;
    return (ssize_t)pack_len;
}

int frame_decode(struct frame *f, const uint8_t *data, size_t len)
{
    uint32_t ext_len, ip6_len;

    if (len < FRAME_HEAD_LEN || get32(data) != len)
        return -EPROTO;
    ext_len = get32(data + 24);
    ip6_len = data[21] & FRAME_FLAG_IPV6 ? FRAME_IPV6_LEN : 0;
    if (ext_len > len - FRAME_HEAD_LEN || ext_len < ip6_len)
        return -EPROTO;
    f->cmd = data[4];
    f->local_ip = get32(data + 5);
    f->local_port = get16(data + 9);
    f->client_ip = get32(data + 11);
    f->client_port = get16(data + 15);
    f->connection_id = get32(data + 17);
    f->flag = data[21];
    f->gateway_port = get16(data + 22);
    if (ip6_len > 0)
        memcpy(f->client_ip6, data + FRAME_HEAD_LEN, FRAME_IPV6_LEN);
    else
        memset(f->client_ip6, 0, FRAME_IPV6_LEN);
    f->ext_len = ext_len - ip6_len;
    f->ext = data + FRAME_HEAD_LEN + ip6_len;
    f->body_len = len - FRAME_HEAD_LEN - ext_len;
    f->body = data + FRAME_HEAD_LEN + ext_len;
    return 0;
}

void frame_encode(struct buf *out, const struct frame *f)
{
    size_t ip6_len = f->flag & FRAME_FLAG_IPV6 ? FRAME_IPV6_LEN : 0;
    size_t len = FRAME_HEAD_LEN + ip6_len + f->ext_len + f->body_len;
    uint8_t *p;

    assert(len <= UINT32_MAX);
    p = buf_extend(out, len);
    put32(p, (uint32_t)len);
    p[4] = f->cmd;
    put32(p + 5, f->local_ip);
    put16(p + 9, f->local_port);
    put32(p + 11, f->client_ip);
    put16(p + 15, f->client_port);
    put32(p + 17, f->connection_id);
    p[21] = f->flag;
    put16(p + 22, f->gateway_port);
    put32(p + 24, (uint32_t)(ip6_len + f->ext_len));
    p += FRAME_HEAD_LEN;
    if (ip6_len > 0)
        memcpy(p, f->client_ip6, FRAME_IPV6_LEN);
    p += ip6_len;
    if (f->ext_len > 0)
        memcpy(p, f->ext, f->ext_len);
    if (f->body_len > 0)
        memcpy(p + f->ext_len, f->body, f->body_len);
}

const char *frame_cmd_name(uint8_t cmd)
{
    static const char *const names[UINT8_MAX + 1] = {
        [FRAME_ON_CONNECT] = "ON_CONNECT",
        [FRAME_ON_MESSAGE] = "ON_MESSAGE",
        [FRAME_ON_CLOSE] = "ON_CLOSE",
        [FRAME_SEND_TO_ONE] = "SEND_TO_ONE",
        [FRAME_SEND_TO_ALL] = "SEND_TO_ALL",
        [FRAME_KICK] = "KICK",
        [FRAME_DESTROY] = "DESTROY",
        [FRAME_UPDATE_SESSION] = "UPDATE_SESSION",
        [FRAME_GET_ALL_CLIENT_SESSIONS] = "GET_ALL_CLIENT_SESSIONS",
        [FRAME_IS_ONLINE] = "IS_ONLINE",
        [FRAME_BIND_UID] = "BIND_UID",
        [FRAME_UNBIND_UID] = "UNBIND_UID",
        [FRAME_SEND_TO_UID] = "SEND_TO_UID",
        [FRAME_GET_CLIENT_ID_BY_UID] = "GET_CLIENT_ID_BY_UID",
        [FRAME_BATCH_GET_CLIENT_ID_BY_UID] = "BATCH_GET_CLIENT_ID_BY_UID",
        [FRAME_JOIN_GROUP] = "JOIN_GROUP",
        [FRAME_LEAVE_GROUP] = "LEAVE_GROUP",
        [FRAME_SEND_TO_GROUP] = "SEND_TO_GROUP",
        [FRAME_GET_CLIENT_SESSIONS_BY_GROUP] = "GET_CLIENT_SESSIONS_BY_GROUP",
        [FRAME_GET_CLIENT_COUNT_BY_GROUP] = "GET_CLIENT_COUNT_BY_GROUP",
        [FRAME_SELECT] = "SELECT",
        [FRAME_GET_GROUP_ID_LIST] = "GET_GROUP_ID_LIST",
        [FRAME_UNGROUP] = "UNGROUP",
        [FRAME_BATCH_GET_CLIENT_COUNT_BY_GROUP] =
            "BATCH_GET_CLIENT_COUNT_BY_GROUP",
        [FRAME_WORKER_CONNECT] = "WORKER_CONNECT",
        [FRAME_PING] = "PING",
        [FRAME_GATEWAY_CLIENT_CONNECT] = "GATEWAY_CLIENT_CONNECT",
        [FRAME_GET_SESSION_BY_CLIENT_ID] = "GET_SESSION_BY_CLIENT_ID",
        [FRAME_SET_SESSION] = "SET_SESSION",
        [FRAME_ON_WEBSOCKET_CONNECT] = "ON_WEBSOCKET_CONNECT",
        [FRAME_HANDSHAKE_WATCH] = "HANDSHAKE_WATCH",
        [FRAME_HANDSHAKE] = "HANDSHAKE",
        [FRAME_ACK] = "ACK",
    };

    return names[cmd] ? names[cmd] : "?";
}
