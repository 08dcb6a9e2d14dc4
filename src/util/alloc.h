/* alloc.h - heap memory that is always there, or the process ends.
 *
 * A server that cannot allocate a few bytes cannot answer sensibly either;
 * sizes that a peer chooses are bounded before they come here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_ALLOC_H
#define GW_UTIL_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

/* As malloc, calloc, realloc, strdup and strndup, but never NULL: out of memory
 * prints one line and aborts. The caller ends the result with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t max);

/* A copy of len bytes with a NUL behind them. */
void *xmemdup(const void *data, size_t len);

/* printf into a new string. */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

#endif /* GW_UTIL_ALLOC_H */
