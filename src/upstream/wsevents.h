/* wsevents.h - what libwebsockets tells of websocket connections.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_WSEVENTS_H
#define GW_UPSTREAM_WSEVENTS_H

#include <libwebsockets.h>

/* The library's callback, for wshub_take(). */
int wsevents_take(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len);

#endif /* GW_UPSTREAM_WSEVENTS_H */
