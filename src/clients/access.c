/* Lines collect during a turn and leave in one write at its end, so that
 * processes with the same file do not cut each other's. What is kept of a
 * request while it waits for its answer is text, redacted already. */
#include "clients/access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/clock.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/utf8.h"

#define FIELD_MAX 4096        /* bytes of a target or header in a line */
#define BATCH_MAX (64 * 1024) /* bytes that are written together */
#define LOST_LOG  10000       /* ms; one line about lost ones in it */
#define LEFT_OUT  "***"       /* in place of a value */

struct access {
    const struct access_conf *conf; /* borrowed */
    struct turn *turn;              /* borrowed */
    struct turn_task task;
    struct buf lines; /* not written yet … */
    size_t count;     /* … so many */
    uint64_t *lost;   /* borrowed; counts lines that could not be written */
    int fd;
    bool torn; /* the last line was written in part */
    struct log_share faults;
    time_t at; /* of the two: */
    char clf[40], iso[40];
};

struct access_request {
    uint64_t began;                          /* loop time, ms */
    char *method, *target, *referer, *agent; /* owned; NULL: none */
    unsigned minor;                          /* HTTP/1.x */
    char peer[ADDR_TEXT_SIZE];
};

static const char *const secrets[] = {"access_token", "api_key", "apikey",
    "auth", "authorization", "code", "id_token", "jwt", "key", "passwd",
    "password", "pwd", "refresh_token", "secret", "session", "sid", "sig",
    "signature", "ticket", "token", NULL};

/* ---- what is left out ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next character of an encoded name. */
static char next_char(const char **p, const char *end)
{
    char c = *(*p)++;

    if (c == '%' && end - *p >= 2 && hex_value((*p)[0]) >= 0 &&
        hex_value((*p)[1]) >= 0) {
        c = (char)(hex_value((*p)[0]) << 4 | hex_value((*p)[1]));
        *p += 2;
    }
    return c;
}

/* Whether the name at p means secret: encoded or not, in any case, alone or
 * with "[…]" behind it. */
static bool is_named(const char *p, const char *end, const char *secret)
{
    char text[2] = {0};

    for (; p < end && *secret != '\0'; secret++) {
        text[0] = next_char(&p, end);
        if (strncasecmp(text, secret, 1) != 0)
            return false;
    }
    return *secret == '\0' && (p == end || next_char(&p, end) == '[');
}

static bool is_secret(const struct access *a, const char *name, const char *end)
{
    const char *const *list =
        a->conf->redact != NULL ? a->conf->redact : secrets;

    for (; *list != NULL; list++)
        if (strcmp(*list, "*") == 0 || is_named(name, end, *list))
            return true;
    return false;
}

/* A URL or target, cut, without the values that are left out. */
static char *redact(const struct access *a, const char *url)
{
    struct buf out = {0};
    size_t path = strcspn(url, "?#");
    const char *p = url + path;

    buf_append(&out, url, path);
    while (*p == '?' || *p == '&') {
        const char *part = p + 1;
        size_t len = strcspn(part, "&#");
        const char *equals = memchr(part, '=', len);

        buf_append_byte(&out, (uint8_t)*p);
        if (equals != NULL && is_secret(a, part, equals)) {
            buf_append(&out, part, (size_t)(equals + 1 - part));
            buf_append_str(&out, LEFT_OUT);
        } else {
            buf_append(&out, part, len);
        }
        p = part + len;
    }
    if (out.len > FIELD_MAX)
        out.len = FIELD_MAX;
    buf_append_byte(&out, '\0');
    return (char *)out.data;
}

/* ---- the file ---- */

static int open_file(const char *path)
{
    static const int flags =
        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, flags, 0640);

    if (fd < 0 && errno == ENOENT) {
        char *copy = xstrdup(path);

        mkdir(dirname(copy), 0755);
        free(copy);
        fd = open(path, flags, 0640);
    }
    return fd < 0 ? -errno : fd;
}

/* Nothing is kept for a disk that is full: it may be so for long. */
static void flush(struct access *a)
{
    const uint8_t *data = a->lines.data;
    size_t len = a->lines.len;
    ssize_t n = 0;

    if (a->torn)
        a->torn = write(a->fd, "\n", 1) != 1;
    if (!a->torn)
        n = write(a->fd, data, len);
    if (n < 0 || (size_t)n < len) {
        size_t sent = n > 0 ? (size_t)n : 0;

        for (size_t i = 0; i < sent; i++)
            a->count -= data[i] == '\n';
        a->torn |= sent > 0 && data[sent - 1] != '\n';
        *a->lost += a->count;
        if (log_may(&a->faults, "access logs", 1, LOST_LOG))
            log_warn("cannot write the access log, lines are lost file=%s: %s",
                a->conf->file, strerror(n < 0 ? errno : ENOSPC));
    }
    buf_fini(&a->lines);
    a->count = 0;
}

static void on_turn(struct turn_task *task)
{
    struct access *a = LIST_ENTRY(task, struct access, task);

    if (a->count > 0)
        flush(a);
}

int access_new(struct access **out, struct turn *turn,
    const struct access_conf *conf, uint64_t *lost)
{
    int fd = open_file(conf->file);
    struct access *a;

    if (fd < 0)
        return fd;
    a = xcalloc(1, sizeof(*a));
    a->conf = conf;
    a->turn = turn;
    a->lost = lost;
    a->fd = fd;
    list_init(&a->task.node);
    a->task.run = on_turn;
    *out = a;
    return 0;
}

