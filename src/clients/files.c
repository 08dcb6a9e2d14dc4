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
#include "util/log.h"
#include "wire/httpcond.h"

#define PIECE     (64 * 1024) /* bytes, sent in one turn */
#define NO_FD_LOG 10000       /* ms; one line about what is refused in it */
#define ETAG_SIZE 256
#define FD_PART   4 /* of the descriptors; so many files may be open */

struct files {
    struct client_shared *shared; /* borrowed; outlives it */
    struct www_file file;
    uint64_t at, left; /* bytes that follow the head, and have not been sent */
};

/* Below which number a file's descriptor must be. Whoever reads slowly keeps
 * his file open, so of what there are most are for connections. */
static int fd_limit(const struct client_shared *shared)
{
    return (int)shared->files_open < shared->fd_max / FD_PART ? shared->fd_max
                                                              : 0;
}

/* The answer with that file, or what kept it from being opened. */
static int begin(struct files **out, struct client_shared *shared, int err,
    const struct www_file *file)
{
    if (err == -EMFILE) {
        shared->counters.files_refused++;
        if (log_may(
                &shared->no_fd, "files that cannot be opened", 1, NO_FD_LOG))
            log_warn("too many files are open, answering 503 open=%zu",
                shared->files_open);
    }
    if (err < 0)
        return err;
    *out = xcalloc(1, sizeof(**out));
    (*out)->shared = shared;
    (*out)->file = *file;
    shared->files_open += file->fd >= 0;
    return 0;
}

int files_find(struct files **out, struct client_shared *shared,
    const struct httphead *head)
{
    struct www_file file;

    if (shared->www == NULL)
        return -ENOENT;
    return begin(out, shared,
        www_find(&file, shared->www, head, fd_limit(shared)), &file);
}

int files_named(struct files **out, struct client_shared *shared,
    const struct answer_part *name, const struct httphead *head)
{
    char *path = xstrndup(name->data, name->len);
    struct www_file file;
    int rc = -ENOENT;

    if (shared->files != NULL)
        rc = begin(out, shared,
            www_open(&file, shared->files, path, head, fd_limit(shared)),
            &file);
    free(path);
    return rc;
}

void files_free(struct files *f)
{
    if (f == NULL)
        return;
    f->shared->files_open -= f->file.fd >= 0;
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

/* The headers of a script's answer; NULL: none. but: one that is left out,
 * or NULL. */
static void put_said(
    struct buf *bytes, const struct answer *said, const char *but)
{
    struct answer_part part;
    size_t at = 0;

    while (said != NULL && answer_next(said, &at, &part))
        if (part.kind == ANSWER_HEADER &&
            (but == NULL || !answer_is_header(&part, but, NULL)))
            answer_put(bytes, ANSWER_HEADER, part.data, part.len);
}

/* The tag of what is sent: of the script, which knows best what its file is, or
 * made up. A strong one says that the bytes are the same, so those of another
 * encoding have another one (RFC 9110 section 8.8.3.3). */
static void choose_etag(
    char out[ETAG_SIZE], const struct www_file *file, const struct answer *said)
{
    struct answer_part tag;

    if (said == NULL || !answer_find_header(said, "etag", &tag) ||
        tag.len < 2 || tag.len > ETAG_SIZE - sizeof("-gzip") ||
        tag.data[tag.len - 1] != '"')
        make_etag(out, file);
    else if (file->encoding == NULL || tag.data[0] != '"')
        snprintf(out, ETAG_SIZE, "%.*s", (int)tag.len, tag.data);
    else
        snprintf(out, ETAG_SIZE, "%.*s-%s\"", (int)tag.len - 1, tag.data,
            file->encoding);
}

/* The date likewise. One behind the answer's own would be none (section
 * 8.8.2.1). */
static time_t choose_date(
    const struct www_file *file, const struct answer *said)
{
    time_t now = time(NULL), modified = file->modified.tv_sec;
    struct answer_part date;
    char text[HTTPCOND_DATE_SIZE];

    if (said != NULL && answer_find_header(said, "last-modified", &date)) {
        snprintf(text, sizeof(text), "%.*s", (int)date.len, date.data);
        httpcond_read_date(text, &modified);
    }
    return modified < now ? modified : now;
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
    time_t modified = choose_date(file, said);
    struct httpcond what = {.size = file->size};

    choose_etag(etag, file, said);
    if (whole)
        what.status = said->status;
    else
        what = httpcond_judge(head, &(struct httpcond_file){.etag = etag,
                                        .modified = modified,
                                        .size = file->size,
                                        .ranges = file->encoding == NULL});
    answer_put_status(bytes, what.status);
    put_said(bytes, said, whole ? NULL : "etag");
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

unsigned files_put_head(struct files *f, struct buf *out,
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
    with_file.encoded = f->file.varies;
    answer = answer_of(&bytes);
    response_put_reply(out, &answer, what.status, &with_file);
    buf_fini(&bytes);
    f->at = what.first;
    f->left = form->is_head || !response_has_body(what.status) ? 0 : what.size;
    return what.status;
}

uint64_t files_left(const struct files *f)
{
    return f->left;
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
