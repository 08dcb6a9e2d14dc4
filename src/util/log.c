/* One sink for the process. A line is made on the stack and cut at
 * LOG_LINE_MAX; waiting for a slow reader takes a tenth of the time at most
 * (wait_for_room()), and what cannot be written is counted, never kept. */
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/logjson.h"
#include "util/utf8.h"

#define LOG_LINE_MAX 4096 /* bytes; longer lines are cut */
#define LOG_PATIENCE 100  /* ms for whoever reads a pipe or a terminal */

static const char *const level_names[] = {
    "error", "warn", "notice", "info", "debug"};
static const char *const level_colors[] = {
    "\x1b[1;31m", "\x1b[33m", "\x1b[32m", "\x1b[36m", "\x1b[2m"};

enum sink_kind {
    SINK_PLAIN,   /* a file, or does not wait */
    SINK_SOCKET,  /* of the journal, say */
    SINK_FOREIGN, /* a pipe or terminal that may not be opened again */
};

static struct {
    enum log_level level;
    int fd;
    enum sink_kind kind;
    bool own;           /* fd is not stderr, and ours */
    uint64_t credit;    /* tenths of ms that may be waited, at … */
    uint64_t credit_at; /* … ms */
    uint64_t dropped;
    uint64_t unsaid; /* of these, since the last line that was written */
    bool torn;       /* the last line was written in part */
    bool color;
    bool json;
    log_view_cb view; /* NULL: blocks as they are */
    const void *view_arg;
    char name[32];
    log_sink_cb function; /* NULL: write to fd */
    void *arg;            /* borrowed, handed to function */
} sink = {.level = LOG_NOTICE, .fd = STDERR_FILENO};

void log_set_name(const char *name)
{
    snprintf(sink.name, sizeof(sink.name), "%s", name);
}

void log_set_level(enum log_level level)
{
    sink.level = level;
}

bool log_enabled(enum log_level level)
{
    return level <= sink.level;
}

void log_set_color(bool on)
{
    sink.color = on;
}

void log_set_json(bool on)
{
    sink.json = on;
}

/* Make fd the sink from now on; own: close it when another takes its place. */
static void use(int fd, bool own, enum sink_kind kind)
{
    if (sink.own)
        close(sink.fd);
    sink.fd = fd;
    sink.own = own;
    sink.kind = kind;
}

int log_open(const char *path)
{
    int fd = open(path,
        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
        0644);

    if (fd < 0)
        return -errno;
    use(fd, true, SINK_PLAIN);
    return 0;
}

