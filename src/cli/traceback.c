#include "cli/traceback.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/buf.h"

#define CUT "..." /* in front of a file's name that is too long for Lua */

static const char heading[] = "stack traceback:";

/* "file:line:" at the beginning of a text, perhaps behind "who: ". */
struct place {
    const char *file; /* borrowed; not NUL-terminated, NULL: none */
    size_t file_len;
    long line;
    size_t len; /* of all of it */
};

struct show {
    const struct traceback_style *style;
    struct buf out;
    const char *error;   /* borrowed; what is not shown yet */
    struct place marked; /* whose source was shown */
};

enum paint { PLAIN, BOLD, DIM, RED };

static void put(struct show *s, enum paint paint, const char *text, size_t len)
{
    static const char *const codes[] = {"", "\x1b[1m", "\x1b[2m", "\x1b[1;31m"};
    bool color = s->style->color && paint != PLAIN && len > 0;

    if (color)
        buf_append_str(&s->out, codes[paint]);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];

        buf_append_byte(
            &s->out, (c < 0x20 && c != '\t') || c == 0x7f ? '?' : c);
    }
    if (color)
        buf_append_str(&s->out, "\x1b[m");
}

static void put_str(struct show *s, enum paint paint, const char *text)
{
    put(s, paint, text, strlen(text));
}

static void end_line(struct show *s)
{
    buf_append_byte(&s->out, '\n');
}

/* ---- places ---- */

static struct place parse_place(const char *text, size_t len)
{
    const char *file = text;

    for (size_t i = 1; i + 2 < len && text[0] != '['; i++) {
        size_t n = i + 1;
        long line = 0;

        if (text[i] != ':')
            continue;
        for (; n < len && isdigit((unsigned char)text[n]) && n < i + 9; n++)
            line = line * 10 + (text[n] - '0');
        if (line > 0 && n < len && text[n] == ':')
            return (struct place){file, (size_t)(text + i - file), line, n + 1};
        if (text[i + 1] == ' ')
            file = text + i + 2;
    }
    return (struct place){0};
}

static bool is_same(const struct place *a, const struct place *b)
{
    return a->line == b->line && a->file_len == b->file_len &&
           memcmp(a->file, b->file, a->file_len) == 0;
}

static bool is_cut(const struct place *p)
{
    return p->file_len > strlen(CUT) && memcmp(p->file, CUT, strlen(CUT)) == 0;
}

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);

    return n >= m && strcmp(path + n - m, end) == 0;
}

/* The file in folder, or below, whose path ends as this name that Lua has cut;
 * NULL when there is none. The caller frees it. */
static char *find_in(const char *folder, const struct place *p)
{
    char *end = xstrndup(p->file + strlen(CUT), p->file_len - strlen(CUT));
    char *found = NULL;

    for (const char *at = strchr(end, '/'); at && !found;
         at = strchr(at + 1, '/')) {
        char *path = xasprintf("%s%s", folder, at);

        if (ends_with(path, end) && access(path, R_OK) == 0)
            found = path;
        else
            free(path);
    }
    free(end);
    return found;
}

/* Is it code of gwrun's own? */
static bool is_own(const struct show *s, const struct place *p)
{
    size_t n = strlen(s->style->lua_dir);
    char *path;

    if (!is_cut(p))
        return p->file_len > n && p->file[n] == '/' &&
               memcmp(p->file, s->style->lua_dir, n) == 0;
    path = find_in(s->style->lua_dir, p);
    free(path);
    return path != NULL;
}

/* Where a place's file is; the caller frees it. NULL: nowhere. */
static char *find_file(const struct show *s, const struct place *p)
{
    const char *slash = strrchr(s->style->script, '/');
    char *folder, *path;

    if (!is_cut(p))
        return xstrndup(p->file, p->file_len);
    if (!slash)
        return NULL;
    folder = xstrndup(s->style->script, (size_t)(slash - s->style->script));
    path = find_in(folder, p);
    free(folder);
    return path;
}

/* ---- source ---- */

