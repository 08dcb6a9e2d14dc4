/* ids.h - connection ids that no two clients share, restarts included.
 *
 * Ids run from 1 and wrap after 2^32-1. A small file remembers them: ids are
 * taken in blocks, and the number behind the current block is written before
 * its first id is used, so a restarted gateway goes on above. The file holds
 * one decimal number.
 *
 * With a cluster they come in blocks that somebody else gives, lent ones, below
 * IDS_OWN; our own numbers, from IDS_OWN on, are for the time that there is
 * none. Where no file remembers them they begin at random.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_IDS_H
#define GW_GATEWAY_IDS_H

#include <stdbool.h>
#include <stdint.h>

#define IDS_BLOCK 65536 /* ids per write of the file */

#define IDS_OWN 0x80000000u /* the first of our own where others are lent */

/* Ids that are lent. */
struct ids_block {
    uint32_t next, left;
};

struct ids {
    int fd;         /* owned; -1: nothing is remembered */
    uint32_t first; /* of our own */
    uint32_t next;  /* never 0 */
    uint32_t left;  /* ids of the block not yet taken */
    struct ids_block lent, spare;
    void (*on_low)(void *arg); /* a spare block is wanted; NULL: none ever */
    void *arg;                 /* borrowed, handed to it */
};

/* Whether ids_init() would take that file. 0, -EINVAL when it holds anything
 * but a number (it may be empty), or -errno. */
int ids_check(int fd);

/* Read where to go on. Takes ownership of fd on success. As ids_check(). */
int ids_init(struct ids *ids, int fd);
void ids_fini(struct ids *ids);

/* From now on blocks are lent. on_low runs whenever there is no spare one any
 * more, also inside ids_lend() and ids_take(). NULL: nobody is to be asked any
 * more. */
void ids_borrow(struct ids *ids, void (*on_low)(void *arg), void *arg);

/* Does it want one? */
bool ids_are_low(const struct ids *ids);

/* Here is one, below IDS_OWN. */
void ids_lend(struct ids *ids, uint32_t first, uint32_t count);

/* The next id. A block that cannot be written is used anyway (logged). */
uint32_t ids_take(struct ids *ids);

#endif /* GW_GATEWAY_IDS_H */
