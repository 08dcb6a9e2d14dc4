/* config.h - conf/gwrun.lua as structs.
 *
 * The file is a Lua program without access to anything but string, table, math
 * and os.getenv; it returns one table. docs/configuration.md lists the keys. A
 * router that is a function keeps the program's state until config_free().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CONFIG_CONFIG_H
#define GW_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "admin/admin_conf.h"
#include "engine/engine.h"
#include "gateway/gateway.h"
#include "master/master.h"
#include "register/register.h"
#include "worker/worker.h"

#define CONFIG_TEXT_MAX     (1024 * 1024) /* bytes of the file */
#define CONFIG_STEPS_MAX    10000000      /* instructions it may run */
#define CONFIG_MEMORY_MAX   (64 * 1024 * 1024)
#define CONFIG_DRAIN_TIME   5.0  /* seconds clients get to leave at a stop */
#define CONFIG_COUNT_MAX    1024 /* processes of one entry */
#define CONFIG_GATEWAYS_MAX 256
#define CONFIG_WORKERS_MAX  64 /* kinds of workers */
#define CONFIG_PROGRAMS_MAX 64

struct config_gateway {
    struct gateway_conf conf;
    const char *listen;       /* "websocket://0.0.0.0:8283", as written */
    const char *address;      /* "0.0.0.0:8283" */
    const char *inner_listen; /* host to bind inner ports on; default lan_ip */
    unsigned count;           /* processes */
};

/* One kind of workers. */
struct config_workers {
    struct worker_conf conf;
    unsigned count;    /* processes; 0: they run elsewhere */
    const char *where; /* in the file: "workers", "workers[2]" */
};

/* A program that is kept running. */
struct config_program {
    struct worker_conf conf;
    const char *const *args; /* NULL-terminated; NULL: none */
    enum master_restart restart;
};

struct config {
    const char *path; /* of the file, as given */
    const char *root; /* folder that relative paths start from, absolute */
    bool has_register;
    struct register_conf register_conf;
    struct config_gateway *gateways;
    size_t ngateways;
    struct config_workers *workers;
    size_t nworkers;       /* kinds */
    bool workers_are_list; /* then each gateway names its own */
    struct config_program *programs;
    size_t nprograms;
    struct admin_conf admin;    /* its listen NULL: there is no such port */
    struct engine_conf cluster; /* what is said of it; its url NULL: nothing */
    struct engine_conf *engine; /* all of it, for the roles; NULL: no cluster */
    /* Of a program beside the system; what workers do not say is as here. */
    struct worker_conf program_conf;
    const char *run_dir;  /* lock, control socket, connection ids */
    const char *book_dir; /* of the gateways' books; NULL: the default, "": none
                           */
    size_t book_session;  /* bytes of a session that is kept in them */
    const char *log_file; /* of a daemon */
    int log_level;
    int log_json;             /* 0: text */
    const char *user, *group; /* NULL: stay who we are */
    double stop_timeout, hang_timeout, drain_time;
    const char *warnings; /* lines about what is allowed and looks wrong; "" */
    const char *expired;  /* lines about certificates out of their time; "" */
    struct pages *pages;  /* borrowed; what all tell (slots_page()), or NULL */
    void *memory;         /* owns everything above */
};

/* Nothing but defaults, for commands that need no file. config_free() ends it.
 */
void config_default(struct config *out);

/* Read the file's text (or text itself when not NULL) and check all of it. 0,
 * or -EINVAL with "file:line: what, where and what to do" lines in *err (the
 * caller frees it). config_free() ends it. */
int config_load(
    struct config *out, const char *path, const char *text, char **err);

/* A sealed descriptor with all that the configuration was made from: its text,
 * keys, certificates. Or -errno. The processes that config_load_kept() it run
 * what was checked, whatever becomes of the files, and need not be allowed to
 * read them. */
int config_keep(const struct config *c);
int config_load_kept(struct config *out, const char *path, int fd, char **err);

/* Read the certificates and keys of all gateways again, those of push APIs too.
 * NULL, or a line about what is wrong, which the caller frees. Whatever it is,
 * config_settle_tls() must follow: take what was read, or forget it. */
char *config_read_tls(struct config *c);
void config_settle_tls(struct config *c, bool take);

/* In between: what that gateway group would get. Is it something new? */
bool config_fresh_tls(const struct config *c, const struct config_gateway *g,
    struct certificates_pem *out);

/* The same for the keys of its push API: their text if it is new, else NULL. */
const char *config_fresh_keys(
    const struct config *c, const struct config_gateway *g);

/* Wipe the keys, of TLS and of APIs, of all gateway groups but one (NULL: of
 * all), in a process that does not serve them. */
void config_forget_keys(struct config *c, const struct config_gateway *but);

/* The same for the key of the operators' port. */
void config_forget_admin_key(struct config *c);

/* As config_load(), for gwrun exec: only register_address, the secret key and
 * the log level are checked. */
int config_load_program(struct config *out, const char *path, char **err);

/* The same for commands to what runs already, which must work while somebody
 * edits the file: only root and run_dir may be used, and run_dir is the default
 * when the file does not tell. Fails when there is no file. */
int config_find(struct config *out, const char *path, char **err);

/* Can every user of this machine speak to the register or to a gateway as their
 * own processes do? There is no secret_key then. */
bool config_is_open(const struct config *c);

/* How many workers of all kinds run here; do any that get the events of g? */
unsigned config_worker_count(const struct config *c);
bool config_works_for(const struct config *c, const struct config_gateway *g);

/* Room in the table that all workers and programs of this machine share. */
size_t config_shared_keys(const struct config *c);

/* Is there anything to start? A file with a register_address only is for
 * programs beside the system. */
bool config_runs(const struct config *c);

void config_free(struct config *c);

#endif /* GW_CONFIG_CONFIG_H */
