/* A thread of libuv's asks the resolver. It cannot always be stopped: the
 * request lives until its callback has run, cancelled or not. */
#include "net/resolve.h"

#include <stdio.h>
#include <stdlib.h>

#include "util/alloc.h"

struct resolve {
    uv_getaddrinfo_t request;
    resolve_done_cb done; /* NULL once cancelled */
    void *arg;            /* borrowed, handed to done */
};

static void on_resolved(
    uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct resolve *r = request->data;
    resolve_done_cb done = r->done;
    void *arg = r->arg;

    free(r);
    if (!done)
        uv_freeaddrinfo(found);
    else if (status == 0 && !found)
        done(UV_EAI_NODATA, NULL, arg);
    else
        done(status, found, arg);
}

int resolve_start(struct resolve **out, uv_loop_t *loop, const char *host,
    uint16_t port, resolve_done_cb done, void *arg)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct resolve *r = xcalloc(1, sizeof(*r));
    char service[8];
    int err;

    r->request.data = r;
    r->done = done;
    r->arg = arg;
    snprintf(service, sizeof(service), "%u", port);
    err = uv_getaddrinfo(loop, &r->request, on_resolved, host, service, &hints);
    if (err < 0)
        free(r);
    else
        *out = r;
    return err;
}

void resolve_cancel(struct resolve *r)
{
    r->done = NULL;
    uv_cancel((uv_req_t *)&r->request);
}
