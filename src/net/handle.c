/* Closing handles whose memory goes with them. An object that has more to do
 * then than to free its memory has a close callback of its own. */
#include "net/handle.h"

#include <stdlib.h>
#include <uv.h>

#include "util/alloc.h"

/* Two handles that are being closed. */
struct pair {
    void *memory; /* owned; they lie in it */
    int open;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void handle_close(void *handle, void *memory)
{
    uv_handle_t *h = handle;

    h->data = memory;
    uv_close(h, on_closed);
}

static void on_one_closed(uv_handle_t *handle)
{
    struct pair *pair = handle->data;

    if (--pair->open > 0)
        return;
    free(pair->memory);
    free(pair);
}

void handle_close_both(void *a, void *b, void *memory)
{
    uv_handle_t *handles[] = {a, b};
    struct pair *pair = xmalloc(sizeof(*pair));

    *pair = (struct pair){memory, 2};
    for (int i = 0; i < 2; i++) {
        handles[i]->data = pair;
        uv_close(handles[i], on_one_closed);
    }
}