int access_reopen(struct access *a)
{
    int fd;

    if (a == NULL)
        return 0;
    fd = open_file(a->conf->file);
    if (fd < 0)
        return fd;
    if (a->count > 0)
        flush(a);
    close(a->fd);
    a->fd = fd;
    a->torn = false;
    return 0;
}

void access_free(struct access *a)
{
    if (a == NULL)
        return;
    if (a->count > 0)
        flush(a);
    turn_cancel(&a->task);
    close(a->fd);
    free(a);
}

/* ---- a line ---- */

struct access_request *access_begin(
    struct access *a, const struct httphead *head, const union addr *peer)
{
    const char *referer, *agent;
    struct access_request *r;

    if (a == NULL)
        return NULL;
    r = xcalloc(1, sizeof(*r));
    r->began = clock_now(turn_loop(a->turn));
    addr_format_host(r->peer, peer);
    if (head == NULL)
        return r;
    r->method = xstrdup(head->method);
    r->minor = head->minor;
    r->target = redact(a, head->target);
    referer = httphead_find(head, "referer");
    r->referer = referer != NULL ? redact(a, referer) : NULL;
    agent = httphead_find(head, "user-agent");
    r->agent = agent != NULL ? xstrndup(agent, FIELD_MAX) : NULL;
    return r;
}

static void write_times(struct access *a)
{
    time_t now = time(NULL);
    struct tm tm;

    if (now == a->at)
        return;
    a->at = now;
    localtime_r(&now, &tm);
    strftime(a->clf, sizeof(a->clf), "%d/%b/%Y:%H:%M:%S %z", &tm);
    gmtime_r(&now, &tm);
    strftime(a->iso, sizeof(a->iso), "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* As nginx escapes: nothing in it can end the quotes, or the line. */
static void put_quoted(struct buf *out, const char *text)
{
    buf_append_byte(out, '"');
    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)*text;

        if (byte < ' ' || byte >= 0x7f || byte == '"' || byte == '\\')
            buf_printf(out, "\\x%02X", byte);
        else
            buf_append_byte(out, byte);
    }
    buf_append_byte(out, '"');
}

static void put_combined(struct access *a, const struct access_request *r,
    const struct access_answer *answer, const char *who)
{
    char *line = r->method != NULL ? xasprintf("%s %s HTTP/1.%u", r->method,
                                         r->target, r->minor)
                                   : xstrdup("-");

    buf_printf(
        &a->lines, "%s - %s [%s] ", r->peer, who != NULL ? who : "-", a->clf);
    put_quoted(&a->lines, line);
    buf_printf(
        &a->lines, " %u %" PRIu64 " ", answer->status, answer->body_bytes);
    put_quoted(&a->lines, r->referer != NULL ? r->referer : "-");
    buf_append_byte(&a->lines, ' ');
    put_quoted(&a->lines, r->agent != NULL ? r->agent : "-");
    buf_append_byte(&a->lines, '\n');
    free(line);
}

/* ,"name":"value" */
static void put_member(struct buf *out, const char *name, const char *value)
{
    struct buf text = {0};

    if (value == NULL)
        return;
    utf8_repair(&text, (const uint8_t *)value, strlen(value));
    buf_printf(out, ",\"%s\":\"", name);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];

        if (byte < ' ' || byte == 0x7f || byte == '"' || byte == '\\')
            buf_printf(out, "\\u%04x", byte);
        else
            buf_append_byte(out, byte);
    }
    buf_append_byte(out, '"');
    buf_fini(&text);
}

static void put_json(struct access *a, const struct access_request *r,
    const struct access_answer *answer, const char *who)
{
    uint64_t ms = clock_now(turn_loop(a->turn)) - r->began;
    struct buf *out = &a->lines;

    buf_printf(out, "{\"time\":\"%s\"", a->iso);
    put_member(out, "listener", a->conf->name);
    put_member(out, "kind", answer->kind);
    put_member(out, "remote_addr", r->peer);
    put_member(out, "key", who);
    put_member(out, "method", r->method);
    put_member(out, "uri", r->target);
    put_member(out, "referer", r->referer);
    put_member(out, "user_agent", r->agent);
    buf_printf(out,
        ",\"status\":%u,\"bytes\":%" PRIu64 ",\"seconds\":%" PRIu64
        ".%03" PRIu64 "}\n",
        answer->status, answer->body_bytes, ms / 1000, ms % 1000);
}

void access_end(struct access *a, struct access_request *r,
    const struct access_answer *answer)
{
    char *who;

    if (r == NULL)
        return;
    who = answer->who != NULL ? xstrndup(answer->who, strcspn(answer->who, " "))
                              : NULL;
    write_times(a);
    if (a->conf->json)
        put_json(a, r, answer, who);
    else
        put_combined(a, r, answer, who);
    a->count++;
    if (a->lines.len >= BATCH_MAX)
        flush(a);
    else
        turn_schedule(a->turn, &a->task);
    free(who);
    free(r->method);
    free(r->target);
    free(r->referer);
    free(r->agent);
    free(r);
}
