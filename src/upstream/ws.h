/* ws.h - websocket connections to other servers, begun by wsdial.h.
 *
 * libwebsockets connects, speaks TLS, shakes hands and takes frames apart; this
 * looks up names, sets limits and deadlines, keeps what has come until it is
 * taken (and stops reading when that is much) and what is to be sent. What
 * happens inside the library is told at the end of the turn.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_WS_H
#define GW_UPSTREAM_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/list.h"

#define WS_WAITING_MAX                                              \
    (256 * 1024)           /* bytes not taken; then nothing is read \
                            */
#define WS_OVERHEAD   64   /* bytes that a message to be sent counts besides */
#define WS_REASON_MAX 123  /* bytes of a Close frame's text */
#define WS_CLOSE_MS   5000 /* for the other side's Close frame */
#define WS_LINGER_MS  1000 /* the same, once the owner is gone */

#define WS_CODE_NONE 1005 /* a Close frame without a code */
#define WS_CODE_LOST 1006 /* no Close frame at all */

struct ws;
enum ws_state {
    WS_CONNECTING, /* -> WS_OPEN, WS_CLOSED */
    WS_OPEN,       /* -> WS_CLOSING, WS_CLOSED */
    WS_CLOSING,    /* -> WS_CLOSED; ws_shut() was called */
    WS_CLOSED,
};

struct ws_message {
    struct list node;
    size_t len;
    bool binary;
    uint8_t data[];
};

/* Something has changed: the state, or messages have come. At the end of a
 * turn; ws_free() is allowed. */
typedef void (*ws_change_cb)(struct ws *ws, void *arg);

/* No callback will run any more. What is connecting ends at once; what is open
 * says goodbye (1001), what is closing goes on to, for WS_LINGER_MS. */
void ws_free(struct ws *ws);

enum ws_state ws_state(const struct ws *ws);
bool ws_was_open(const struct ws *ws); /* a closed one may have messages */
const char *ws_protocol(const struct ws *ws); /* "": none was chosen */

/* Of a closed one: 0 after Close frames, else -errno and what happened, for
 * people. */
int ws_error(const struct ws *ws, const char **why);

/* Of a closed one, what the Close frame said: the other side's, or ours. */
unsigned ws_code(const struct ws *ws);
const char *ws_reason(const struct ws *ws, size_t *len);

/* The oldest message, the callee's to free(); NULL: there is none. */
struct ws_message *ws_take(struct ws *ws);
bool ws_has_message(const struct ws *ws);

/* 0: it will be sent, in one frame. -ENOBUFS, -ENOTCONN. Text is UTF-8. */
int ws_send(struct ws *ws, const void *data, size_t len, bool binary);

/* Send what is waiting, then a Close frame. Harmless when not open. */
void ws_shut(struct ws *ws, unsigned code, const char *reason, size_t len);

#endif /* GW_UPSTREAM_WS_H */
