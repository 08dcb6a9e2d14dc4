/* files.h - requests for files of www.
 *
 * libwebsockets answers them, at the other end of a socket pair. It sees no
 * byte of a client, only a request that was written for it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_FILES_H
#define GW_CLIENTS_FILES_H

#include <stdbool.h>

struct client_conn;
struct client_shared;
struct httphead;

#define FILES_FDS_MAX 2000000 /* libwebsockets' tables are made for */

/* Start it for conf's www. 0, or -errno with a line in err; files_close() is
 * due in any case. */
int files_open(struct client_shared *shared, char err[256]);
/* Begin to end it. Its handles close on the following turns; then it ends. */
void files_close(struct client_shared *shared);
void files_end(struct client_shared *shared);

/* Let it answer the request of c, a GET or HEAD: c goes from REQUEST to
 * ANSWERING. 0, or the status to refuse with. */
unsigned files_serve(struct client_conn *c, const struct httphead *head);

/* Whether www has the file that a request for target means. */
bool files_has(const struct client_shared *shared, const char *target);

#endif /* GW_CLIENTS_FILES_H */