void log_to_stderr(void)
{
    struct stat st;
    int fd;

    if (fstat(STDERR_FILENO, &st) < 0 || S_ISREG(st.st_mode)) {
        use(STDERR_FILENO, false, SINK_PLAIN);
    } else if (S_ISSOCK(st.st_mode)) {
        use(STDERR_FILENO, false, SINK_SOCKET);
    } else {
        fd = open(
            "/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
            use(fd, true, SINK_PLAIN);
        else
            use(STDERR_FILENO, false, SINK_FOREIGN);
    }
}

void log_set_sink(log_sink_cb function, void *arg)
{
    sink.function = function;
    sink.arg = arg;
}

uint64_t log_dropped(void)
{
    return sink.dropped;
}

const char *log_quote(char out[LOG_QUOTE_SIZE], const void *text, size_t len)
{
    const uint8_t *p = text;
    size_t keep = len < LOG_QUOTE_MAX ? len : LOG_QUOTE_MAX;
    char *o = out;

    *o++ = '"';
    for (size_t i = 0; i < keep;) {
        size_t n = utf8_plain_len(p + i, keep - i);

        if (n > 1) {
            memcpy(o, p + i, n);
            o += n;
            i += n;
            continue;
        }
        if (p[i] == '\n') {
            *o++ = '\\';
            *o++ = 'n';
        } else if (p[i] == '"' || p[i] == '\\') {
            *o++ = '\\';
            *o++ = (char)p[i];
        } else if (n == 1) {
            *o++ = (char)p[i];
        } else {
            o += sprintf(o, "\\x%02x", p[i]);
        }
        i++;
    }
    *o++ = '"';
    if (keep < len)
        o += sprintf(o, "…");
    *o = '\0';
    return out;
}

/* "time [pid name] level " of a line that starts now. */
static int put_head(char *line, size_t size, enum log_level level)
{
    struct timespec ts;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    return (int)n + snprintf(line + n, size - n, ".%03ld [%d%s%s] %s%s%s ",
                        ts.tv_nsec / 1000000, (int)getpid(),
                        sink.name[0] ? " " : "", sink.name,
                        sink.color ? level_colors[level] : "",
                        level_names[level], sink.color ? "\x1b[m" : "");
}

/* The same of a JSON object, up to its level. */
static void put_json_head(struct buf *out, enum log_level level)
{
    struct timespec ts;
    struct tm tm;
    char day[32], zone[8];

    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(zone, sizeof(zone), "%z", &tm); /* "+0100" */
    buf_printf(out,
        "{\"time\":\"%s.%03ld%.3s:%s\",\"pid\":%d,\"process\":", day,
        ts.tv_nsec / 1000000, zone, zone + 3, (int)getpid());
    logjson_put_string(out, sink.name, strlen(sink.name));
    buf_printf(out, ",\"level\":\"%s\"", level_names[level]);
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Wait for whoever reads, but for a tenth of the time at most: he may be
 * stopped, and must not stop us. Is it worth another try? */
static bool wait_for_room(void)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
    uint64_t begin = now_ms(), cost;
    int result;

    sink.credit += begin - sink.credit_at;
    if (sink.credit > 10 * LOG_PATIENCE)
        sink.credit = 10 * LOG_PATIENCE;
    result = poll(&p, 1, (int)(sink.credit / 10));
    sink.credit_at = now_ms();
    cost = 10 * (sink.credit_at - begin);
    sink.credit -= cost < sink.credit ? cost : sink.credit;
    return result > 0 || (result < 0 && errno == EINTR);
}

/* As write(), without waiting where stderr lets us. */
static ssize_t write_some(const char *data, size_t len)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};

    switch (sink.kind) {
    case SINK_SOCKET:
        return send(sink.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SINK_FOREIGN:
        errno = EAGAIN;
        if (poll(&p, 1, 0) <= 0)
            return -1;
        return write(sink.fd, data, len < PIPE_BUF ? len : PIPE_BUF);
    case SINK_PLAIN:
        break;
    }
    return write(sink.fd, data, len);
}

static bool write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write_some(data, len);

        if (n < 0 && (errno == EINTR || (errno == EAGAIN && wait_for_room())))
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
        sink.torn = len > 0;
    }
    return true;
}

static bool make_up_json(void)
{
    struct buf line = {0};
    bool done;

    put_json_head(&line, LOG_WARN);
    buf_printf(&line,
        ",\"source\":\"log\",\"message\":\"lines could not be written\","
        "\"fields\":{\"lines\":\"%llu\"}}\n",
        (unsigned long long)sink.unsaid);
    done = write_all((const char *)line.data, line.len);
    if (done)
        sink.unsaid = 0;
    buf_fini(&line);
    return done;
}

/* Once there is room again: end the line that was cut, and tell how many are
 * missing. */
static bool make_up(void)
{
    char line[256];
    int n;

    if (sink.torn && !write_all("\n", 1))
        return false;
    if (sink.unsaid == 0)
        return true;
    if (sink.json)
        return make_up_json();
    n = put_head(line, sizeof(line), LOG_WARN);
    n += snprintf(line + n, sizeof(line) - (size_t)n,
        "log: lines could not be written lines=%llu\n",
        (unsigned long long)sink.unsaid);
    if (!write_all(line, (size_t)n))
        return false;
    sink.unsaid = 0;
    return true;
}

/* Write whole lines. */
static void put_out(const char *data, size_t len)
{
    if (make_up() && write_all(data, len))
        return;
    sink.dropped++;
    sink.unsaid++;
}

/* A line as a JSON object, cut as those of text are; fields NULL: they stand
 * in the message. */
static void put_json(enum log_level level, const char *who, const char *message,
    const char *fields)
{
    struct buf line = {0};

    put_json_head(&line, level);
    if (who[0]) {
        buf_append_str(&line, ",\"source\":");
        logjson_put_string(&line, who, strlen(who));
    }
    logjson_put_message(&line, message, fields, LOG_LINE_MAX - strlen("}\n"));
    buf_append_str(&line, "}\n");
    put_out((const char *)line.data, line.len);
    buf_fini(&line);
}

