/* Cells are kept as text until the table is shown, because a column is as wide
 * as its widest cell. Width is counted in characters, not bytes. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/utf8.h"

#define TABLE_CELL_MAX 1024 /* bytes; longer text is cut */
#define TABLE_GAP      2    /* spaces between columns */

struct table {
    const char *align; /* borrowed */
    size_t columns;
    size_t width[TABLE_COLUMNS_MAX]; /* characters */
    char **cells;                    /* owned, each */
    size_t ncells, room;
};

struct table *table_new(const char *align)
{
    struct table *t = xcalloc(1, sizeof(*t));

    t->align = align;
    t->columns = strlen(align);
    return t;
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->ncells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

/* Characters of UTF-8 text. */
static size_t count_characters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void table_add(struct table *t, const char *fmt, ...)
{
    char text[TABLE_CELL_MAX];
    size_t *width = &t->width[t->ncells % t->columns];
    size_t n;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    utf8_make_plain(text, "");
    n = count_characters(text);
    if (n > *width)
        *width = n;
    if (t->ncells == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->cells = xrealloc(t->cells, t->room * sizeof(*t->cells));
    }
    t->cells[t->ncells++] = xstrdup(text);
}

void table_print(const struct table *t, FILE *out)
{
    for (size_t i = 0; i < t->ncells; i++) {
        size_t column = i % t->columns;
        bool last = column == t->columns - 1;
        int pad = (int)(t->width[column] - count_characters(t->cells[i]));

        if (t->align[column] == 'r')
            fprintf(out, "%*s%s", pad, "", t->cells[i]);
        else
            fprintf(out, "%s%*s", t->cells[i], last ? 0 : pad, "");
        fprintf(out, last ? "\n" : "%*s", TABLE_GAP, "");
    }
}
