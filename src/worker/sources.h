/* sources.h - the text of the Lua files that a script was loaded from.
 *
 * A worker keeps those of the script that serves in memory that outlives it.
 * Should it crash while the files on disk do not load, because a reload of them
 * was refused, the next one runs what was kept.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_SOURCES_H
#define GW_WORKER_SOURCES_H

#include <lua.h>
#include <stdbool.h>

#include "util/buf.h"

#define SOURCES_MAX (16 * 1024 * 1024) /* bytes; more are not kept */

struct sources {
    /* What is loaded from disk is only that, or also collected here; or it
     * comes from here if it can. */
    enum { SOURCES_ON_DISK, SOURCES_COLLECTED, SOURCES_REPLAYED } mode;
    struct buf files; /* owned; path and text of each */
    bool too_large;
};

/* luaL_loadfilex() of text, for the vm of L. */
int sources_load(lua_State *L, const char *path);

/* Lua functions: loadfile(path, mode, env) of text, and has_source(path): will
 * loadfile() find it though it is not on disk? */
int sources_loadfile(lua_State *L);
int sources_has(lua_State *L);

/* Replay what was kept in fd; false when nothing was, or not all of it, or fd
 * is 0. */
bool sources_replay(struct sources *s, int fd);

/* Does fd keep something else than what was collected? */
bool sources_differ(const struct sources *s, int fd);

/* Keep what was collected in fd, in place of what is there. */
void sources_keep(const struct sources *s, int fd);

/* From now on everything comes from disk. */
void sources_close(struct sources *s);

#endif /* GW_WORKER_SOURCES_H */
