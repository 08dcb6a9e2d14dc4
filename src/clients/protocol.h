/* protocol.h - what a client port speaks: how bytes become messages, and
 * messages bytes.
 *
 * A protocol is one struct in a file of its own (proto_*.c) and a line in the
 * table of names (protocol.c). Sockets, TLS, queues, limits and the states of a
 * connection are the same for all and know of no protocol but this struct.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_PROTOCOL_H
#define GW_CLIENTS_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "wire/label.h"

struct client_conn;
struct client_shared;

/* What a message is where the protocol tells: on a websocket. */
enum protocol_form {
    PROTOCOL_AS_USUAL, /* from a client: there are no types; to it: as the
                           configuration says */
    PROTOCOL_AS_TEXT,
    PROTOCOL_AS_BINARY,
    PROTOCOL_AS_IS, /* to a client, on every port: no framing */
};

/* A message to clients. */
struct protocol_message {
    const void *data; /* borrowed */
    size_t len;
    enum protocol_form form;
    const struct label *label; /* borrowed; NULL: it has none */
};

struct client_protocol {
    const char *name; /* for people */
    /* A connection begins with an HTTP request and is a client once that was
     * let in; otherwise it is one from its first moment on. */
    bool begins_with_request;
    /* Such a request may ask to become a websocket. */
    bool upgrades;
    /* Its clients' messages are text or binary, or text; PHP's values that are
     * no strings go out as JSON. */
    bool has_types;
    /* Its client hears and does not speak: binary messages cannot be sent, and
     * silence means nothing. */
    bool goes_one_way;
    /* Deliver the whole messages at data, in place, by recv_deliver();
     * stop when c is not taken
     * (client_conn_is_taken()) any more. Returns the bytes used;
     * those behind come again with more. One that breaks the rules ends by
     * recv_fail(). */
    size_t (*take)(struct client_conn *c, uint8_t *data, size_t len);
    /* Whether these bytes, behind a message that is not whole, cannot complete
     * it either: spares the search from its beginning. NULL: not known. */
    bool (*goes_on)(
        const struct client_conn *c, const uint8_t *data, size_t len);
    /* Append a message as it stands on the wire; form is not AS_IS. */
    void (*put)(struct client_shared *shared, struct buf *out, const void *data,
        size_t len, enum protocol_form form);
    /* Append what names a message, in front of it. NULL: names mean nothing. */
    void (*put_label)(struct buf *out, const struct label *label);
    /* Queue a ping, which its peer must answer unless it goes one way. NULL: it
     * has none. */
    void (*ping)(struct client_conn *c);
    /* Queue a goodbye, which its peer must answer unless it goes one way;
     * reason may be NULL. NULL: it has none. */
    void (*say_goodbye)(struct client_conn *c, int code, const char *reason);
};

/* Append a message in the form that p has on the wire. */
static inline void protocol_put(const struct client_protocol *p,
    struct client_shared *shared, struct buf *out, const void *data, size_t len,
    enum protocol_form form)
{
    if (form == PROTOCOL_AS_IS)
        buf_append(out, data, len);
    else
        p->put(shared, out, data, len, form);
}

/* Requests and nothing else: its clients have event streams. */
extern const struct client_protocol proto_http;
/* What a request may become, on any port that has requests. */
extern const struct client_protocol proto_sse;
/* RFC 6455. */
extern const struct client_protocol proto_websocket;
/* GatewayWorker's Text, Frame and Tcp: lines; a length of 4 bytes in front;
 * whatever arrives is a message. */
extern const struct client_protocol proto_text, proto_frame, proto_tcp;

/* What listen = "…" may begin with. */
struct protocol_scheme {
    const char *prefix; /* "websocket://" */
    const struct client_protocol *protocol;
    bool tls; /* and nothing else */
};

/* The scheme that an address begins with, in any case; NULL: none. */
const struct protocol_scheme *protocol_find(const char *listen);

#endif /* GW_CLIENTS_PROTOCOL_H */
