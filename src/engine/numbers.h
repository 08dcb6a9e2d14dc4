/* numbers.h - connection ids for a gateway, in blocks, of which Redis gives
 * each address every one once: a machine that gets the address of one that is
 * gone gives no client an id that another client had.
 *
 *   NAME:ids:IP:PORT   ids given out so far; it does not expire
 *
 * They are below NUMBERS_END and go round; those above are the gateways' own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_NUMBERS_H
#define GW_ENGINE_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#define NUMBERS_BLOCK 65536       /* ids in a block; the first lacks id 0 */
#define NUMBERS_END   0x80000000u /* the first id that is a gateway's own */

/* Who asks. Borrowed until the engine is closed. */
struct numbers {
    /* first is 0 when there is no block. */
    void (*done)(uint32_t first, uint32_t count, void *arg);
    void *arg;      /* borrowed */
    uint64_t given; /* to this address, as the last reply said */
    bool asking;
};

/* Ask for the next block for this gateway's address, unless it is under way, or
 * the engine is away. done runs on a later turn. */
void numbers_ask(struct numbers *n, struct engine *e);

#endif /* GW_ENGINE_NUMBERS_H */
