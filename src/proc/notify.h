/* notify.h - tells systemd how the service is (sd_notify(3)'s protocol, which
 * is one datagram): "Type=notify" in a unit then waits until clients are
 * served.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_NOTIFY_H
#define GW_PROC_NOTIFY_H

#include <stdbool.h>

/* Take the socket's address out of the environment ($NOTIFY_SOCKET), and what
 * systemd's watchdog wants, so that processes started from now on do not speak
 * for the service. */
void notify_keep(void);

/* Did it find one? Then this process is the service that systemd looks after.
 */
bool notify_is_wanted(void);

/* Send a state such as "READY=1", once and without waiting. Nothing happens
 * when notify_keep() found no address. */
void notify_send(const char *state);

/* A sign of life for systemd's watchdog (WatchdogSec= in the unit); nothing
 * where there is none. */
void notify_alive(void);

#endif /* GW_PROC_NOTIFY_H */
