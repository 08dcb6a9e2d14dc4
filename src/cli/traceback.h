/* traceback.h - a script's error as people want it: where, why, the lines of
 * source around it, and the script's own part of the traceback.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_TRACEBACK_H
#define GW_CLI_TRACEBACK_H

#include <stdbool.h>

#define TRACEBACK_FILE_MAX                            \
    (1024 * 1024) /* bytes; larger ones are not shown \
                   */

struct traceback_style {
    const char *lua_dir; /* what is in there is gwrun's, and left out */
    const char *script;  /* where files may be whose names Lua has cut */
    bool color;
};

/* What Lua says about an error, its message and traceback, becomes text of many
 * lines without a newline at the end; what is not plain (utf8_plain_len()) but
 * tabs comes out as "?". Files are looked for from the current folder. The
 * caller frees it. */
char *traceback_show(const char *error, const struct traceback_style *style);

#endif /* GW_CLI_TRACEBACK_H */
