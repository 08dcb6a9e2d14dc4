/* log.h - one event, one line, to stderr or a file.
 *
 *   2026-01-05T10:12:03.481 [4121 gateway/0] warn router: no worker client=…
 *
 * error: someone must act; warn: we coped; notice: lifecycle; info: per
 * connection; debug: per message. The message is "what happened key=value …",
 * lower-case, no full stop. Text from a peer goes through log_quote().
 *
 * The sink is the process's own (roles keep no state in it). A full disk never
 * stops the process: the line is dropped and counted, and the first one that
 * can be written again has one before it that says so.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_LOG_H
#define GW_UTIL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

#define LOG_QUOTE_MAX  200 /* bytes of peer text kept in a line */
#define LOG_QUOTE_SIZE 820 /* room for them, escaped and in quotes */

/* Who speaks, e.g. "gateway/0"; "" is nobody in particular. Copied. */
void log_set_name(const char *name);

/* Lines above level are dropped. Default LOG_NOTICE. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* Colour the level's name, for terminals. Default off. */
void log_set_color(bool on);

/* Write lines as JSON objects (logjson.h), without colours and views. Default
 * off. */
void log_set_json(bool on);

/* Append to path from now on. 0 or -errno; then the old sink stays. */
int log_open(const char *path);

/* Write to what stderr is now, so that a reader that has stopped costs lines
 * and no time. A pipe or a terminal is opened once more, to have flags of its
 * own: to be called before privileges are dropped. Without this call lines
 * wait. */
void log_to_stderr(void);

/* Hand lines to a function instead of writing them; NULL ends that. who is the
 * file in front of the text; NULL for the block that belongs to the line before
 * it. */
typedef void (*log_sink_cb)(
    enum log_level level, const char *who, const char *text, void *arg);
void log_set_sink(log_sink_cb function, void *arg);

/* Lines that could not be written so far. */
uint64_t log_dropped(void);

/* What the lines of one kind have had of the log lately; all zero at first. */
struct log_share {
    uint64_t began; /* ms */
    unsigned lines, left_out;
};

/* Whether one more may be written, at most so many in ms milliseconds. For what
 * others can cause as often as they like. The first of a new period tells how
 * many lines were left out since the last one began; about NULL: it does not.
 */
bool log_may(
    struct log_share *s, const char *about, unsigned lines, unsigned ms);

/* Escape len bytes into out as "text": quotes, backslashes and what is not
 * plain (utf8_plain_len()) become \", \n, \xNN; cut at LOG_QUOTE_MAX with …
 * behind. Returns out. */
const char *log_quote(char out[LOG_QUOTE_SIZE], const void *text, size_t len);

/* Use the macros below: they put the file's name in front. */
void log_write(enum log_level level, const char *file, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A line of a script's: text, on one line, as it is, with no fields in it.
 * fields, " key=value …" or "", belong to it; context, the same, stands behind
 * them, but for a sink. */
void log_say(enum log_level level, const char *who, const char *text,
    const char *fields, const char *context);

/* Have log_block() write what view makes of its text (for free(), without
 * control bytes but its own) instead of it. */
typedef char *(*log_view_cb)(const char *text, const void *arg);
void log_set_view(log_view_cb view, const void *arg);

/* Several lines (a traceback), each indented under the last one. In these as in
 * all others what is not plain comes out as "?". */
void log_block(enum log_level level, const char *text);

/* A start-up error that a person must fix: "gwrun: message" on stderr, exit
 * status 1. */
void fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

#define log_error(...)  log_write(LOG_ERROR, __FILE__, __VA_ARGS__)
#define log_warn(...)   log_write(LOG_WARN, __FILE__, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __FILE__, __VA_ARGS__)
#define log_info(...)                                   \
    do {                                                \
        if (log_enabled(LOG_INFO))                      \
            log_write(LOG_INFO, __FILE__, __VA_ARGS__); \
    } while (0)
#define log_debug(...)                                   \
    do {                                                 \
        if (log_enabled(LOG_DEBUG))                      \
            log_write(LOG_DEBUG, __FILE__, __VA_ARGS__); \
    } while (0)

#endif /* GW_UTIL_LOG_H */
