/* cli.h - the gwrun command: one function a subcommand, and what they share.
 *
 * A command function gets argv[0] = its own name and the words behind it, and
 * returns the exit status.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_CLI_H
#define GW_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include "cli/traceback.h"
#include "config/config.h"
#include "wire/ctlmsg.h"

#define CLI_CONFIG "conf/gwrun.lua" /* when no -c names another file */

/* Exit statuses. */
enum {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_WRONG = 2, /* usage or configuration */
};

int cmd_attach(int argc, char **argv);
int cmd_ban(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_child(int argc, char **argv);
int cmd_connections(int argc, char **argv);
int cmd_dev(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_kick(int argc, char **argv);
int cmd_new(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* The options that several commands know. */
struct cli_options {
    const char *config; /* -c, --config FILE; CLI_CONFIG when not given */
    bool has_config;    /* -c was given */
    bool daemon;        /* D: -d, --daemon */
    bool live;          /* L: -d, --live */
    bool graceful;      /* -g, --graceful */
    bool json;          /* -j, --json */
    bool cluster;       /* C: --cluster */
    bool quiet;         /* -q, --quiet */
    const char *uid, *group, *ip; /* U, G, I: --uid, --group, --ip; or NULL */
    bool undo;                    /* u: --undo */
    const char *code;             /* e: -e CODE; or NULL */
    const char *template;         /* t: -t, --template NAME; or NULL */
    char **words;                 /* borrowed; those behind the options */
    int nwords;
};

/* gwrun status --cluster. */
int cmd_cluster(const struct cli_options *o);

/* The clients that --uid, --group, --ip and client_id (or NULL) mean, as fields
 * of a message to the master; NULL: --ip is wrong, which is on stderr. */
json_t *cli_pick(const struct cli_options *o, const char *client_id);

/* Parse those of the options whose letters are given ("cDq"), and --help, which
 * prints help. With "+" in front they end at the first word. The words behind
 * them start at argv[optind]; more than max_words is wrong. -1 to go on, or the
 * exit status. */
int cli_parse(struct cli_options *out, int argc, char **argv,
    const char *letters, int max_words, const char *help);

/* "gwrun: message" on stderr. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* value as a line of JSON on stdout; what is not plain (utf8_plain_len()) is
 * escaped. flags: jansson's. */
void cli_print_json(const json_t *value, size_t flags);

/* Load the configuration, with the error on stderr. 0, or the exit status.
 * config_free() ends it. */
int cli_read(struct config *out, const char *path);

/* The same with config_load_program(). */
int cli_read_program(struct config *out, const char *path);

/* As cli_read(), and go to its root folder. */
int cli_load(struct config *out, const char *path);

/* The same, and refuse one that starts nothing. */
int cli_load_to_run(struct config *out, const char *path);

/* cli_load() with config_find(). */
int cli_find(struct config *out, const char *path);

/* Do the workers' scripts and the programs compile? Else it is on stderr. */
bool cli_scripts_compile(const struct config *c);
bool cli_programs_compile(const struct config *c);

/* How an error of c's script is shown on out. */
struct traceback_style cli_style(const struct config *c, FILE *out);

/* Print the error to out, with the source around it. */
void cli_script_error(const struct config *c, FILE *out, const char *error);

/* The log shows the errors of scripts so, too; style is borrowed. */
void cli_show_errors(const struct traceback_style *style);

/* Run what is left on the loop and close it. A host's name that is being looked
 * up cannot be stopped: it is waited for a short time, then the process exits
 * with status here. */
void cli_close_loop(uv_loop_t *loop, int status);

/* Start everything and stay until it is stopped. c is borrowed, its
 * certificates may change; path is its file, absolute; the current folder is
 * c->root. Nothing but 0, 1, 2 and what c needs is open. Returns the exit
 * status. */
int cli_run(struct config *c, const char *path, bool daemon, bool quiet);

#endif /* GW_CLI_CLI_H */
