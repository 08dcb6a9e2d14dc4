/* watch.h - has any Lua file below a folder changed?
 *
 * By looking at all of them: works on every file system, for editors that
 * replace files as for those that write into them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_WATCH_H
#define GW_CLI_WATCH_H

#include <stdint.h>

#define WATCH_DEPTH_MAX 8    /* folders in folders */
#define WATCH_FILES_MAX 4096 /* entries looked at; more are not watched */

/* A number that changes when a .lua file below folder is written, replaced,
 * added or removed. Links to folders are not followed. */
uint64_t watch_fingerprint(const char *folder);

#endif /* GW_CLI_WATCH_H */