/* The file's text; the caller frees it. NULL when it cannot be shown. */
static char *read_source(const char *path)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    char *text = NULL;

    if (!file)
        return NULL;
    if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_size <= TRACEBACK_FILE_MAX) {
        text = xcalloc(1, (size_t)st.st_size + 1);
        if (fread(text, 1, (size_t)st.st_size, file) == 0) {
            free(text);
            text = NULL;
        }
    }
    fclose(file);
    return text;
}

/* What a message quotes at its end, such as global 'x' or near 'x'. */
static const char *quoted_word(const char *message, size_t len, size_t *out)
{
    const char *end = memrchr(message, '\'', len);
    const char *start =
        end ? memrchr(message, '\'', (size_t)(end - message)) : NULL;

    *out = start ? (size_t)(end - start) - 1 : 0;
    return start ? start + 1 : NULL;
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The only occurrence of a word in a line; NULL when there is none or another,
 * or nobody knows how wide what stands before it is. */
static const char *find_word(
    const char *line, size_t len, const char *word, size_t word_len)
{
    const char *found = NULL;

    for (size_t i = 0; word_len > 0 && i + word_len <= len; i++) {
        const char *end = line + i + word_len;

        if ((uint8_t)line[i] >= 0x80 && !found)
            return NULL;
        if (memcmp(line + i, word, word_len) != 0)
            continue;
        if ((i > 0 && is_name(line[i - 1]) && is_name(word[0])) ||
            (end < line + len && is_name(*end) && is_name(end[-1])))
            continue;
        if (found)
            return NULL;
        found = line + i;
    }
    return found;
}

static void put_gutter(struct show *s, const char *mark, long number, int width)
{
    char text[32];

    if (number > 0)
        snprintf(text, sizeof(text), "  %s %*ld | ", mark, width, number);
    else
        snprintf(text, sizeof(text), "    %*s | ", width, "");
    put_str(s, mark[0] == '>' ? RED : DIM, text);
}

/* Carets under the word that the message quotes. */
static void put_carets(struct show *s, const char *line, size_t len,
    const char *message, size_t message_len, int width)
{
    size_t word_len;
    const char *word = quoted_word(message, message_len, &word_len);
    const char *at = word ? find_word(line, len, word, word_len) : NULL;

    if (!at)
        return;
    put_gutter(s, " ", 0, width);
    for (const char *p = line; p < at; p++)
        buf_append_byte(&s->out, *p == '\t' ? '\t' : ' ');
    if (s->style->color)
        buf_append_str(&s->out, "\x1b[1;31m");
    for (size_t i = 0; i < word_len; i++)
        buf_append_byte(&s->out, '^');
    if (s->style->color)
        buf_append_str(&s->out, "\x1b[m");
    end_line(s);
}

/* "(to close 'x' at line 3)": that line too. 0: none. */
static long opening_line(const char *message, size_t len)
{
    static const char words[] = "' at line ";
    const char *at = memmem(message, len, words, strlen(words));

    return at ? strtol(at + strlen(words), NULL, 10) : 0;
}

/* The lines around p's, with the mark and what the message points at. */
static void put_lines(struct show *s, const struct place *p, const char *text,
    const char *message, size_t message_len)
{
    long opening = opening_line(message, message_len);
    int width = snprintf(NULL, 0, "%ld", p->line + TRACEBACK_CONTEXT);
    long shown = 0;

    for (long n = 1; *text && n <= p->line + TRACEBACK_CONTEXT; n++) {
        size_t len = strcspn(text, "\n");
        size_t keep = len < TRACEBACK_LINE_MAX ? len : TRACEBACK_LINE_MAX;
        bool marked = n == p->line;

        if (n >= p->line - TRACEBACK_CONTEXT || n == opening) {
            if (shown > 0 && shown < n - 1)
                buf_append_str(&s->out, "    ...\n");
            put_gutter(s, marked ? ">" : " ", n, width);
            while (keep < len && ((uint8_t)text[keep] & 0xc0) == 0x80)
                keep--;
            put(s, marked ? BOLD : PLAIN, text, keep);
            end_line(s);
            if (marked)
                put_carets(s, text, keep, message, message_len, width);
            shown = n;
        }
        text += len + (text[len] == '\n');
    }
}

/* Show p's source, if it is the script's and can be found. */
static bool put_source(struct show *s, const struct place *p,
    const char *message, size_t message_len)
{
    char *path, *text;

    if (!p->file || is_own(s, p))
        return false;
    path = find_file(s, p);
    text = path ? read_source(path) : NULL;
    if (text) {
        put_lines(s, p, text, message, message_len);
        s->marked = *p;
    }
    free(text);
    free(path);
    return text != NULL;
}

/* ---- the whole ---- */

/* The next line of what is left, without its newline; false at the end. */
static bool next_line(struct show *s, const char **line, size_t *len)
{
    *line = s->error;
    *len = strcspn(s->error, "\n");
    s->error += *len + (s->error[*len] == '\n');
    return *len > 0 || *s->error;
}

static bool is_heading(const char *line, size_t len)
{
    return len == strlen(heading) && memcmp(line, heading, len) == 0;
}

/* A frame of the traceback that tells about the script. */
static bool is_frame(
    const struct show *s, const char *line, size_t len, struct place *p)
{
    if (len < 2 || line[0] != '\t')
        return false;
    *p = parse_place(line + 1, len - 1);
    return p->file ? !is_own(s, p) : strncmp(line + 1, "[string", 7) == 0;
}

/* The last place that the message names, or the first one of the traceback. */
static void put_best_source(struct show *s, const char *message)
{
    const char *end = strstr(message, heading);
    const char *stop = end ? end : message + strlen(message);
    struct place best = {0}, p;
    const char *best_line = message;
    size_t best_len = 0;

    for (const char *line = message; line < stop;) {
        size_t len = strcspn(line, "\n");
        size_t blank = strspn(line, "\t ");

        p = blank < len ? parse_place(line + blank, len - blank)
                        : (struct place){0};
        if (p.file && !is_own(s, &p)) {
            best = p;
            best_line = line;
            best_len = len;
        }
        line += len + (line[len] == '\n');
    }
    if (put_source(s, &best, best_line, best_len))
        return;
    for (const char *line = stop; *line;) {
        size_t len = strcspn(line, "\n");

        if (is_frame(s, line, len, &p) && put_source(s, &p, "", 0))
            return;
        line += len + (line[len] == '\n');
    }
}

static void put_message(struct show *s)
{
    const char *message = s->error;
    const char *line;
    size_t len;

    while (strncmp(s->error, heading, strlen(heading)) != 0 &&
           next_line(s, &line, &len)) {
        struct place p = parse_place(line, len);

        put(s, BOLD, line, p.len);
        put(s, RED, line + p.len, len - p.len);
        end_line(s);
    }
    put_best_source(s, message);
}

/* Behind the message: headings with the script's frames, and what else there is
 * (an error may quote another one). */
static void put_rest(struct show *s)
{
    const char *line;
    size_t len;
    bool headed = false;

    while (next_line(s, &line, &len)) {
        struct place p = {0};

        if (is_heading(line, len)) {
            headed = false;
            continue;
        }
        if (line[0] == '\t') {
            if (!is_frame(s, line, len, &p))
                continue;
            if (!headed && p.file && s->marked.file && is_same(&p, &s->marked))
                continue; /* that is what is shown */
            if (!headed) {
                put_str(s, DIM, "called from");
                end_line(s);
            }
            headed = true;
        }
        put(s, DIM, line, len);
        end_line(s);
    }
}

char *traceback_show(const char *error, const struct traceback_style *style)
{
    struct show s = {.style = style, .error = error};
    char *text;

    put_message(&s);
    put_rest(&s);
    buf_append_byte(&s.out, '\0');
    text =
        xstrndup((const char *)s.out.data, s.out.len > 1 ? s.out.len - 2 : 0);
    buf_fini(&s.out);
    return text;
}
