/* requests.h - a gateway hands a request on, and the script's onRequest answers
 * it; a call of the push API gwrun itself answers.
 *
 * lualib makes the request a Lua value, and an answer of what the script
 * returns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WORKER_REQUESTS_H
#define GW_WORKER_REQUESTS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/list.h"
#include "wire/frame.h"
#include "worker/gateways.h"
#include "worker/handlers.h"
#include "worker/handshakes.h"

/* being answered; more are refused with 503 */
#define REQUESTS_MAX 10000
/* All that are being answered may take a REQUESTS_SHARE-th of the script's
 * memory, so that those whose handlers wait leave room for these to run; larger
 * ones than REQUESTS_SMALL are refused beyond that. */
#define REQUESTS_SHARE 4
#define REQUESTS_SMALL 4096 /* bytes */

struct requests_hooks {
    /* Push the request in these bytes (wire/httpcall.h). Raises when they are
     * not valid. */
    void (*push)(lua_State *L, const uint8_t *data, size_t len);
    /* Append what the script returned, the three values on top, to out
     * (wire/answer.h); rules are those for a client, should it become one.
     * NULL, or what is wrong with it: then the text is pushed, and out is of no
     * use. Raises when memory is out, or a value cannot be written as JSON. */
    const char *(*read)(
        lua_State *L, const struct handshakes_rules *rules, struct buf *out);
    /* Push the function that answers calls of the push API and its three
     * arguments, texts: the path and the body in these bytes, which it raises
     * about as push() does, and the rights of who calls. It returns a status
     * and a text in JSON. */
    void (*push_call)(lua_State *L, const uint8_t *data, size_t len,
        const char *rights, size_t rights_len);
};

/* Set once per state; hooks is borrowed. */
void requests_set_hooks(lua_State *L, const struct requests_hooks *hooks);

struct request;

/* Those that are being answered just now. Embedded in the worker. */
struct requests {
    struct gateways *gateways; /* borrowed */
    struct handlers *handlers; /* borrowed */
    struct vm *vm; /* borrowed; where handlers begin, NULL while none may */
    struct list list;
    size_t count;
    size_t bytes;                  /* of all in list */
    const struct request *running; /* that has not waited; NULL: none */
};

void requests_init(
    struct requests *all, struct gateways *gateways, struct handlers *handlers);

/* Have one of that gateway answered; gateways_reply() follows. f is borrowed
 * during the call. */
void requests_take(
    struct requests *all, struct gateways_address from, const struct frame *f);

/* Answer for those that vm has not yet, NULL: that none has; its handlers are
 * cut off. */
void requests_abandon(struct requests *all, const struct vm *vm);

/* Whoever gave the one that runs shall answer for it: it does not come back.
 * For a signal handler that ends the process. */
void requests_tell_hanging(const struct requests *all);

#endif /* GW_WORKER_REQUESTS_H */
