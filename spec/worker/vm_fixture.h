/* vm_fixture.h - one vm with the fixture's script, opened and closed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_WORKER_VM_FIXTURE_H
#define GW_SPEC_WORKER_VM_FIXTURE_H

#include "fixture.h"
#include "worker/sources.h"
#include "worker/vm_open.h"

struct loaded {
    bool done;
    char *error; /* owned */
};

static inline void on_vm_loaded(struct vm *vm, const char *error, void *arg)
{
    struct loaded *l = arg;

    l->done = true;
    l->error = error ? xstrdup(error) : NULL;
}

/* The script's vm; its error (NULL when it loaded) goes to *error, for free().
 */
static inline struct vm *open_vm_for(
    const char *script, struct gateways *gateways, char **error)
{
    struct vm_env env = {.turn = fixture.turn,
        .gateways = gateways,
        .conf = &fixture.conf,
        .index = 3};
    struct loaded l = {0};
    struct vm *vm;

    fixture_script(script);
    vm = vm_open(&env, on_vm_loaded, &l);
    assert_false(l.done); /* never inside the call */
    run_until_set(&l.done);
    *error = l.error;
    return vm;
}

/* A script that must load. */
static inline struct vm *open_vm(const char *script)
{
    char *error;
    struct vm *vm = open_vm_for(script, NULL, &error);

    if (error)
        fail_msg("%s", error);
    return vm;
}

#endif /* GW_SPEC_WORKER_VM_FIXTURE_H */
