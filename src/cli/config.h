/* config.h - conf/gwrun.lua as structs.
 *
 * The file is a Lua program without access to anything but string, table, math
 * and os.getenv; it returns one table. docs/configuration.md lists the keys. A
 * router that is a function keeps the program's state until config_free().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_CONFIG_H
#define GW_CLI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/gateway.h"
#include "register/register.h"
#include "worker/worker.h"

#define CONFIG_TEXT_MAX     (1024 * 1024) /* bytes of the file */
#define CONFIG_STEPS_MAX    10000000      /* instructions it may run */
#define CONFIG_MEMORY_MAX   (64 * 1024 * 1024)
#define CONFIG_DRAIN_TIME   5.0  /* seconds clients get to leave at a stop */
#define CONFIG_COUNT_MAX    1024 /* processes of one entry */
#define CONFIG_GATEWAYS_MAX 256

struct config_gateway {
    struct gateway_conf conf;
    const char *listen;       /* "websocket://0.0.0.0:8283", as written */
    const char *address;      /* "0.0.0.0:8283" */
    const char *inner_listen; /* host to bind inner ports on; default lan_ip */
    unsigned count;           /* processes */
};

struct config {
    const char *path; /* of the file, as given */
    const char *root; /* folder that relative paths start from, absolute */
    bool has_register;
    struct register_conf register_conf;
    struct config_gateway *gateways;
    size_t ngateways;
    bool has_workers;
    struct worker_conf worker_conf;
    unsigned worker_count;
    const char *run_dir;  /* lock, control socket, connection ids */
    const char *log_file; /* of a daemon */
    int log_level;
    const char *user, *group; /* NULL: stay who we are */
    double stop_timeout, hang_timeout, drain_time;
    void *memory; /* owns everything above */
};

/* Nothing but defaults, for commands that need no file. config_free() ends it.
 */
void config_default(struct config *out);

/* Read the file's text (or text itself when not NULL) and check all of it. 0,
 * or -EINVAL with "file:line: what, where and what to do" lines in *err (the
 * caller frees it). config_free() ends it. */
int config_load(
    struct config *out, const char *path, const char *text, char **err);

/* The same for commands to what runs already, which must work while somebody
 * edits the file: only root and run_dir may be used, and run_dir is the default
 * when the file does not tell. Fails when there is no file. */
int config_find(struct config *out, const char *path, char **err);

void config_free(struct config *c);

#endif /* GW_CLI_CONFIG_H */
