/* instance.h - the running instance of a configuration, asked over its control
 * socket by the gwrun command.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_INSTANCE_H
#define GW_CLI_INSTANCE_H

#include <stdbool.h>
#include <sys/types.h>

#include "config/config.h"
#include "util/buf.h"
#include "wire/ctlmsg.h"

struct cli_options;

#define INSTANCE_TIMEOUT      2.5 /* seconds for an answer that needs no work */
#define INSTANCE_LONG_TIMEOUT 75.0 /* for a reload: above the master's own */

struct instance {
    char *lock_path, *control_path; /* owned */
    pid_t pid;                      /* of the master */
    int fd;                         /* -1: not connected */
    struct buf in;
    json_t *hello; /* owned; how it greeted us */
};

/* Find the running master and connect; the current folder is c->root. What is
 * wrong goes to stderr. 0, or the exit status; then nothing is to be closed. */
int instance_open(struct instance *in, const struct config *c);
void instance_close(struct instance *in);

/* Does one run for this configuration? Also one that we may not speak to. */
bool instance_runs(const struct config *c);

/* Does it hold that port? One of an older version does not tell: perhaps. */
bool instance_holds(const struct instance *in, uint16_t port);

/* A whole command to the running instance: parse its options as cli_parse()
 * does, find it, run it. Works while somebody edits the configuration. Returns
 * the exit status. */
int instance_command(int argc, char **argv, const char *letters, int max_words,
    const char *help,
    int (*run)(struct instance *in, const struct cli_options *o));

/* Send m (gives up the reference); the next message, or NULL with the reason on
 * stderr. The caller ends it with json_decref(). */
json_t *instance_ask(struct instance *in, json_t *m, double timeout);
json_t *instance_next(struct instance *in, double timeout);

/* Disconnect and wait until nobody holds the lock. timeout <= 0: for ever. Did
 * it happen? */
bool instance_wait_gone(struct instance *in, double timeout);

#endif /* GW_CLI_INSTANCE_H */
