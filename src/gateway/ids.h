/* ids.h - connection ids that no two clients share, restarts included.
 *
 * Ids run from 1 and wrap after 2^32-1. A small file remembers them: ids are
 * taken in blocks, and the number behind the current block is written before
 * its first id is used, so a restarted gateway goes on above. The file holds
 * one decimal number.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_IDS_H
#define GW_GATEWAY_IDS_H

#include <stdint.h>

#define IDS_BLOCK 65536 /* ids per write of the file */

struct ids {
    int fd;        /* owned; -1: nothing is remembered */
    uint32_t next; /* never 0 */
    uint32_t left; /* ids of the block not yet taken */
};

/* Whether ids_init() would take that file. 0, -EINVAL when it holds anything
 * but a number (it may be empty), or -errno. */
int ids_check(int fd);

/* Read where to go on. Takes ownership of fd on success. As ids_check(). */
int ids_init(struct ids *ids, int fd);
void ids_fini(struct ids *ids);

/* The next id. A block that cannot be written is used anyway (logged). */
uint32_t ids_take(struct ids *ids);

#endif /* GW_GATEWAY_IDS_H */
