/* ws_impl.h - what ws.c, wsdial.c and wsevents.c share. */
#ifndef GW_UPSTREAM_WS_IMPL_H
#define GW_UPSTREAM_WS_IMPL_H

#include <libwebsockets.h>

#include "net/clock.h"
#include "net/turn.h"
#include "upstream/ws.h"
#include "upstream/wshub.h"
#include "util/buf.h"

#define WS_WHY_SIZE      200 /* with the NUL; more is cut */
#define WS_PROTOCOL_SIZE 128

/* A message to be sent, with room for the library's frame in front. */
struct outgoing {
    struct list node;
    size_t len;
    bool binary;
    uint8_t space[]; /* LWS_PRE, then the message */
};

struct ws {
    uv_timer_t timer;
    struct turn_task task;
    struct turn *turn;   /* borrowed; NULL once the owner is gone */
    struct wshub *hub;   /* shared */
    uintptr_t id;        /* of this try, among the hub's; 0: none yet */
    struct lws *wsi;     /* the library's; NULL when there is none */
    enum ws_state state; /* as the owner knows it */
    ws_change_cb on_change;
    void *arg; /* borrowed, handed to on_change */

    char *host, *origin, *path, *protocols; /* owned; origin: host and port */
    struct buf headers;
    uint16_t port;
    bool tls, insecure;
    struct lws_vhost *vhost;     /* the library's */
    struct resolve *lookup;      /* owned; NULL unless one is under way */
    struct addrinfo *list;       /* owned */
    const struct addrinfo *next; /* to be tried next */
    uint64_t ping_ms, idle_ms;
    uint64_t heard_at, pinged_at; /* ms of the loop */

    bool opened;     /* once */
    bool reached;    /* the server's socket has accepted us */
    bool lost;       /* the library has let go of wsi */
    bool changed;    /* on_change is due */
    bool paused;     /* nothing is read */
    bool ping_due;   /* at the next write */
    bool close_sent; /* ours; theirs is the end */
    bool in_message; /* partial is of one that is not whole */
    bool partial_binary;
    char protocol[WS_PROTOCOL_SIZE];

    struct list waiting; /* messages to be taken */
    size_t waiting_bytes;
    struct buf partial;
    size_t message_max;
    struct list queue; /* to be sent */
    size_t queued, writing, queue_max;

    int err; /* < 0: why it is lost */
    char why[WS_WHY_SIZE];
    unsigned code; /* of a Close frame; 0: none yet */
    char reason[WS_REASON_MAX];
    size_t reason_len;
};

/* Something is to be done at the end of the turn. ws may be gone when its owner
 * is: nothing may be done to it afterwards. */
void ws_note(struct ws *ws);

/* The first reason is the one that counts. */
void ws_fail(struct ws *ws, int err, const char *why);

/* The library's own connection has ended, or will by itself. As ws_note(). */
void ws_lose(struct ws *ws);

/* What the library still has to say about this try is not for us. */
void ws_forget_try(struct ws *ws);

/* Read no more than is taken. */
void ws_control_flow(struct ws *ws);

/* It has that long to become open. */
void ws_watch_connect(struct ws *ws, uint64_t ms);

/* It is open: wake up when it needs a ping, or has been silent too long. */
void ws_watch(struct ws *ws);

/* It is being closed, and has time until WS_CLOSE_MS have passed. */
void ws_watch_close(struct ws *ws);

#endif /* GW_UPSTREAM_WS_IMPL_H */
