/* origins.h - which line of the script sent these bytes.
 *
 * For gwrun dev, where gateway and worker are one process: the gateway finds
 * that a message is not UTF-8 long after the call that sent it has returned.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_ORIGINS_H
#define GW_CLI_ORIGINS_H

#include <stddef.h>
#include <stdint.h>

#define ORIGINS_KEPT 64 /* messages; of older ones nothing is known */

/* All zeros is a valid empty one. */
struct origins {
    struct origin {
        uint32_t hash;
        size_t len;
        char *traceback; /* owned; NULL: not used yet */
    } kept[ORIGINS_KEPT];
    size_t next;
};

void origins_note(
    struct origins *o, const void *data, size_t len, const char *traceback);

/* Of the newest message with these bytes; borrowed. NULL: not known. */
const char *origins_find(const struct origins *o, const void *data, size_t len);

void origins_fini(struct origins *o);

#endif /* GW_CLI_ORIGINS_H */
