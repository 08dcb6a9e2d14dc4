/* One answer owns its open file: what a deploy puts in its place meanwhile does
 * not matter to it. The kernel copies it to a plain socket by itself; over TLS
 * it goes through the connection's queue, a piece at a time. */
#include "clients/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/client_conn_impl.h"
#include "clients/www.h"
#include "net/turn.h"
#include "util/alloc.h"
#include "wire/httpcond.h"

#define PIECE     (64 * 1024) /* bytes, sent in one turn */
#define ETAG_SIZE 64

struct files {
    struct www_file file;
    uint64_t at, left; /* bytes that follow the head, and have not been sent */
};

struct files *files_find(
    const struct client_shared *shared, const struct httphead *head)
{
    struct www_file file;
    struct files *f;

    if (shared->www == NULL || !www_find(&file, shared->www, head))
        return NULL;
    f = xcalloc(1, sizeof(*f));
    f->file = file;
    return f;
}

struct files *files_named(const struct client_shared *shared,
    const struct answer_part *name, const struct httphead *head)
{
    char *path = xstrndup(name->data, name->len);
    struct www_file file;
    struct files *f = NULL;

    if (shared->files != NULL && www_open(&file, shared->files, path, head)) {
        f = xcalloc(1, sizeof(*f));
        f->file = file;
    }
    free(path);
    return f;
}

void files_free(struct files *f)
{
    if (f == NULL)
        return;
    www_close(&f->file);
    free(f);
}

/* What the script says goes before. */
static void put(struct buf *bytes, const char *name, const char *value)
{
    const struct answer so_far = answer_of(bytes);

    if (!answer_has_header(&so_far, name))
        answer_put_header(bytes, name, strlen(name), value, strlen(value));
}

/* The folder with its slash. Of slashes in front one is kept: two would begin
 * the name of another host. */
static void put_redirect(struct buf *said, const char *target)
{
    size_t path = strcspn(target, "?");
    size_t skipped = strspn(target, "/");
    char *location = xasprintf(
        "/%.*s/%s", (int)(path - skipped), target + skipped, target + path);

    answer_put_status(said, 301);
    put(said, "location", location);
    free(location);
}

static void make_etag(char out[ETAG_SIZE], const struct www_file *file)
{
    snprintf(out, ETAG_SIZE, "\"%" PRIx64 "-%" PRIx64 "%s%s\"",
        (uint64_t)file->modified.tv_sec * 1000000000U +
            (uint64_t)file->modified.tv_nsec,
        file->size, file->encoding != NULL ? "-" : "",
        file->encoding != NULL ? file->encoding : "");
}

/* What a cache keeps of it, with a 304 as well (RFC 9110 section 15.4.5). */
static void put_validators(struct buf *said, const struct www_file *file,
    const char *etag, time_t modified, const char *cache_control)
{
    char date[HTTPCOND_DATE_SIZE];

    put(said, "etag", etag);
    put(said, "last-modified", httpcond_date(date, modified));
    put(said, "cache-control", cache_control);
    if (file->varies)
        put(said, "vary", "Accept-Encoding");
}

static void put_content(struct buf *said, const struct www_file *file,
    const struct httpcond *what, bool ranges)
{
    char range[80];

    put(said, "content-type", file->type);
    put(said, "x-content-type-options", "nosniff");
    if (file->encoding != NULL)
        put(said, "content-encoding", file->encoding);
    else if (ranges)
        put(said, "accept-ranges", "bytes");
    if (what->status != 206)
        return;
    snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
        what->first, what->first + what->size - 1, file->size);
    put(said, "content-range", range);
}

static void put_unsatisfied(struct buf *said, const struct www_file *file)
{
    char range[40];

    snprintf(range, sizeof(range), "bytes */%" PRIu64, file->size);
    put(said, "content-range", range);
}

/* The headers of a script's answer; NULL: none. */
static void put_said(struct buf *bytes, const struct answer *said)
{
    struct answer_part part;
    size_t at = 0;

    while (said != NULL && answer_next(said, &at, &part))
        if (part.kind == ANSWER_HEADER)
            answer_put(bytes, ANSWER_HEADER, part.data, part.len);
}

/* Fill bytes with what is to be answered. */
static struct httpcond judge(const struct files *f, struct buf *bytes,
    const struct httphead *head, const struct answer *said,
    const char *cache_control)
{
    const struct www_file *file = &f->file;
    bool looks =
        strcmp(head->method, "GET") == 0 || strcmp(head->method, "HEAD") == 0;
    bool whole = said != NULL && (said->status != 200 || !looks);
    char etag[ETAG_SIZE];
    time_t now = time(NULL);
    /* A date behind the answer's own would be none (section 8.8.2.1). */
    time_t modified = file->modified.tv_sec < now ? file->modified.tv_sec : now;
    struct httpcond what = {.size = file->size};

    make_etag(etag, file);
    if (whole)
        what.status = said->status;
    else
        what = httpcond_judge(head, &(struct httpcond_file){.etag = etag,
                                        .modified = modified,
                                        .size = file->size,
                                        .ranges = file->encoding == NULL});
    answer_put_status(bytes, what.status);
    put_said(bytes, said);
    if (what.status == 416)
        put_unsatisfied(bytes, file);
    else if (what.status != 412 && !whole)
        put_validators(bytes, file, etag, modified, cache_control);
    if (what.status == 200 || what.status == 206 || whole)
        put_content(bytes, file, &what, !whole);
    else
        what.size = 0;
    return what;
}

void files_put_head(struct files *f, struct buf *out,
    const struct httphead *head, const struct answer *said,
    const char *cache_control, const struct response_form *form)
{
    struct response_form with_file = *form;
    struct buf bytes = {0};
    struct httpcond what = {.status = 301};
    struct answer answer;

    if (f->file.fd < 0)
        put_redirect(&bytes, head->target);
    else
        what = judge(f, &bytes, head, said, cache_control);
    with_file.follows = what.size;
    answer = answer_of(&bytes);
    response_put_reply(out, &answer, what.status, &with_file);
    buf_fini(&bytes);
    f->at = what.first;
    f->left = form->is_head || !response_has_body(what.status) ? 0 : what.size;
}

/* Over TLS: the next piece into the queue, to be sent in the next turn. */
static ssize_t queue_piece(struct files *f, struct client_conn *c, size_t len)
{
    uint8_t *data = turn_scratch(c->shared->turn);
    ssize_t n = pread(f->file.fd, data, len, (off_t)f->at);

    if (n > 0)
        client_conn_queue(c, data, (size_t)n);
    return n < 0 ? -errno : n == 0 ? -EIO : n;
}

int files_send(struct files *f, struct client_conn *c)
{
    size_t len = f->left < PIECE ? (size_t)f->left : PIECE;
    ssize_t n;

    if (len == 0)
        return 0;
    n = c->sock.ssl != NULL ? queue_piece(f, c, len)
                            : sock_send_file(&c->sock, f->file.fd, f->at, len);
    if (n < 0)
        return (int)n;
    f->at += (uint64_t)n;
    f->left -= (uint64_t)n;
    if (c->sock.ssl == NULL)
        queue_count(&c->queue, &c->shared->pool, (size_t)n);
    return f->left > 0;
}