/* "src/net/conn.c" -> "conn". */
static void name_file(char who[64], const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;

    snprintf(who, 64, "%.*s", (int)strcspn(base, "."), base);
}

__attribute__((format(printf, 3, 0))) static void put_line(
    enum log_level level, const char *who, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX];
    size_t size = sizeof(line) - 1; /* the last byte is for "\n" */
    bool bare = sink.function || sink.json;
    int n = bare ? 0 : put_head(line, size, level);
    char *message;
    size_t len;

    if (who[0] && !bare)
        n += snprintf(line + n, size - (size_t)n, "%s: ", who);
    message = line + n;
    n += vsnprintf(message, size - (size_t)n, fmt, ap);
    utf8_make_plain(message, "\t");
    if (sink.function) {
        sink.function(level, who, message, sink.arg);
        return;
    }
    if (sink.json) {
        put_json(level, who, message, NULL);
        return;
    }
    len = (size_t)n < size ? (size_t)n : size - 1;
    line[len++] = '\n';
    put_out(line, len);
}

void log_write(enum log_level level, const char *file, const char *fmt, ...)
{
    char who[64];
    va_list ap;

    if (!log_enabled(level))
        return;
    name_file(who, file);
    va_start(ap, fmt);
    put_line(level, who, fmt, ap);
    va_end(ap);
}

void log_say(enum log_level level, const char *who, const char *text,
    const char *fields, const char *context)
{
    char *all, *cut;

    if (!log_enabled(level))
        return;
    if (!sink.json || sink.function) {
        log_write(
            level, who, "%s%s%s", text, fields, sink.function ? "" : context);
        return;
    }
    all = xasprintf("%s%s", context, fields);
    cut = xasprintf("%.*s", LOG_LINE_MAX, text);
    utf8_make_plain(cut, "\t");
    put_json(level, who, cut, all);
    free(cut);
    free(all);
}

void log_set_view(log_view_cb view, const void *arg)
{
    sink.view = view;
    sink.view_arg = arg;
}

bool log_may(
    struct log_share *s, const char *about, unsigned lines, unsigned ms)
{
    uint64_t now = now_ms();

    if (s->lines == 0 || now - s->began >= ms) {
        if (s->left_out > 0 && about)
            log_warn("lines left out about=\"%s\" count=%u since_s=%llu", about,
                s->left_out, (unsigned long long)(now - s->began) / 1000);
        *s = (struct log_share){.began = now};
    }
    if (s->lines < lines) {
        s->lines++;
        return true;
    }
    s->left_out++;
    return false;
}

/* What belongs to the line before it, as it is. */
static void put_json_block(enum log_level level, const char *text)
{
    char *plain = xstrdup(text);
    struct buf line = {0};

    utf8_make_plain(plain, "\t\n");
    put_json_head(&line, level);
    buf_append_str(&line, ",\"block\":");
    logjson_put_string(&line, plain, strlen(plain));
    buf_append_str(&line, "}\n");
    put_out((const char *)line.data, line.len);
    buf_fini(&line);
    free(plain);
}

void log_block(enum log_level level, const char *text)
{
    struct buf b = {0};
    char *shown;

    if (!log_enabled(level))
        return;
    if (sink.function) {
        sink.function(level, NULL, text, sink.arg);
        return;
    }
    if (sink.json) {
        put_json_block(level, text);
        return;
    }
    shown = sink.view ? sink.view(text, sink.view_arg) : xstrdup(text);
    if (!sink.view)
        utf8_make_plain(shown, "\t\n");
    for (const char *line = shown; *line;) {
        size_t n = strcspn(line, "\n");

        buf_append_str(&b, "    ");
        buf_append(&b, line, n);
        buf_append_byte(&b, '\n');
        line += n + (line[n] == '\n');
    }
    put_out((const char *)b.data, b.len);
    buf_fini(&b);
    free(shown);
}

void fatal(const char *fmt, ...)
{
    va_list ap;

    fputs("gwrun: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}
