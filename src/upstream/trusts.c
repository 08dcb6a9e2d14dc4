/* Contexts by the file of their authorities. The system's take some 20 ms to
 * read, so each is made when it is needed first, and kept. */
#include "upstream/trusts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

struct entry {
    char *ca_file; /* owned; NULL: the system's */
    bool insecure;
    struct ssl_ctx_st *ctx; /* shared */
};

struct trusts {
    unsigned count;
    struct entry entries[TRUSTS_MAX];
};

struct trusts *trusts_new(void)
{
    return xcalloc(1, sizeof(struct trusts));
}

void trusts_free(struct trusts *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        free(t->entries[i].ca_file);
        trust_free(t->entries[i].ctx);
    }
    free(t);
}

static bool is_of(const struct entry *e, const char *ca_file, bool insecure)
{
    if (e->insecure != insecure)
        return false;
    if (e->ca_file == NULL || ca_file == NULL)
        return e->ca_file == ca_file;
    return strcmp(e->ca_file, ca_file) == 0;
}

struct ssl_ctx_st *trusts_find(struct trusts *t, const char *ca_file,
    bool insecure, char err[TRUST_ERROR_SIZE])
{
    const struct trust_conf conf = {.ca_file = ca_file, .insecure = insecure};
    struct entry *e;

    for (unsigned i = 0; i < t->count; i++) {
        if (is_of(&t->entries[i], ca_file, insecure))
            return t->entries[i].ctx;
    }
    if (t->count == TRUSTS_MAX) {
        snprintf(err, TRUST_ERROR_SIZE, "more than %d different ca_file",
            TRUSTS_MAX);
        return NULL;
    }
    e = &t->entries[t->count];
    e->ctx = trust_new(&conf, err);
    if (e->ctx == NULL)
        return NULL;
    e->ca_file = ca_file != NULL ? xstrdup(ca_file) : NULL;
    e->insecure = insecure;
    t->count++;
    return e->ctx;
}
