/* frame.h - the packet between gateways and workers: 28-byte head, ext, body.
 *
 * Source: GatewayWorker src/Protocols/GatewayProtocol.php. All integers are
 * big-endian. Nothing here allocates but the output buffer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_FRAME_H
#define GW_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "wire/client_id.h"

#define FRAME_HEAD_LEN 28
#define FRAME_MAX_LEN \
    (64 << 20) /* bytes, if no max_packet is set; more is -EMSGSIZE */
#define FRAME_LEN_LIMIT (1 << 30) /* no max_packet is larger */

#define FRAME_FLAG_STRING 0x01 /* body is bytes, not a serialized value */
#define FRAME_FLAG_RAW    0x02 /* send body without the client's framing */
/* Between gwrun's own gateways and workers that offer "client_addr": ext_data
 * begins with the client's IPv6 address, for which the head has no room. */
#define FRAME_FLAG_IPV6 0x80
#define FRAME_IPV6_LEN  16
/* Between those that offer "ack": the event was given to another worker before,
 * which did not begin it. */
#define FRAME_FLAG_AGAIN 0x40
/* Between those that offer "session": ext_data begins (behind the address, if
 * there is one) with the number of the worker's changes that the gateway has
 * got; then comes the session. Without it the worker has the session. */
#define FRAME_FLAG_SESSION 0x20
#define FRAME_CHANGES_LEN  4
#define FRAME_ARRIVED_LEN  8 /* of the body of ARRIVED */
/* In ON_CONNECT and ON_CLOSE, between those that offer "book": ext_data begins
 * (behind what others put there) with the place of the client's entry in a
 * book: BOOK has named that. See frame_has_place(). */
#define FRAME_FLAG_BOOK 0x02
#define FRAME_BOOK_LEN  5
/* Beside the book's number, in ON_CLOSE, between those that offer "far_book":
 * whether the client's ON_CONNECT has begun only its worker knows. */
#define FRAME_BOOK_MAYBE 0x80
/* Likewise: the client was another gateway's, which is gone. The head has its
 * address; the book is of those that BOOK has named on this link. */
#define FRAME_BOOK_OTHER 0x40
/* Between those that offer "types", or take them: the type of a message. In
 * ON_MESSAGE what it came as, text being UTF-8; in commands what it shall leave
 * as. Neither: there are no types, or the client's port decides. */
#define FRAME_FLAG_TEXT   0x04
#define FRAME_FLAG_BINARY 0x08
#define FRAME_FLAG_TYPES  (FRAME_FLAG_TEXT | FRAME_FLAG_BINARY)
/* To gateways whose LIMITS say so: in front of a message to clients stands a
 * label (label.h). In events, where TYPES are offered: the client has an event
 * stream. */
#define FRAME_FLAG_LABEL  0x10
#define FRAME_FLAG_STREAM 0x10
/* Of a REQUEST that a gateway gives: a short answer may come behind what its
 * handler has sent, on the command link. */
#define FRAME_FLAG_BEHIND  0x04
#define FRAME_TAKES_LABELS 1 /* of the last 4 bytes of LIMITS; … */
/* … joins and binds whose body says more (demand.h), and ONLY */
#define FRAME_TAKES_DEMANDS 2

/* The largest packet where packet_max (0: not set) is the configuration's. */
static inline size_t frame_max(size_t packet_max)
{
    return packet_max > 0 ? packet_max : FRAME_MAX_LEN;
}

/* What a command is for. */
enum frame_kind {
    FRAME_KIND_EVENT = 1, /* gateway to worker, of a client */
    FRAME_KIND_ORDER,     /* to a gateway, which does something */
    FRAME_KIND_QUESTION,  /* to a gateway, which answers, in their order */
    FRAME_KIND_LINK,      /* about the link itself */
};

/* Every command: its name, its number, and its kind. What GatewayWorker does
 * not have is spoken between gwrun's own gateways and workers, and only when
 * both offer the feature that its comment names. */
