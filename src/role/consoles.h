/* consoles.h - what gwrun attach runs in this worker, a piece of Lua each.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_CONSOLES_H
#define GW_ROLE_CONSOLES_H

#include <stdint.h>

#include "util/list.h"
#include "wire/ctlmsg.h"
#include "worker/vm.h"

struct consoles {
    /* Gets the answers, messages of type "eval" with the number of their
     * question in "gather": any with "more" and "output", then the last,
     * perhaps with "error". The callee owns m. */
    void (*send)(json_t *m, void *arg);
    void *arg;
    struct list list; /* empty once every vm that they ran in is closed */
};

void consoles_init(
    struct consoles *cs, void (*send)(json_t *m, void *arg), void *arg);

/* Run the message's "code" in vm; NULL: no script serves. */
void consoles_run(struct consoles *cs, struct vm *vm, const json_t *m);

/* Who asked is gone. */
void consoles_leave(struct consoles *cs, int64_t gather);

#endif /* GW_ROLE_CONSOLES_H */
