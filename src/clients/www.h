/* www.h - a folder whose files a port serves: from the target of a request, or
 * a path that a script names, to an open file.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_WWW_H
#define GW_CLIENTS_WWW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "wire/httphead.h"

struct www_file {
    int fd; /* owned; -1: it is a folder, asked for without its slash */
    uint64_t size;
    struct timespec modified;
    const char *type;     /* static */
    const char *encoding; /* static; "br", "gzip", or NULL: as it is */
    bool varies;          /* it lies there in another encoding, too */
};

/* The file under root, a path that realpath() gave, that the target of head
 * means, in the encoding that its client takes. 0, -ENOENT: there is none, or
 * -EMFILE: no descriptor below fd_max is left for it. */
int www_find(struct www_file *out, const char *root,
    const struct httphead *head, int fd_max);

/* The same for a path that is meant as it stands, and no folder. */
int www_open(struct www_file *out, const char *root, const char *path,
    const struct httphead *head, int fd_max);

/* Harmless twice. */
void www_close(struct www_file *file);

#endif /* GW_CLIENTS_WWW_H */