#define FRAME_COMMANDS(X)                                                     \
    X(ON_CONNECT, 1, EVENT)                                                   \
    X(ON_MESSAGE, 3, EVENT)                                                   \
    X(ON_CLOSE, 4, EVENT)                                                     \
    X(SEND_TO_ONE, 5, ORDER)                                                  \
    X(SEND_TO_ALL, 6, ORDER)                                                  \
    X(KICK, 7, ORDER)                                                         \
    X(DESTROY, 8, ORDER)                                                      \
    X(UPDATE_SESSION, 9, ORDER)                                               \
    X(GET_ALL_CLIENT_SESSIONS, 10, QUESTION)                                  \
    X(IS_ONLINE, 11, QUESTION)                                                \
    X(BIND_UID, 12, ORDER)                                                    \
    X(UNBIND_UID, 13, ORDER)                                                  \
    X(SEND_TO_UID, 14, ORDER)                                                 \
    X(GET_CLIENT_ID_BY_UID, 15, QUESTION)                                     \
    X(BATCH_GET_CLIENT_ID_BY_UID, 16, QUESTION)                               \
    X(JOIN_GROUP, 20, ORDER)                                                  \
    X(LEAVE_GROUP, 21, ORDER)                                                 \
    X(SEND_TO_GROUP, 22, ORDER)                                               \
    X(GET_CLIENT_SESSIONS_BY_GROUP, 23, QUESTION)                             \
    X(GET_CLIENT_COUNT_BY_GROUP, 24, QUESTION)                                \
    X(SELECT, 25, QUESTION)                                                   \
    X(GET_GROUP_ID_LIST, 26, QUESTION)                                        \
    X(UNGROUP, 27, ORDER)                                                     \
    X(BATCH_GET_CLIENT_COUNT_BY_GROUP, 28, QUESTION)                          \
    X(WORKER_CONNECT, 200, LINK)                                              \
    X(PING, 201, LINK)                                                        \
    X(GATEWAY_CLIENT_CONNECT, 202, LINK)                                      \
    X(GET_SESSION_BY_CLIENT_ID, 203, QUESTION)                                \
    X(SET_SESSION, 204, ORDER)                                                \
    X(ON_WEBSOCKET_CONNECT, 205, EVENT)                                       \
    /* where LIMITS say so: a uid is of the login of that time alone */       \
    X(ONLY, 220, ORDER)                                                       \
    /* "window": clients whose first event that waits could begin */          \
    X(WANTS, 233, LINK)                                                       \
    /* "window": how many events may begin at first: ack.h */                 \
    X(WINDOW, 234, LINK)                                                      \
    /* "window": what more may; an answer that begins with that byte */       \
    X(GRANT, 235, LINK)                                                       \
    /* "far_book": where the gateway's book is, 8 bytes; or a client: it is   \
     * another worker's now */                                                \
    X(KEEPS, 236, LINK)                                                       \
    /* "arrived": when the events behind it came; docs/protocol.md */         \
    X(ARRIVED, 237, LINK)                                                     \
    /* "left": of which lost links more is to be told; back that: ack.h */    \
    X(LEFT, 238, LINK)                                                        \
    /* "bound": shall clients be told of; back yes or no; one is yours now */ \
    X(BOUND, 239, LINK)                                                       \
    /* "handshake": does the script decide about handshakes? */               \
    X(HANDSHAKE_WATCH, 240, LINK)                                             \
    /* "handshake": a request, and back the answer to it */                   \
    X(HANDSHAKE, 241, LINK)                                                   \
    /* "ack": tell what you begin; back what was begun: ack.h */              \
    X(ACK, 242, LINK)                                                         \
    /* "session": save by changes; or: forget the client's */                 \
    X(SESSION, 243, LINK)                                                     \
    /* "session": a change, as phpser_apply() takes it */                     \
    X(PATCH_SESSION, 244, ORDER)                                              \
    /* "limits": what the gateway allows, docs/protocol.md */                 \
    X(LIMITS, 245, LINK)                                                      \
    /* "name": what the gateway is called in its configuration */             \
    X(NAME, 246, LINK)                                                        \
    /* "types", before the first event: the gateway takes FRAME_FLAG_TYPES */ \
    X(TYPES, 247, LINK)                                                       \
    /* "claims": the name of a page, for claims_open() */                     \
    X(CLAIMS, 248, LINK)                                                      \
    /* "receipts": how many of your orders have been run: receipt.h */        \
    X(HANDLED, 249, LINK)                                                     \
    /* "ack": the event with this number does not end: ack.h */               \
    X(HANGS, 250, LINK)                                                       \
    /* "request": does the script answer requests? */                         \
    X(REQUEST_WATCH, 251, LINK)                                               \
    /* "request": one, as httpcall.h has it, and back answer.h */             \
    X(REQUEST, 252, LINK)                                                     \
    /* "request": numbers of those that have begun, 4 bytes each */           \
    X(REQUEST_BEGUN, 253, LINK)                                               \
    /* "book": a book's number, 1 byte, and the name of its file */           \
    X(BOOK, 254, LINK)

