/* files.h - the answer to a request for a file of www.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_FILES_H
#define GW_CLIENTS_FILES_H

#include "clients/response.h"
#include "util/buf.h"
#include "wire/httphead.h"

struct client_conn;
struct client_shared;
struct files; /* one answer */

/* The answer to a GET or HEAD with this head, which the caller frees. 0,
 * -ENOENT: www has no such file, or -EMFILE, counted: too many are open. */
int files_find(struct files **out, struct client_shared *shared,
    const struct httphead *head);

/* The same for a file that a script names, below the folder of files. */
int files_named(struct files **out, struct client_shared *shared,
    const struct answer_part *name, const struct httphead *head);
void files_free(struct files *f);

/* Append its head to out, and return its status. said, or NULL: of whose
 * headers each goes before the file's own, and whose status makes it all of the
 * file if that is not 200. cache_control: the value of that header, unless said
 * has one. */
unsigned files_put_head(struct files *f, struct buf *out,
    const struct httphead *head, const struct answer *said,
    const char *cache_control, const struct response_form *form);

/* Bytes that follow what has been sent. */
uint64_t files_left(const struct files *f);

/* Send c, whose queue is empty, some of what follows the head. 1: more is to
 * follow; 0: all has been sent, or lies in the queue; -errno: it cannot be read
 * to its end, or c has left. */
int files_send(struct files *f, struct client_conn *c);

#endif /* GW_CLIENTS_FILES_H */
