/* config_impl.h - what the files of config share: reading typed values out of
 * Lua tables, collecting complaints, memory that is freed as one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CONFIG_CONFIG_IMPL_H
#define GW_CONFIG_CONFIG_IMPL_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "config/config.h"
#include "util/buf.h"

#define CONFIG_WHERE_SIZE     160  /* "gateways[12].tls.cert" and its NUL */
#define CONFIG_COMPLAINTS_MAX 50   /* lines; more only say "and more" */
#define CONFIG_LIST_MAX       1024 /* entries of a list */

/* A text that the configuration was made from: a file's, the address that a
 * host had, … */
struct config_file {
    struct config_file *next;
    char *name; /* owned; an absolute path, CONFIG_TEXT_NAME, … */
    char *text; /* owned; ends with a NUL behind len bytes */
    size_t len;
};

#define CONFIG_TEXT_NAME    ""              /* the configuration's own text */
#define CONFIG_MACHINE_NAME "machine token" /* worker_conf.machine */

/* What lives as long as the configuration. */
struct config_memory {
    struct config_block *blocks; /* owned */
    struct config_file *files;   /* owned; the newest is first */
    struct config_file *fresh;   /* owned; what a reload may take */
    bool kept;       /* these are all: nothing on the disk is looked at */
    lua_State *lua;  /* owned; NULL: nothing of the file is called */
    size_t lua_used; /* bytes of the Lua state */
};

/* Zeroed; freed by config_memory_free(). */
void *config_alloc(struct config_memory *m, size_t size);
char *config_strdup(struct config_memory *m, const char *s);
void config_memory_free(struct config_memory *m);

/* config_files.c: each file is read once, for all processes. */

/* The file of that name, or NULL; put one in front, copied. */
struct config_file *config_file_find(
    struct config_file *list, const char *name);
struct config_file *config_file_add(
    struct config_file **list, const char *name, const char *text, size_t len);
void config_files_free(struct config_file *list);

/* path as seen from the root folder; the caller frees it. */
char *config_path(const struct config *c, const char *path);

/* The text of a file on the disk, with a NUL behind its len bytes; the caller
 * frees it. 0, or -errno; -EFBIG above CONFIG_FILE_MAX. */
#define CONFIG_FILE_MAX (1024 * 1024)
int config_file_read(const char *path, char **text, size_t *len);

/* Those in a descriptor that config_keep() made. 0 or -EBADMSG. */
int config_files_take(struct config_memory *m, int fd);

/* A configuration while it is read. */
struct config_load {
    struct config c;
    const char *secret_key;
    const char *secret_key_also;
    const char *secret_key_file;
    const char *const *register_addresses; /* the top level's */
    const char *const *listed;             /* discovery.gateways, or NULL */
    struct config_memory *memory;          /* borrowed */
    struct buf complaints;                 /* owned; lines */
    size_t ncomplaints;
    struct buf warnings; /* owned; lines */
    struct buf expired;  /* owned; lines */
    bool has_functions;  /* the Lua state must stay */
    bool program;        /* for gwrun exec: only who to join matters */
};

#define CONFIG_CHUNK "config" /* the file's name in Lua's own messages */

/* The error on top of L's stack with the file's path for that name. The caller
 * frees it. */
char *config_lua_message(lua_State *L, const char *path);

