/* config_impl.h - what the files of config share: reading typed values out of
 * Lua tables, collecting complaints, memory that is freed as one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLI_CONFIG_IMPL_H
#define GW_CLI_CONFIG_IMPL_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/config.h"
#include "util/buf.h"

#define CONFIG_WHERE_SIZE     160  /* "gateways[12].tls.cert" and its NUL */
#define CONFIG_COMPLAINTS_MAX 50   /* lines; more only say "and more" */
#define CONFIG_LIST_MAX       1024 /* entries of a list */

/* What lives as long as the configuration. */
struct config_memory {
    struct config_block *blocks; /* owned */
    lua_State *lua;  /* owned; NULL: nothing of the file is called */
    size_t lua_used; /* bytes of the Lua state */
};

/* Zeroed; freed by config_memory_free(). */
void *config_alloc(struct config_memory *m, size_t size);
char *config_strdup(struct config_memory *m, const char *s);
void config_memory_free(struct config_memory *m);

/* A configuration while it is read. */
struct config_load {
    struct config c;
    const char *secret_key;
    const char *secret_key_file;
    const char *const *register_addresses; /* the top level's */
    struct config_memory *memory;          /* borrowed */
    struct buf complaints;                 /* owned; lines */
    size_t ncomplaints;
    bool has_functions; /* the Lua state must stay */
};

#define CONFIG_CHUNK "config" /* the file's name in Lua's own messages */

/* The error on top of L's stack with the file's path for that name. The caller
 * frees it. */
char *config_lua_message(lua_State *L, const char *path);

/* Add the line "file: where: message". where "" leaves it out. */
void config_complain(struct config_load *l, const char *where, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

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

/* What a value that should be something else is, for messages: `"two"`, `7`,
 * `a table`. Returns out. */
#define CONFIG_SHOW_SIZE 900
const char *config_show(char out[CONFIG_SHOW_SIZE], lua_State *L, int index);

/* The function on top of L's stack becomes the router of the gateway group in
 * base. Runs inside lua_pcall(). */
void config_router_take(struct config_load *l, lua_State *L, void *base);

/* Addresses, files, ports, users: all that needs more than one value or a look
 * at the machine. Completes the structs (protocols, addresses, keys). */
void config_check(struct config_load *l);

#endif /* GW_CLI_CONFIG_IMPL_H */
