/* A table of distances on the stack, for words of bounded length. */
#include "util/typos.h"

#include <ctype.h>
#include <string.h>

#define TYPOS_WORD_MAX 40 /* bytes of a word that are compared */

/* Lower-case without "_". */
static size_t fold(char out[TYPOS_WORD_MAX], const char *word)
{
    size_t n = 0;

    for (; *word && n < TYPOS_WORD_MAX; word++) {
        if (*word != '_')
            out[n++] = (char)tolower((unsigned char)*word);
    }
    return n;
}

/* Optimal string alignment. */
size_t typos_count(const char *word_a, const char *word_b)
{
    char a[TYPOS_WORD_MAX], b[TYPOS_WORD_MAX];
    size_t na = fold(a, word_a), nb = fold(b, word_b);
    size_t d[TYPOS_WORD_MAX + 1][TYPOS_WORD_MAX + 1];

    for (size_t i = 0; i <= na; i++) {
        for (size_t j = 0; j <= nb; j++) {
            size_t best;

            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

const char *typos_meant(const char *word, const char *const *known)
{
    const char *meant = NULL;
    size_t fewest = TYPOS_MAX + 1;

    for (; *known; known++) {
        size_t typos = typos_count(word, *known);

        if (typos < fewest && typos < strlen(*known) / 2 + 1) {
            fewest = typos;
            meant = *known;
        }
    }
    return meant;
}