/* Add the line "file: where: message". where "" leaves it out. */
void config_complain(struct config_load *l, const char *where, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* The same for what does not keep the system from running. */
void config_warn(struct config_load *l, struct buf *lines, const char *where,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

enum config_kind {
    CONFIG_TEXT,      /* const char *, min … max bytes */
    CONFIG_TEXTS,     /* const char *const *, NULL-terminated; one or a list */
    CONFIG_SIZE,      /* size_t */
    CONFIG_COUNT,     /* unsigned */
    CONFIG_PORT,      /* uint16_t */
    CONFIG_SECONDS,   /* double */
    CONFIG_BOOL,      /* bool */
    CONFIG_WORD,      /* int or enum: the place in words */
    CONFIG_EITHER,    /* bool: words[1] and not words[0] */
    CONFIG_TABLE,     /* a table with fields of the same struct */
    CONFIG_ELSEWHERE, /* known here, read by somebody else */
};

/* One key of a table. An absent key leaves the struct as it is. */
struct config_field {
    const char *key;
    enum config_kind kind;
    size_t offset; /* in the struct that config_read_table() is given */
    double min, max;
    const char *want; /* what to give, for messages; NULL: made from the rest */
    const char *const *words;          /* NULL-terminated */
    const struct config_field *fields; /* of CONFIG_TABLE; key NULL ends them */
    /* Takes the function on top of L's stack into base; NULL: none is taken. */
    void (*take_function)(struct config_load *l, lua_State *L, void *base);
    bool required;
};

/* Fill base from the table on top of L's stack. Every wrong value, missing or
 * unknown key is a complaint. Runs inside lua_pcall(). */
void config_read_table(struct config_load *l, lua_State *L, const char *where,
    const struct config_field *fields, void *base);

/* config_fields.c: all keys of the table on top of L's stack. Runs inside
 * lua_pcall(). */
void config_read_keys(struct config_load *l, lua_State *L);
void config_set_defaults(struct config *c);

/* What a value that should be something else is, for messages: `"two"`, `7`,
 * `a table`. Returns out. */
#define CONFIG_SHOW_SIZE 900
const char *config_show(char out[CONFIG_SHOW_SIZE], lua_State *L, int index);

/* Push the table that a configuration has in place of the globals. */
void config_push_sandbox(struct config_load *l, lua_State *L);

/* The function on top of L's stack becomes the router of the gateway group in
 * base. Runs inside lua_pcall(). */
void config_router_take(struct config_load *l, lua_State *L, void *base);

/* Addresses, files, ports, users: all that needs more than one value or a look
 * at the machine. Completes the structs (protocols, addresses, keys). */
void config_check(struct config_load *l);

/* Is path there, of this type (S_IFREG, S_IFDIR), and may we read it? */
bool config_check_path(
    struct config_load *l, const char *where, const char *path, mode_t type);

/* The text of a file, the same for all processes; NULL after a complaint.
 * Borrowed from l's memory. */
const struct config_file *config_check_file(
    struct config_load *l, const char *where, const char *path);

/* Has it only characters that names have? NULL has. */
void config_check_name(
    struct config_load *l, const char *where, const char *name);

/* "host:port" with a numeric host and a port that can be bound or called. False
 * after a complaint. */
bool config_parse_address(struct config_load *l, const char *where,
    const char *text, union addr *out);

/* Inner ports that strangers can reach need a key. */
void config_check_public(struct config_load *l, const char *where,
    const char *text, const union addr *a, const char *key);

/* config_ports.c: ports that one entry binds. */
struct config_ports {
    char where[CONFIG_WHERE_SIZE];
    const char *name;     /* borrowed; of the entry, for people */
    union addr host;      /* its port is first */
    uint32_t lan_ip;      /* announced to workers; 0 for none */
    unsigned first, last; /* ports */
};

/* config_ports.c: fill r with count ports from host's port on. */
void config_ports_add(struct config_ports *r, const char *where,
    const char *name, const union addr *host, unsigned count);

/* config_ports.c: no two of them may bind the same. */
void config_ports_check(
    struct config_load *l, const struct config_ports *ranges, size_t count);

/* config_gateway.c: entry i of gateways. Adds its ports, two at most, to
 * ranges; returns how many. */
size_t config_check_gateway(
    struct config_load *l, size_t i, struct config_ports *ranges);

/* Complain when others can read the file that holds a secret. */
void config_check_secret_mode(
    struct config_load *l, const char *where, const char *full);

/* config_admin.c: the operators' port. Adds its port, if it has one, to ranges;
 * returns how many. */
size_t config_check_admin(struct config_load *l, struct config_ports *ranges);

/* config_cluster.c: what joins this cell to others, once gateways and workers
 * have been looked at. */
void config_check_cluster(struct config_load *l);

/* The part of it that programs beside the system need. */
void config_number_cell(struct config_load *l);

/* config_api.c: the push API of gateways[i]. */
void config_check_api(struct config_load *l, size_t i);

/* config_api.c: whether a file of keys that was read again serves. NULL, or
 * what is wrong; the caller frees it. */
char *config_check_keys(const char *path, const char *text);

/* config_discovery.c: what the top level says of registers or gateways. */
void config_check_discovery(struct config_load *l);

/* config_discovery.c: complete what a gateway or worker says itself, by what
 * the top level says, or the register in this file. */
void config_choose_discovery(
    struct config_load *l, const char *where, struct discovery_conf *d);

/* config_discovery.c: where gateways are listed, these are among them. */
void config_check_listed(struct config_load *l);

/* config_discovery.c: can the register be reached from other machines, or is it
 * on one? The text that says so, or NULL. */
const char *config_far_register(
    const struct config_load *l, const struct config_gateway *g);

/* config_workers.c: kinds of workers, whose clients a gateway's are, and
 * programs, once gateways have been looked at. */
void config_check_workers(struct config_load *l);

/* config_workers.c: the registers of the system that a program beside it joins.
 */
void config_check_program(struct config_load *l);

#endif /* GW_CONFIG_CONFIG_IMPL_H */