#define FRAME_NUMBER(name, number, kind) FRAME_##name = (number),
enum frame_cmd { FRAME_COMMANDS(FRAME_NUMBER) };
#undef FRAME_NUMBER

struct frame {
    uint8_t cmd;
    uint8_t flag;
    uint8_t book; /* with FRAME_FLAG_BOOK: the number that BOOK gave it … */
    uint32_t local_ip; /* host order; the gateway's lan_ip */
    uint16_t local_port;
    uint16_t gateway_port;
    uint32_t client_ip; /* host order; 0 for an IPv6 client */
    uint16_t client_port;
    uint8_t client_ip6[FRAME_IPV6_LEN]; /* with FRAME_FLAG_IPV6 */
    uint32_t connection_id;
    uint32_t changes; /* with FRAME_FLAG_SESSION */
    uint32_t place;   /* … and the client's in it */
    size_t ext_len;
    size_t body_len;
    const uint8_t *ext;  /* borrowed; without what flags put in front */
    const uint8_t *body; /* borrowed */
};

/* Whose event it is, or whom its command is for. */
static inline struct client_id frame_client(const struct frame *f)
{
    return (struct client_id){f->local_ip, f->local_port, f->connection_id};
}

/* Whether it says where its client's entry is: book and place. */
static inline bool frame_has_place(const struct frame *f)
{
    return f->flag & FRAME_FLAG_BOOK &&
           (f->cmd == FRAME_ON_CONNECT || f->cmd == FRAME_ON_CLOSE);
}

/* Whether its client was another gateway's than the one that gives it. */
static inline bool frame_is_of_other(const struct frame *f)
{
    return frame_has_place(f) && f->book & FRAME_BOOK_OTHER;
}

/* What an ACK calls a client: its connection id, or of one of another gateway
 * what is no own client's, whose ids count from 1. book: a number below 32. */
static inline uint32_t frame_id_of_other(unsigned book, uint32_t connection_id)
{
    return ~(connection_id + ((uint32_t)book << 24));
}

static inline uint32_t frame_ack_id(const struct frame *f)
{
    return frame_is_of_other(f)
               ? frame_id_of_other(f->book % 32, f->connection_id)
               : f->connection_id;
}

/* The length of the packet at data: > 0, 0 need more bytes, -EPROTO claimed
 * length below 28, -EMSGSIZE above limit. A positive result may be larger than
 * len: then the packet is not whole yet. Reads at most the first 4 bytes. */
ssize_t frame_measure(const uint8_t *data, size_t len, size_t limit);

/* Decode one whole packet of len bytes (as frame_measure() said) in place:
 * ext and body point into data. 0, or -EPROTO. */
int frame_decode(struct frame *f, const uint8_t *data, size_t len);

/* The command of a whole packet. */
uint8_t frame_cmd(const uint8_t *packet);

/* Its body, for commands of which nothing else counts: as frame_decode() finds
 * it, in a fraction of the time. NULL: the packet is not valid. */
const uint8_t *frame_body(const uint8_t *packet, size_t len, size_t *body_len);

/* The connection id in the head of a whole packet. */
uint32_t frame_connection_id(const uint8_t *packet);

/* Append the packet to out. The lengths' sum must stay below 4 GiB. */
void frame_encode(struct buf *out, const struct frame *f);

/* "ON_MESSAGE" …, "?" when unknown. Static. */
const char *frame_cmd_name(uint8_t cmd);

/* 0 when unknown. */
enum frame_kind frame_cmd_kind(uint8_t cmd);

#endif /* GW_WIRE_FRAME_H */
