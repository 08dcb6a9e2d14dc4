/* port.h - the clients' sockets: websocket, text, frame, tcp, each with or
 * without TLS, and the static files of a websocket port.
 *
 * One struct port per client port of a gateway. The sockets, requests and
 * frames are read here; OpenSSL does TLS.
 *
 * A websocket connection becomes a client when its upgrade request has passed
 * the guard, just before the 101; a plain HTTP request never does. The other
 * protocols' connections are clients from their accept (TLS: from the end of
 * the TLS handshake) on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_PORT_H
#define GW_CLIENTS_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/client_conn.h"
#include "clients/port_conf.h"
#include "net/addr.h"
#include "net/turn.h"
#include "util/blob.h"

struct port;

/* Prepare to serve; the listening socket fd is bound, not listening; ownership
 * passes on success. conf and what it points to must outlive it. 0, or -errno
 * with a line in err that names the file or setting at fault. With TLS the
 * process must ignore SIGPIPE. */
int port_new(struct port **out, struct turn *turn, int fd,
    const struct port_conf *conf, const struct client_conn_ops *ops, void *arg,
    char err[256]);

/* Begin to accept. */
int port_listen(struct port *port);

/* No new connections from now on: they are refused, although the master holds
 * the socket, too. */
void port_stop_listening(struct port *port);

/* Serve a connected, non-blocking stream socket as if it had been accepted from
 * peer. Takes ownership of fd. */
void port_adopt(struct port *port, int fd, const union addr *peer);

/* As limits_ban(): no new connection and no request of peer's for so many
 * seconds; of the connections that it has, those are closed that are no
 * clients yet. */
int port_ban(struct port *port, const union addr *peer, double seconds);

/* Get ready to serve new connections with another certificate and key; both
 * are borrowed for the call. 0, or -EINVAL with a line in err. Then either take
 * them or leave it. Harmless on a port without TLS. */
int port_prepare_tls(
    struct port *port, const char *cert, const char *key, char err[256]);
void port_settle_tls(struct port *port, bool take);

/* The same for the keys of the push API. Harmless on a port without one. */
int port_prepare_keys(struct port *port, const char *keys, char err[256]);
void port_settle_keys(struct port *port, bool take);

/* The access log was moved away: write to a new one. Harmless without one. */
void port_reopen_log(struct port *port);

/* What TLS session tickets are sealed with, from now on and over reloads. The
 * same in several processes: a client may come back to any of them without a
 * whole handshake. */
void port_set_ticket_key(
    struct port *port, const uint8_t key[CERTIFICATES_TICKET_KEY_LEN]);

/* Close everything. Clients still there get on_close() inside the call. Its
 * loop handles close on the following turns. */
void port_free(struct port *port);

const struct port_counters *port_counters(const struct port *port);

const struct client_protocol *port_protocol(const struct port *port);

/* Put a message in the form that this protocol, one of its clients', has on the
 * wire, for many client_conn_send_blob() calls. What is not UTF-8 in a text
 * frame becomes U+FFFD, counted and logged. The caller drops its reference,
 * before it frees port. */
struct blob *port_frame(struct port *port, const struct client_protocol *p,
    const struct protocol_message *what);

/* A binary message was meant for a client whose protocol has none. */
void port_count_binary(struct port *port);

#endif /* GW_CLIENTS_PORT_H */
