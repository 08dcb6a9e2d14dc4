/* wshub.h - libwebsockets on a loop, for the websocket connections of ws.h.
 *
 * One context of the library per loop, made for the first who needs it and
 * ended behind the last. Its settings are what makes 4.1.6 fit to be a client;
 * docs/websocket.md says why each is there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UPSTREAM_WSHUB_H
#define GW_UPSTREAM_WSHUB_H

#include <libwebsockets.h>
#include <uv.h>

#define WSHUB_CONNECTIONS_MAX 256   /* under way and open; then -ENOBUFS */
#define WSHUB_TRUSTS_MAX      16    /* different ca_file; then -ENOBUFS */
#define WSHUB_READ_SIZE       16384 /* bytes; a whole record of TLS */

struct wshub;

/* That of the loop. NULL: the library does not start (its plugin for libuv may
 * be missing). Ends with wshub_drop(). on_event is the library's callback; all
 * who take a loop's hub have the same. */
struct wshub *wshub_take(uv_loop_t *loop, lws_callback_function *on_event);
void wshub_drop(struct wshub *hub);

struct lws_context *wshub_context(const struct wshub *hub);

/* A place for one connection: its id goes to the library as opaque data, and
 * wshub_owner() finds who has it. The library may speak of a connection after
 * it was given up: its owner takes another id then, and is not found. 0 or
 * -ENOBUFS. */
int wshub_enter(struct wshub *hub, void *owner, uintptr_t *id);
uintptr_t wshub_rename(struct wshub *hub, uintptr_t id);
void wshub_leave(struct wshub *hub, uintptr_t id); /* harmless with 0 */
void *wshub_owner(struct lws *wsi); /* NULL: nobody's, or no wsi */

/* What trusts the authorities of ca_file (NULL: the system's), read once. 0 or
 * -ENOENT, -ENOBUFS, -ENOMEM. */
int wshub_trust(struct wshub *hub, const char *ca_file, struct lws_vhost **out);

#endif /* GW_UPSTREAM_WSHUB_H */
