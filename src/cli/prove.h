/* prove.h - can a configuration be started? Asked before anything that runs is
 * ended.
 *
 * config_load() has proven what the file says, keys and certificates included.
 * Here are ports, files that are written, and the scripts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_PROVE_H
#define GW_CLI_PROVE_H

#include <stdbool.h>

#include "config/config.h"

struct instance;

struct prove {
    struct config *config;          /* borrowed */
    const struct instance *running; /* borrowed; whose ports count as free;
                                       NULL: nothing runs */
    bool hidden; /* one runs, but nobody may ask it for its ports */
    bool check;  /* for gwrun check: whoever starts it may be allowed to more */
    bool daemon; /* it will run in the background */
};

/* Print what config_load() found worth a line. Certificates out of their time
 * are wrong when strict; else they are warnings, too: what does not run is not
 * kept from running by them. Is all well? */
bool prove_config(const struct config *c, bool strict);

/* Ask the cluster's server whether it will do; nothing without cluster. One
 * that cannot be reached is a warning, since a start serves without it; one
 * that refuses is wrong when strict, else a warning, too. Is all well? */
bool prove_cluster(const struct config *c, bool strict);

/* Bind every port for a moment, look at the files, and load each kind of
 * workers' script in a process of its own, as the user that workers become; its
 * onWorkerStart and onWorkerStop are called. Programs are only compiled. What
 * is wrong goes to stderr. Is all well? Then conf.sources_fd of each kind keeps
 * its script as it was loaded, until prove_forget(). */
bool prove_start(const struct prove *p);
void prove_forget(struct config *c);

#endif /* GW_CLI_PROVE_H */
